"""From a file to frames in eV and Å, with a report of what was found, in which units, and why we think so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from toolkit.config import DataConfig
from toolkit.data import catalog, embedded
from toolkit.data.extxyz import OPENERS, read_extxyz, read_with_ase
from toolkit.data.npz_layouts import read_npz
from toolkit.data.packed import is_packed, open_packed
from toolkit.data.qm7 import read_qm7
from toolkit.data.qm9 import read_qm9
from toolkit.data.raw_frames import RawFrames, UnitStatement, check_frames
from toolkit.data.unit_decision import UnitDecision
from toolkit.data.units_detection import decide_units
from toolkit.errors import DataError
from toolkit.storage import reachable
from toolkit.units import ENERGY_UNITS_EV, EV_PER_A3_GPA, FORCE_UNITS_EV_PER_A, LENGTH_UNITS_A

DIAGONAL = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
"""xx, yy and zz of a stress in Voigt order."""

ISOLATED_ATOM_FILES = ("iso_atoms.xyz", "isolated_atoms.xyz")
"""Files with one frame per isolated atom that published sets keep beside their data."""

ISOLATED_ATOM_LABELS = {"isolatedatom", "isolated_atom"}
"""Values of `config_type` that mark an isolated atom among other frames."""

COHESION_EV_PER_ATOM = (-15.0, 3.0)
"""Range of energy per atom above isolated atoms within which a file of isolated atoms is believed."""


@dataclass(frozen=True)
class ReadReport:
    """What was found in a file.

    energy_key, forces_key, stress_key : names used in the file, None when absent
    energy_unit, length_unit, evidence : units of the file (frames are already in eV and Å) and why
    missing : label -> number of frames without it;  isolated_atom_energies : element -> eV
    forces_unit : "" where it is energy_unit per length_unit
    """

    path: str
    format: str
    num_frames: int
    energy_key: str | None
    forces_key: str | None
    stress_key: str | None
    energy_unit: str
    length_unit: str
    evidence: str
    missing: dict[str, int]
    warnings: tuple[str, ...]
    isolated_atom_energies: dict[str, float]
    forces_unit: str = ""


@dataclass(frozen=True)
class FrameSet(Sequence[Atoms]):
    """Frames whose calculators hold energy (eV), forces (eV/Å), stress (eV/Å³, Voigt) and dipole (e·Å) where known.

    It is itself the sequence of them: `len(found)`, `found[0]`, `found[:10]`, `for atoms in found`.

    isolated : places in the file of isolated atoms, which are not among the frames
    """

    frames: Sequence[Atoms]
    report: ReadReport
    isolated: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    @overload
    def __getitem__(self, index: int) -> Atoms: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Atoms]: ...

    def __getitem__(self, index: int | slice) -> Atoms | Sequence[Atoms]:
        return self.frames[index]

    @property
    def places(self) -> np.ndarray:
        """(T,): where in the file each frame is, counted from 0."""
        return np.setdiff1d(np.arange(len(self.frames) + len(self.isolated)), self.isolated)


def read_frames(source: str | Path, config: DataConfig | None = None) -> FrameSet:
    """Read a path, `embedded:NAME` or `catalog:NAME` with the keys and units of a DataConfig (default: automatic).

    Of a packed folder nothing is read yet: its frames are made one by one when asked for.
    Raises DataError with one line for anything unusable: absent, truncated or malformed files, NaN, wrong shapes,
    forces that contradict the energies, units that cannot be told.
    """
    source = str(source)
    config = config or DataConfig(train=source)
    path, _ = locate(source)
    if is_packed(path):
        frames, report = open_packed(path)
        _check_declared(source, report, config)
        isolated = tuple(report.pop("isolated", ()))
        return FrameSet(frames, ReadReport(**{**report, "path": source, "num_frames": len(frames),
                                              "warnings": tuple(report["warnings"])}), isolated)
    path, raw = open_raw(source, config)
    try:
        check_frames(raw)
        to_learn, isolated = split_isolated_atoms(raw)
        decision = decide_units(raw.select(to_learn), config)
    except DataError as error:
        raise DataError(f"{source}: {error.message}", error.hint) from None
    found = convert(source, path, raw.select(to_learn), raw.select(isolated), decision, config.stress_offset_GPa)
    return replace(found, isolated=tuple(isolated.tolist()))


def _check_declared(source: str, report: dict[str, Any], config: DataConfig) -> None:
    """A packed folder holds what was chosen when it was packed. Raises DataError when something else is asked for."""
    implied = f"{report['energy_unit']}/{report['length_unit']}"
    packed = {**report, "forces_unit": report.get("forces_unit") or implied}
    for key in ("energy_key", "forces_key", "stress_key", "energy_unit", "length_unit", "forces_unit"):
        declared = getattr(config, key)
        if declared not in (None, "auto", packed[key]):
            raise DataError(f"{source} was packed with {key} {packed[key]}, found {key}: {declared}",
                            f"pack the data again with it, or leave {key} out")


def open_raw(source: str, config: DataConfig) -> tuple[Path, RawFrames]:
    """The file of a source and what it holds, in its own units and unchecked. Raises DataError when unreadable."""
    path, statement = locate(source)
    raw = _read_raw(path, config)
    return path, raw if statement is None else replace(raw, statement=statement)


def convert(source: str, path: Path, raw: RawFrames, isolated: RawFrames, decision: UnitDecision,
            stress_offset_GPa: float = 0.0) -> FrameSet:
    """Frames in eV and Å by a decision on their units, and the report.

    isolated : frames of labelled single atoms;  stress_offset_GPa : added to the diagonal of every stress
    """
    energy_eV, length_A = ENERGY_UNITS_EV[decision.energy_unit], LENGTH_UNITS_A[decision.length_unit]
    forces_eV_per_A = FORCE_UNITS_EV_PER_A[decision.forces_unit]
    extra_stress = DIAGONAL * stress_offset_GPa / EV_PER_A3_GPA
    frames = [_frame(raw, t, energy_eV, length_A, forces_eV_per_A, extra_stress) for t in range(len(raw))]
    energies, notes = _isolated_atoms(isolated, raw, path, energy_eV)
    if stress_offset_GPa:
        notes.append(f"{stress_offset_GPa:+g} GPa added to xx, yy and zz of every stress, as asked")
    return FrameSet(frames, _report(source, raw, decision, energies, notes))


def locate(source: str) -> tuple[Path, UnitStatement | None]:
    """The file or folder of a source, downloaded if need be, and the units its catalogue states."""
    if source.startswith(embedded.PREFIX):
        return embedded.embedded_path(source.removeprefix(embedded.PREFIX)), None
    if source.startswith(catalog.PREFIX):
        return catalog.fetch_with_units(source.removeprefix(catalog.PREFIX))
    return reachable(Path(source).expanduser(), DataError), None


def is_here(source: str) -> bool:
    """Whether a source can be read without a download. Raises DataError for an unknown name."""
    if source.startswith(catalog.PREFIX):
        return catalog.is_downloaded(source.removeprefix(catalog.PREFIX))
    return locate(source)[0].exists()


def is_qm9(path: Path) -> bool:
    """True for a tar archive and for a folder of .xyz files: the forms in which QM9 comes."""
    if path.is_dir():
        return any(path.glob("*.xyz"))
    return path.is_file() and _kind(path) == ".tar"


def _kind(path: Path) -> str:
    """The ending in lower case, that of compression left out."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix not in OPENERS]
    return suffixes[-1] if suffixes else ""


