"""What a file holds before its units are settled, and the checks that every format goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress

from toolkit.errors import DataError

MAX_ATOMS_PER_FRAME = 10_000_000
MAX_COORDINATE = 1e6


@dataclass(frozen=True)
class UnitStatement:
    """Units that the file, its format or a catalogue fixes; None where nothing is said. `source` says who says so.

    forces_unit : None also where forces are in the unit of energy per that of length
    """

    energy_unit: str | None = None
    length_unit: str | None = None
    source: str = ""
    forces_unit: str | None = None


@dataclass(frozen=True)
class RawFrames:
    """T frames in the units of the file. None marks a label that a frame does not have.

    structures : T Atoms without calculator;  energies : T numbers;  forces : T arrays (N, 3)
    stresses : T arrays (6,), Voigt order xx yy zz yz xz xy;  dipoles : T arrays (3,)
    keys : "energy", "forces", "stress" -> the name used in the file
    """

    format: str
    structures: list[Atoms]
    energies: list[float | None]
    forces: list[np.ndarray | None]
    stresses: list[np.ndarray | None]
    dipoles: list[np.ndarray | None]
    keys: dict[str, str | None]
    statement: UnitStatement = UnitStatement()
    warnings: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.structures)

    def labels(self) -> dict[str, list]:
        """The four lists of labels by name."""
        return {"energy": self.energies, "forces": self.forces, "stress": self.stresses, "dipole": self.dipoles}

    def select(self, frames: Sequence[int]) -> RawFrames:
        """The given frames only."""
        chosen = {name: [getattr(self, name)[t] for t in frames]
                  for name in ("structures", "energies", "forces", "stresses", "dipoles")}
        return RawFrames(self.format, **chosen, keys=self.keys, statement=self.statement, warnings=self.warnings)


def stress_label(values: np.ndarray | None, key: str | None, atoms: Atoms) -> np.ndarray | None:
    """Voigt stress (6,) of a frame periodic in all directions, else None, from a stress or virial of 6 or 9 numbers.

    A key that says virial and not stress holds −V·stress (the GAP and ACE convention). Raises DataError for another size.
    """
    if values is None or not atoms.pbc.all() or atoms.cell.rank < 3:
        return None
    if values.size not in (6, 9):
        raise DataError(f"{key!r} has {values.size} numbers, expected 6 (Voigt) or 9", "correct stress_key")
    stress = values.reshape(6) if values.size == 6 else full_3x3_to_voigt_6_stress(values.reshape(3, 3))
    name = str(key).lower()
    return -stress / atoms.get_volume() if "virial" in name and "stress" not in name else stress


def check_frames(raw: RawFrames) -> None:
    """Raise DataError for frames that no model can learn from, naming them (counted from 0)."""
    if len(raw) == 0:
        raise DataError("found no frames, expected at least one", "check that the file is complete")
    _refuse("without atoms", [len(a) == 0 for a in raw.structures], "at least one atom")
    _refuse(f"with more than {MAX_ATOMS_PER_FRAME} atoms", [len(a) > MAX_ATOMS_PER_FRAME for a in raw.structures],
            "a structure that fits in memory")
    _refuse("with atomic numbers outside 1 … 118",
            [bool(((a.numbers < 1) | (a.numbers > 118)).any()) for a in raw.structures], "chemical elements")
    _refuse("with positions or cells that are NaN or infinite",
            [not (np.isfinite(a.positions).all() and np.isfinite(a.cell.array).all()) for a in raw.structures],
            "finite numbers")
    _refuse(f"with coordinates or cell vectors beyond {MAX_COORDINATE:.0e}",
            [bool((np.abs(np.vstack([a.positions, a.cell.array])) > MAX_COORDINATE).any()) for a in raw.structures],
            "coordinates of one structure")
    _refuse("with linearly dependent cell vectors",
            [bool(a.pbc.any() and np.linalg.matrix_rank(a.cell.array[a.pbc]) < a.pbc.sum()) for a in raw.structures],
            "cell vectors that span a volume")
    _refuse("whose forces do not have one row of three per atom",
            [f is not None and f.shape != (len(a), 3) for f, a in zip(raw.forces, raw.structures, strict=True)],
            "forces of shape (atoms, 3)")
    for name, values in raw.labels().items():
        what = f"with NaN or infinite {name}"
        _refuse(what, [v is not None and not np.isfinite(v).all() for v in values], "finite numbers")


def _refuse(what: str, bad: list[bool], expected: str) -> None:
    frames = np.flatnonzero(bad)
    if len(frames) == 0:
        return
    shown = ", ".join(str(t) for t in frames[:10]) + (", …" if len(frames) > 10 else "")
    noun = "frame" if len(frames) == 1 else "frames"
    raise DataError(f"found {len(frames)} of {len(bad)} frames {what} ({noun} {shown}, counted from 0), "
                    f"expected {expected}", "correct or remove them")
