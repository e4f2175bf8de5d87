"""Errors over labelled frames with their error bars, and what two models differ by on the same frames.

A number taken from S frames travels with its influence: how far each frame pulls it. Differences and roots of such
numbers then have error bars too, and what two models share on a frame cancels (linearisation: Efron, J. R. Stat. Soc. B
54, 83 (1992)). Frames in a row may resemble each other; `correlated_mean` allows for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from toolkit.analysis.blocks import MIN_SAMPLES, correlated_mean
from toolkit.analysis.parity import Parity
from toolkit.errors import DataError
from toolkit.units import MEV_PER_EV

FRAMES_PER_OFFSET = 2
"""So many labelled frames are needed for each fitted offset; else nothing of the error is left by construction."""


@dataclass(frozen=True)
class FrameStatistic:
    """A number from frames: value − truth ≈ mean of `influence`, (S,), one entry a frame with labels."""

    value: float
    influence: np.ndarray

    def __sub__(self, other: FrameStatistic) -> FrameStatistic:
        """The paired difference; both must come from the same frames."""
        return FrameStatistic(self.value - other.value, self.influence - other.influence)

    def root(self) -> FrameStatistic:
        """√value; of a mean of squares, the RMS."""
        root = float(np.sqrt(self.value))
        return FrameStatistic(root, self.influence / (2.0 * root) if root else np.zeros_like(self.influence))

    @property
    def stderr(self) -> float | None:
        """Standard error, correlation between neighbouring frames allowed for; None below 4 frames."""
        return correlated_mean(self.influence).stderr if len(self.influence) >= MIN_SAMPLES else None


def mean_of(total: np.ndarray, count: np.ndarray) -> FrameStatistic | None:
    """Σ total / Σ count, the mean over all single numbers; None when no frame has any.

    total, count : (S,), sum of the numbers of each frame, and how many they are (0: no labels)
    """
    known = count > 0
    if not known.any():
        return None
    total, count = total[known], count[known].astype(np.float64)
    mean = float(total.sum() / count.sum())
    return FrameStatistic(mean, (total - mean * count) / count.mean())


def frame_statistics(parity: Parity) -> dict[str, FrameStatistic]:
    """The errors of `evaluate_potential` (stress apart) by the same names, those of one element as NAME.SYMBOL, and
    `energy_mae_meV_per_atom_without_offset`; only what has labels.

    Raises DataError for predictions that are not finite.
    """
    return {name: found for name, found in _statistics(parity) if found is not None}


def composition_offset_eV(parity: Parity) -> np.ndarray:
    """The part of the energy error that depends on the composition alone, (S,), eV: one constant for each element.

    Least squares of prediction − label on the numbers of atoms. Two levels of theory, or two choices of the zero of
    energy, differ by such an offset; no force comes from it. NaN when there are fewer than two labelled frames for each
    constant that the compositions can tell apart.
    """
    symbols, element = np.unique(parity.atomic_numbers, return_inverse=True)
    counts = np.zeros((len(parity.num_atoms), len(symbols)))
    np.add.at(counts, (parity.frame_of_atom, element), 1.0)
    error = parity.energy_eV - parity.label_energy_eV
    known = np.isfinite(error)
    offsets, _, rank, _ = np.linalg.lstsq(counts[known], error[known], rcond=None)
    if known.sum() < FRAMES_PER_OFFSET * max(rank, 1):
        return np.full(len(counts), np.nan)
    return counts @ offsets


def _statistics(parity: Parity) -> Iterator[tuple[str, FrameStatistic | None]]:
    _refuse_nonsense(parity)
    energy = np.abs(MEV_PER_EV * (parity.energy_eV - parity.label_energy_eV))
    free = np.abs(parity.energy_error_meV_per_atom - MEV_PER_EV * composition_offset_eV(parity) / parity.num_atoms)
    for name, values in (("energy_mae_meV", energy), ("energy_mae_meV_per_atom", energy / parity.num_atoms),
                         ("energy_mae_meV_per_atom_without_offset", free)):
        yield name, mean_of(np.nan_to_num(values), np.isfinite(values))
    error = parity.forces_error_meV_per_A
    yield "forces_mae_meV_per_A", _mean_over_atoms(parity, np.abs(error))
    squared = _mean_over_atoms(parity, error**2)
    yield "forces_rmse_meV_per_A", None if squared is None else squared.root()
    for z in np.unique(parity.atomic_numbers):
        chosen = np.where((parity.atomic_numbers == z)[:, None], np.abs(error), np.nan)
        yield f"forces_mae_meV_per_A.{chemical_symbols[z]}", _mean_over_atoms(parity, chosen)


def _mean_over_atoms(parity: Parity, values: np.ndarray) -> FrameStatistic | None:
    """Mean over the components that are not NaN. values : (N, 3)"""
    known = np.isfinite(values)
    total, count = (np.bincount(parity.frame_of_atom, weights=part.sum(axis=1), minlength=len(parity.num_atoms))
                    for part in (np.where(known, values, 0.0), known))
    return mean_of(total, count)


def _refuse_nonsense(parity: Parity) -> None:
    """A prediction that is no number would look like a missing label, and flatter the model."""
    for name, found in (("energies", parity.energy_eV), ("forces", parity.forces_eV_per_A)):
        label = parity.label_energy_eV if name == "energies" else parity.label_forces_eV_per_A
        wrong = np.isfinite(label) & ~np.isfinite(found)
        if wrong.any():
            raise DataError(f"found {name} that are not finite in {int(wrong.sum())} predictions",
                            "the model is broken")
