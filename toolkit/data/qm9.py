"""The QM9 archive: a tar of files in an XYZ-like layout with energies in the second line."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
from ase import Atoms

from toolkit.data.raw_frames import RawFrames, UnitStatement
from toolkit.errors import DataError

U0_COLUMN = 10
"""Internal energy at 0 K among the numbers of the second line, Hartree (Ramakrishnan et al., Sci. Data 1, 140022)."""


def read_qm9(path: Path) -> RawFrames:
    """Structures (Å) and energies U0 (Hartree) of `dsgdb9nsd.xyz.tar.bz2`, ordered by number.

    Nothing is unpacked to disk. Raises DataError for a damaged archive or another layout.
    """
    molecules: dict[str, tuple[Atoms, float]] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".xyz"):
                    molecules[member.name] = _molecule(archive.extractfile(member).read().decode("ascii"))
    except (tarfile.TarError, OSError, EOFError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{path} is not a complete QM9 archive ({' '.join(str(error).split())})",
                        "fetch it again") from None
    ordered = [molecules[name] for name in sorted(molecules)]
    nothing = [None] * len(ordered)
    return RawFrames(
        format="QM9 archive", structures=[atoms for atoms, _ in ordered], energies=[energy for _, energy in ordered],
        forces=nothing, stresses=nothing, dipoles=nothing, keys={"energy": "U0", "forces": None, "stress": None},
        statement=UnitStatement("Hartree", "Å", "the QM9 format"))


def _molecule(text: str) -> tuple[Atoms, float]:
    lines = text.replace("*^", "e").splitlines()
    rows = [line.split() for line in lines[2:2 + int(lines[0])]]
    positions = np.array([[float(x) for x in row[1:4]] for row in rows])
    return Atoms([row[0] for row in rows], positions=positions), float(lines[1].split("\t")[1:][U0_COLUMN])
