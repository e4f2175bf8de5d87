"""Mean, spread and range of quantities that are computed frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.analysis.blocks import MIN_SAMPLES, block_mean, correlated_mean
from toolkit.analysis.streaming import BlockSums, Frames, as_chunks
from toolkit.errors import DataError

BLOCKS = 100


@dataclass(frozen=True)
class ObservableStatistics:
    """K quantities over a trajectory, each (K,): mean, its standard error, standard deviation, range.

    The error is that of means over blocks, which may remember each other (`correlated_mean`): quantities that change slowly
    have blocks of the same length as others.
    """

    mean: np.ndarray
    stderr: np.ndarray
    std: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    num_frames: int


def observable_statistics(values: Frames) -> ObservableStatistics:
    """Statistics of values (T, K), or of chunks (t, K) one after another. Raises DataError without finite values."""
    sums, squares = BlockSums(BLOCKS), BlockSums(num_blocks=1)
    origin = minimum = maximum = None
    for chunk in as_chunks(values):
        chunk = np.asarray(chunk, dtype=np.float64)
        if not len(chunk):
            continue
        if not np.isfinite(chunk).all():
            raise DataError("found values that are not finite", "leave out the frames of retired replicas")
        origin = chunk[0] if origin is None else origin  # squares about it lose no digits
        minimum = chunk.min(axis=0) if minimum is None else np.minimum(minimum, chunk.min(axis=0))
        maximum = chunk.max(axis=0) if maximum is None else np.maximum(maximum, chunk.max(axis=0))
        for row in chunk - origin:
            sums.add(row, 1)
        squares.add(((chunk - origin) ** 2).sum(axis=0), len(chunk))
    if sums.count == 0:
        raise DataError("found no frames, expected at least one")
    shift = sums.mean()
    std = np.sqrt(np.maximum(squares.mean() - shift**2, 0.0))
    return ObservableStatistics(origin + shift, _stderr(sums.blocks()), std, minimum, maximum, sums.count)


def _stderr(blocks: np.ndarray) -> np.ndarray:
    """Standard errors (K,) of the mean over blocks (B, K) in order of time; NaN for one block."""
    if len(blocks) < MIN_SAMPLES:
        return block_mean(blocks)[1]
    return np.array([correlated_mean(column).stderr for column in blocks.T])
