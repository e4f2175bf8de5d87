"""How far a simulation's distribution of interatomic distances h(r) is from that of reference frames."""

from __future__ import annotations

import numpy as np

from toolkit.analysis.rdf import RadialDistribution, radial_distribution
from toolkit.errors import DataError

BIN_WIDTH_A = 0.05
RANGE_FACTOR = 1.5
"""Bins go so far beyond the longest distance in the reference frames; what is farther counts as one bin more."""


class ReferenceDistances:
    """h_ref(r) of the frames (T, N, 3), Å, of one molecule, which others are compared with.

    `noise` is the error that as many frames of an exact model would have for being so few: half of what the two halves
    of the frames differ by. Bins are 0.05 Å wide.
    Raises DataError below four frames.
    """

    def __init__(self, frames: np.ndarray, atomic_numbers: np.ndarray) -> None:
        if len(frames) < 4 or len(atomic_numbers) < 2:
            raise DataError(f"found {len(frames)} reference frames of {len(atomic_numbers)} atoms, expected at least 4 "
                            "of a molecule")
        self.atomic_numbers = atomic_numbers
        largest = max(np.linalg.norm(frames - frames[:, atom, None], axis=2).max() for atom in range(frames.shape[1]))
        self.r_max_A = RANGE_FACTOR * float(largest)
        self.distribution = self._of(frames)
        halves = np.array_split(frames, 2)
        self.noise = 0.5 * distance_error(self._of(halves[0]), self._of(halves[1]))

    def _of(self, frames: np.ndarray) -> RadialDistribution:
        return radial_distribution(frames, self.atomic_numbers, None, self.r_max_A, BIN_WIDTH_A)


def distance_error(found: RadialDistribution, expected: RadialDistribution) -> float:
    """∫ |h(r) − h_ref(r)| dr, from 0 (equal) to 2 (nothing in common).

    h(r) = 1/(N(N−1)) ⟨Σ_i Σ_{j≠i} δ(r − r_ij)⟩, 1/Å: Fu et al., "Forces are not enough", Trans. Mach. Learn. Res.
    (2023), arXiv:2210.07237. Distances beyond the last bin count as one bin more.
    Raises DataError for distributions of crystals or on other bins.
    """
    if found.periodic or expected.periodic or not np.array_equal(found.r_A, expected.r_A):
        raise DataError("found distances of crystals or on different bins, expected molecules on the same bins")
    width = 2.0 * found.r_A[0]
    difference = (found.of("total") - expected.of("total")) * width
    return float(np.abs(difference).sum() + abs(difference.sum()))