def _read_raw(path: Path, config: DataConfig) -> RawFrames:
    if is_qm9(path):
        return read_qm9(path, config)
    if not path.is_file():
        if is_packed(path):
            raise DataError(f"{path} is a folder of packed molecules, expected a file", "inspect what it was packed from")
        found = "a folder" if path.is_dir() else "nothing"
        raise DataError(f"found {found} at {path}, expected a data file", "check the path")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty, expected frames", "fetch the file again")
    kind = _kind(path)
    if kind == ".npz":
        return read_npz(path, config)
    if kind == ".mat":
        return read_qm7(path)
    if kind in (".npy", ".pkl", ".pt", ".pth"):
        raise DataError(f"{path} ends in {kind}, expected .npz, .xyz, .extxyz or another file that ASE reads",
                        "save the arrays as .npz: files of Python objects are never opened, they can run code")
    return read_extxyz(path, config) if kind in (".xyz", ".extxyz") else read_with_ase(path, config)


def split_isolated_atoms(raw: RawFrames) -> tuple[np.ndarray, np.ndarray]:
    """Indices of frames to learn from, and of single atoms labelled as isolated (to learn from if nothing else is)."""
    isolated = [len(a) == 1 and str(a.info.get("config_type", "")).lower() in ISOLATED_ATOM_LABELS
                for a in raw.structures]
    if all(isolated):
        isolated = [False] * len(raw)
    return np.flatnonzero(np.logical_not(isolated)), np.flatnonzero(isolated)


