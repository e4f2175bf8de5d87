"""QM9 as published: one file per molecule, with its energies in the second line, in a tar archive or a folder."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms

from toolkit.config import DataConfig
from toolkit.data.raw_frames import RawFrames, UnitStatement
from toolkit.errors import DataError, one_line
from toolkit.units import E_A_DEBYE

COLUMNS = ("A", "B", "C", "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv")
"""Numbers of the second line after its label (Ramakrishnan et al., Sci. Data 1, 140022 (2014), table 3); mu in debye,
energies in Hartree."""

ATOM_ENERGIES_HARTREE = {
    "U0": {"H": -0.500273, "C": -37.846772, "N": -54.583861, "O": -75.064579, "F": -99.718730},
    "U": {"H": -0.498857, "C": -37.845355, "N": -54.582445, "O": -75.063163, "F": -99.717314},
    "H": {"H": -0.497912, "C": -37.844411, "N": -54.581501, "O": -75.062219, "F": -99.716370},
    "G": {"H": -0.510927, "C": -37.861317, "N": -54.598897, "O": -75.079532, "F": -99.733544},
}
"""Energies of the free atoms by the same method: the publisher's `atomref.txt`."""

ATOMIZATION = "_atomization"
"""Ending of an energy key that asks for the energy above the free atoms: "U0_atomization"."""

BROKEN = (tarfile.TarError, OSError, EOFError, ValueError, KeyError, IndexError)
"""What is raised on damaged archives and other layouts."""


def read_qm9(path: Path, config: DataConfig) -> RawFrames:
    """Structures (Å) and energies (Hartree) in the order of the archive or folder, which is by number.

    `energy_key` chooses U0 (default), U, H or G: total energies, together with labelled frames of the free atoms, or,
    with "_atomization" after it, energies above these. Nothing is unpacked to disk. Raises DataError for a damaged
    archive, another layout or an unknown energy.
    """
    key = config.energy_key or "U0"
    molecules = list(stream_qm9(path, key))
    if not key.endswith(ATOMIZATION):
        molecules += [(Atoms(symbol, info={"config_type": "isolated_atom"}), energy)
                      for symbol, energy in ATOM_ENERGIES_HARTREE[key].items()]
    nothing = [None] * len(molecules)
    return RawFrames(
        format="QM9 archive", structures=[atoms for atoms, _ in molecules],
        energies=[energy for _, energy in molecules], forces=nothing, stresses=nothing, dipoles=nothing,
        keys={"energy": key, "forces": None, "stress": None},
        statement=UnitStatement("Hartree", "Å", "the QM9 format"))


def stream_qm9(path: Path, energy_key: str) -> Iterator[tuple[Atoms, float]]:
    """Molecules (Å) with their energies (Hartree), one at a time; `info` holds dipole_norm_e_A. Raises DataError."""
    property_name = energy_key.removesuffix(ATOMIZATION)
    if property_name not in ATOM_ENERGIES_HARTREE:
        raise DataError(f"found energy_key {energy_key!r}, expected one of {list(ATOM_ENERGIES_HARTREE)}, "
                        f"perhaps followed by {ATOMIZATION!r}", "correct data.energy_key")
    free_atoms = ATOM_ENERGIES_HARTREE[property_name] if energy_key.endswith(ATOMIZATION) else {}
    try:
        for text in _texts(path):
            atoms, values = _molecule(text)
            yield atoms, values[property_name] - sum(free_atoms.get(symbol, 0.0) for symbol in atoms.symbols)
    except BROKEN as error:
        raise DataError(f"{path} is not a complete QM9 archive ({one_line(error)})",
                        "fetch it again") from None


def _texts(path: Path) -> Iterator[str]:
    if path.is_dir():
        for file in sorted(path.glob("*.xyz")):
            yield file.read_text(encoding="ascii")
        return
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(".xyz"):
                yield archive.extractfile(member).read().decode("ascii")


def _molecule(text: str) -> tuple[Atoms, dict[str, float]]:
    lines = text.replace("*^", "e").splitlines()
    rows = [line.split() for line in lines[2:2 + int(lines[0])]]
    positions = np.array([[float(x) for x in row[1:4]] for row in rows])
    values = dict(zip(COLUMNS, map(float, lines[1].split("\t")[1:1 + len(COLUMNS)]), strict=True))
    info = {"dipole_norm_e_A": values["mu"] / E_A_DEBYE}
    return Atoms([row[0] for row in rows], positions=positions, info=info), values
