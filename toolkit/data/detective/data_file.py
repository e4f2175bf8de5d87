"""A data file opened for inspection: broken frames are set aside and contradictions kept, where the reader refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms

from toolkit.config import DataConfig
from toolkit.data.detective.pair_witness import PairWitness, pair_witness
from toolkit.data.formats import FrameSet, convert, open_raw, split_isolated_atoms
from toolkit.data.raw_frames import RawFrames, check_frames
from toolkit.data.unit_decision import UnitDecision
from toolkit.data.units_detection import judge_units
from toolkit.errors import DataError


@dataclass(frozen=True)
class DataFile:
    """What the detectors look at.

    frame_set : usable frames in eV and Å, by the units of `decision`
    raw : the same frames in the units of the file;  indices : (T,), their places in the file
    not_finite : what holds NaN or infinite numbers -> places in the file; such frames are not among the usable ones
    """

    name: str
    frame_set: FrameSet
    raw: RawFrames
    indices: np.ndarray
    decision: UnitDecision
    not_finite: dict[str, list[int]]

    @property
    def frames(self) -> list[Atoms]:
        """Usable frames, eV and Å."""
        return self.frame_set.frames

    @cached_property
    def witness(self) -> PairWitness | None:
        """What a pair potential fitted to the forces says."""
        return pair_witness(self.frames)

    def places(self, frames: Sequence[int] | np.ndarray) -> tuple[int, ...]:
        """Indices in the file of usable frames."""
        return tuple(self.indices[np.asarray(frames, dtype=int)].tolist())


def open_data(source: str, config: DataConfig | None = None) -> DataFile:
    """Open a path, `embedded:NAME` or `catalog:NAME` for inspection.

    Raises DataError when it cannot be read at all: absent, truncated, malformed, wrong shapes, no usable frame.
    """
    config = config or DataConfig(train=source)
    path, raw = open_raw(source, config)
    not_finite = _not_finite(raw)
    broken = {t for frames in not_finite.values() for t in frames}
    usable = np.array([t for t in range(len(raw)) if t not in broken], dtype=int)
    try:
        check_frames(raw.select(usable) if len(usable) else raw)
    except DataError as error:
        raise DataError(f"{source}: {error.message}", error.hint) from None
    to_learn, isolated = split_isolated_atoms(raw.select(usable))
    learned, atoms = raw.select(usable[to_learn]), raw.select(usable[isolated])
    decision = judge_units(learned, config)
    frame_set = convert(source, path, learned, atoms, decision, config.stress_offset_GPa)
    return DataFile(source, frame_set, learned, usable[to_learn], decision, not_finite)


def label(atoms: Atoms, name: str) -> Any:
    """A label of a frame, or None."""
    return atoms.calc.results.get(name) if atoms.calc is not None else None


def _not_finite(raw: RawFrames) -> dict[str, list[int]]:
    values = {**raw.labels(), "positions": [a.positions for a in raw.structures],
              "cell": [a.cell.array for a in raw.structures]}
    found = {name: [t for t, value in enumerate(series) if value is not None and not np.isfinite(value).all()]
             for name, series in values.items()}
    return {name: frames for name, frames in found.items() if frames}
