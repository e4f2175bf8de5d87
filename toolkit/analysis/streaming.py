"""Averages over streams of any length in bounded memory, with error bars from blocks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from toolkit.analysis.blocks import block_mean

DEFAULT_BLOCKS = 10
CHUNK_FRAMES = 500

Frames = np.ndarray | Iterable[np.ndarray]
"""One array (T, …), or chunks (t, …) of it one after another, of which only one is in memory at a time."""


class BlockSums:
    """Sums over consecutive pieces of a stream, kept in `num_blocks` … 2·`num_blocks` blocks.

    When twice the number of blocks is reached, neighbours are joined: memory does not grow with the stream, and blocks
    grow with it until they are longer than its correlation time (Flyvbjerg & Petersen, J. Chem. Phys. 91, 461 (1989)).
    Pieces should hold about equally many samples; how many is up to the caller.
    """

    def __init__(self, num_blocks: int = DEFAULT_BLOCKS) -> None:
        self._num_blocks = num_blocks
        self._pieces_per_block = 1
        self._pieces_in_last = 0
        self._sums: list[np.ndarray] = []
        self._counts: list[int] = []

    @property
    def count(self) -> int:
        """Samples added so far."""
        return sum(self._counts)

    def add(self, total: np.ndarray, count: int) -> None:
        """Add one piece: the sum over `count` samples, of the same shape each time."""
        if self._sums and self._pieces_in_last < self._pieces_per_block:
            self._sums[-1] = self._sums[-1] + total
            self._counts[-1] += count
            self._pieces_in_last += 1
            return
        if len(self._sums) == 2 * self._num_blocks:
            self._sums = [a + b for a, b in zip(self._sums[::2], self._sums[1::2], strict=True)]
            self._counts = [a + b for a, b in zip(self._counts[::2], self._counts[1::2], strict=True)]
            self._pieces_per_block *= 2
        self._sums.append(np.asarray(total))
        self._counts.append(count)
        self._pieces_in_last = 1

    def mean(self) -> np.ndarray:
        """Mean over all samples."""
        return sum(self._sums) / self.count

    def blocks(self) -> np.ndarray:
        """Means of the blocks, (B, …), without those that hold less than half of what the largest holds."""
        least = 0.5 * max(self._counts)
        pairs = zip(self._sums, self._counts, strict=True)
        return np.stack([total / count for total, count in pairs if count >= least])

    def stderr(self) -> np.ndarray:
        """Standard error of the mean from the scatter of the blocks; NaN for a single block."""
        return block_mean(self.blocks())[1]


def as_chunks(frames: Frames) -> Iterable[np.ndarray]:
    """An array in at least 10 pieces of at most 500 frames, as far as it goes; chunks are passed on as they are."""
    if isinstance(frames, np.ndarray):
        pieces = max(DEFAULT_BLOCKS, -(-len(frames) // CHUNK_FRAMES))
        return np.array_split(frames, max(1, min(pieces, len(frames))))
    return frames
