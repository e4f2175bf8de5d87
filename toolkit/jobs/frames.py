"""Frames of a trajectory file for the analyses: piece by piece, so that memory does not grow with its length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from toolkit.errors import DataError
from toolkit.md.trajectory import Trajectory

CHUNK_BYTES = 8 << 20
CHUNK_FRAMES = 500
SEGMENT_BYTES = 256 << 20
REPLICA_GROUPS = 16
"""Replicas are read in so many groups, one group after another: few passes over the file, and blocks for error bars
that hold whole replicas when there are many."""


class FrameReader:
    """What an analysis reads of a trajectory: frames after an equilibration phase, of replicas while they are alive.

    skip_ps : time left out at the start;  stride : use every so-many-th frame only
    Raises DataError when nothing is left or the stride is not positive.
    """

    def __init__(self, trajectory: Trajectory, skip_ps: float = 0.0, stride: int = 1) -> None:
        self.trajectory = trajectory
        self.start = round(skip_ps * 1e3 / trajectory.frame_interval_fs)
        self.stride = stride
        self._alive = trajectory.alive
        if stride < 1 or skip_ps < 0.0:
            raise DataError(f"found a stride of {stride} and {skip_ps} ps to skip, expected at least 1 and 0")
        if self.start >= trajectory.num_frames or not self._alive[self.start:].any():
            length = trajectory.num_frames * trajectory.frame_interval_fs * 1e-3
            raise DataError(f"{trajectory.path} has {length:.3g} ps, found {skip_ps} ps to skip",
                            "skip less or run longer")

    @property
    def interval_fs(self) -> float:
        """Time between the frames that are used, fs."""
        return self.trajectory.frame_interval_fs * self.stride

    @property
    def num_frames(self) -> int:
        """Frames that are used of a replica that never broke."""
        return len(range(self.start, self.trajectory.num_frames, self.stride))

    @property
    def first_frame(self) -> np.ndarray:
        """Positions of the first frame used of the first replica that has one, (N, 3), float64, Å."""
        replica = int(np.argmax(self._alive[self.start]))
        return self.trajectory.positions(self.start, self.start + 1)[0, replica].astype(np.float64)

    def chunks(self) -> Iterator[np.ndarray]:
        """Positions (t, N, 3), Å: all frames of all living replicas, a group of replicas after another."""
        frames = self._frames_per_chunk()
        for group in self._groups():
            for first in range(self.start, self.trajectory.num_frames, frames):
                stop = first + frames
                alive = self._alive[first:stop:self.stride, group]
                yield self.trajectory.positions(first, stop, replicas=group)[::self.stride][alive]

    def segments(self, name: str, length: int, overlap: float = 0.5) -> Iterator[np.ndarray]:
        """Pieces (length, N, 3) without gap, of one living replica each; neighbours share a fraction `overlap`.

        name : "positions" or "velocities". Of a remainder shorter than the length nothing is used.
        """
        read = getattr(self.trajectory, name)
        hop = max(1, round(length * (1.0 - overlap))) * self.stride
        span = (length - 1) * self.stride + 1
        for group in self._groups(SEGMENT_BYTES // (span * self._frame_bytes)):
            for first in range(self.start, self.trajectory.num_frames - span + 1, hop):
                rows = np.flatnonzero(self._alive[first + span - 1, group])
                block = read(first, first + span, replicas=group)[::self.stride] if len(rows) else ()
                for row in rows:
                    yield block[:, row]

    def windows(self, parts: int) -> Iterator[Iterator[np.ndarray]]:
        """The time in equal parts, each for a group of replicas that live through it: chunks (t, R, N, 3), Å, in order.

        Use up each window before the next.
        """
        span = self.num_frames // parts * self.stride
        for group in self._groups():
            for first in range(self.start, self.start + parts * span, span):
                rows = np.flatnonzero(self._alive[first + span - self.stride, group])
                if len(rows):
                    yield self._window(first, first + span, group, rows)

    def _window(self, start: int, end: int, group: slice, rows: np.ndarray) -> Iterator[np.ndarray]:
        frames = self._frames_per_chunk()
        for first in range(start, end, frames):
            block = self.trajectory.positions(first, min(first + frames, end), replicas=group)
            yield block[::self.stride, rows]

    def times_ps(self, most: int) -> np.ndarray:
        """Times of `sample`, ps."""
        return self.trajectory.times_fs[self.start::self._sample_step(most)] * 1e-3

    def sample(self, most: int, replicas: int) -> np.ndarray:
        """At most so many frames, evenly spaced, of the first replicas: (t, R, N, 3), Å; NaN once they are retired."""
        return self.trajectory.positions(self.start, None, self._sample_step(most), slice(0, replicas))

    def _sample_step(self, most: int) -> int:
        return -(-(self.trajectory.num_frames - self.start) // most)

    @property
    def _frame_bytes(self) -> int:
        return self.trajectory.num_atoms * 12

    def _groups(self, most: int | None = None) -> list[slice]:
        """Replicas in about equal groups, of at most `most`."""
        count = self.trajectory.num_replicas
        size = -(-count // REPLICA_GROUPS)
        size = size if most is None else max(1, min(size, most))
        return [slice(first, min(first + size, count)) for first in range(0, count, size)]

    def _frames_per_chunk(self) -> int:
        """A multiple of the stride."""
        group = self._groups()[0].stop
        frames = min(CHUNK_FRAMES, CHUNK_BYTES // (group * self._frame_bytes * self.stride))
        return max(1, frames) * self.stride