def _frame(raw: RawFrames, t: int, energy_eV: float, length_A: float, forces_eV_per_A: float,
           extra_stress: np.ndarray) -> Atoms:
    atoms = raw.structures[t].copy()
    atoms.set_cell(atoms.cell.array * length_A)
    atoms.positions *= length_A
    results: dict[str, float | np.ndarray] = {}
    if raw.energies[t] is not None:
        results["energy"] = raw.energies[t] * energy_eV
    if raw.forces[t] is not None:
        results["forces"] = raw.forces[t] * forces_eV_per_A
    if raw.stresses[t] is not None:
        results["stress"] = raw.stresses[t] * (energy_eV / length_A**3) + extra_stress
    if raw.dipoles[t] is not None:
        results["dipole"] = raw.dipoles[t] * length_A
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _isolated_atoms(inside: RawFrames, raw: RawFrames, path: Path,
                    energy_eV: float) -> tuple[dict[str, float], list[str]]:
    """Energies of isolated atoms (eV) from labelled frames, else from a file of them beside the data, and notes."""
    if len(inside) > 0:
        return _energy_per_element(inside, energy_eV), ["isolated-atom energies from labelled frames of the file"]
    for beside in (path.with_name(name) for name in ISOLATED_ATOM_FILES):
        if beside.is_file() and beside != path:
            try:
                found = _energy_per_element(_read_isolated(beside, raw.keys["energy"]), energy_eV)
            except DataError as error:
                return {}, [f"{beside.name} beside the file is ignored: {error.message}"]
            if _plausible(found, raw, energy_eV):
                return found, [f"isolated-atom energies from {beside.name} beside the file"]
            return {}, [f"{beside.name} beside the file is ignored: it lacks an element or does not fit the energies"]
    return {}, []


def _read_isolated(path: Path, energy_key: str | None) -> RawFrames:
    """A file of isolated atoms: by the key of the data where it has that, so that both are of one method."""
    if energy_key is not None:
        with suppress(DataError):
            return read_extxyz(path, DataConfig(train=str(path), energy_key=energy_key))
    return read_extxyz(path, DataConfig(train=str(path)))


def _energy_per_element(raw: RawFrames, energy_eV: float) -> dict[str, float]:
    energies: dict[str, float] = {}
    for atoms, energy in zip(raw.structures, raw.energies, strict=True):
        if energy is None or len(atoms) != 1:
            continue
        symbol, value = atoms.symbols[0], energy * energy_eV
        if abs(energies.get(symbol, value) - value) > 1e-6:
            raise DataError(f"found isolated {symbol} atoms at {energies[symbol]:.6f} and {value:.6f} eV, "
                            "expected one energy", "keep the right one, or declare isolated_atom_energies")
        energies[symbol] = value
    return energies


def _plausible(isolated: dict[str, float], raw: RawFrames, energy_eV: float) -> bool:
    cohesion = []
    for atoms, energy in zip(raw.structures, raw.energies, strict=True):
        counts = Counter(atoms.get_chemical_symbols())
        if not set(counts) <= set(isolated):
            return False
        if energy is not None:
            cohesion.append((energy * energy_eV - sum(n * isolated[s] for s, n in counts.items())) / len(atoms))
    low, high = COHESION_EV_PER_ATOM
    return bool(cohesion) and low < float(np.median(cohesion)) < high


def _report(source: str, raw: RawFrames, decision: UnitDecision, isolated: dict[str, float],
            notes: list[str]) -> ReadReport:
    periodic = any(atoms.pbc.all() for atoms in raw.structures)
    implied = f"{decision.energy_unit}/{decision.length_unit}"
    missing = {name: sum(value is None for value in values) for name, values in raw.labels().items()
               if name in ("energy", "forces") or (name == "stress" and periodic)}
    return ReadReport(
        path=source, format=raw.format, num_frames=len(raw),
        energy_key=raw.keys["energy"], forces_key=raw.keys["forces"], stress_key=raw.keys["stress"],
        energy_unit=decision.energy_unit, length_unit=decision.length_unit,
        evidence="; ".join([decision.evidence, *notes]),
        missing={name: count for name, count in missing.items() if count},
        warnings=raw.warnings + decision.warnings,
        isolated_atom_energies=isolated,
        forces_unit="" if decision.forces_unit == implied else decision.forces_unit,
    )
