"""Labels of new frames against what a model says of them: other units, another method or another zero of energy are seen
without knowing which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms

from toolkit.data.statistics import spread_out
from toolkit.errors import DataError
from toolkit.jobs.evaluation import evaluate_frames
from toolkit.models.potential import Potential

MAX_COMPARED = 300
ALIKE, SAME_METHOD_EV_PER_ATOM, SAME_METHOD_FACTOR = 0.9, 0.5, 1.33
"""How much further from what the model says labels of new frames may be than those of its own, in the median: units are off
by 1.9 and more, zeros of energy by eV."""


class LabelErrors(NamedTuple):
    """Medians over frames and atoms: |E − E_model| / N, and |F| over |F_model| where the two are alike but for their size;
    NaN without labels, and where the model has not learned forces."""

    energy_eV_per_atom: float
    forces_ratio: float

    @classmethod
    def of(cls, potential: Potential, frames: Sequence[Atoms]) -> LabelErrors:
        """Of at most 300 of the frames."""
        _, parity = evaluate_frames(potential, spread_out(frames, MAX_COMPARED))
        errors = np.abs(parity.energy_eV - parity.label_energy_eV) / parity.num_atoms
        errors, known = errors[np.isfinite(errors)], np.isfinite(parity.label_forces_eV_per_A).all(axis=1)
        return cls(float(np.median(errors)) if len(errors) else np.nan,
                   _ratio(parity.label_forces_eV_per_A[known], parity.forces_eV_per_A[known]) if known.any() else np.nan)


def compare(source: str, new: LabelErrors, own: LabelErrors) -> None:
    """Raise DataError where labels in `source` are further from what the model says than those of its own frames."""
    advice = "declare the units of the new file (--energy-unit, --forces-unit); another method or zero of energy does not mix"
    if new.energy_eV_per_atom > own.energy_eV_per_atom + SAME_METHOD_EV_PER_ATOM:
        raise DataError(f"found energies in {source} that are {new.energy_eV_per_atom:.3g} eV/atom from what the model says, "
                        f"expected about {own.energy_eV_per_atom:.2g} as in its own frames", advice)
    factor = new.forces_ratio / own.forces_ratio
    if factor > SAME_METHOD_FACTOR or factor < 1.0 / SAME_METHOD_FACTOR:
        raise DataError(f"found forces in {source} that are {new.forces_ratio:.3g} times what the model says, expected about "
                        f"{own.forces_ratio:.2g} as in its own frames", advice)


def _ratio(forces: np.ndarray, said: np.ndarray) -> float:
    """Median size of forces (N, 3) over that of predicted ones; NaN where they do not go together, or most are zero."""
    sizes = [float(np.median(np.linalg.norm(values, axis=1))) for values in (forces, said)]
    if min(sizes) == 0.0 or np.corrcoef(forces.ravel(), said.ravel())[0, 1] < ALIKE:
        return float("nan")
    return sizes[0] / sizes[1]
