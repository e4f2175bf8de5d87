"""Frames of a trajectory file for the analyses: piece by piece, so that memory does not grow with its length."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from toolkit.errors import DataError
from toolkit.md.trajectory import Trajectory

CHUNK_BYTES = 256 << 10
"""Of positions; what is computed from them, such as all distances of 64 atoms, takes up to a hundred times that."""
READ_BYTES = 8 << 20
"""Frames that a stride leaves out are read all the same: picking single frames from the file is slower."""
MIN_CHUNKS = 20
SEGMENT_BYTES = 64 << 20
REPLICA_GROUPS = 16
"""Replicas are read in about so many groups, one group after another: few passes over the file, and blocks for error
bars that hold whole replicas when there are many."""


@contextmanager
def open_frames(path: str | Path, skip_ps: float = 0.0, stride: int = 1, replica: int | None = None) -> Iterator[FrameReader]:
    """The frames of a file, closed afterwards; see `FrameReader`. Raises DataError for a file that is not usable."""
    with Trajectory(path) as trajectory:
        yield FrameReader(trajectory, skip_ps, stride, replica)


class FrameReader:
    """What an analysis reads of a trajectory: frames after an equilibration phase, of replicas while they are alive.

    skip_ps : time left out at the start;  stride : use every so-many-th frame only;  replica : this one alone, of a ladder
    Raises DataError when nothing is left, the stride is not positive or there is no such replica.
    """

    def __init__(self, trajectory: Trajectory, skip_ps: float = 0.0, stride: int = 1, replica: int | None = None) -> None:
        if replica is not None and not 0 <= replica < trajectory.num_replicas:
            raise DataError(f"found replica {replica}, {trajectory.path} has {trajectory.num_replicas}", "count them from 0")
        if stride < 1 or not 0.0 <= skip_ps < math.inf:
            raise DataError(f"found a stride of {stride} and {skip_ps} ps to skip, expected at least 1 and 0")
        self.trajectory = trajectory
        self.stride = stride
        self.start = round(skip_ps * 1e3 / trajectory.frame_interval_fs)
        self.replicas = slice(0, trajectory.num_replicas) if replica is None else slice(replica, replica + 1)
        self._alive = np.zeros_like(trajectory.alive)
        self._alive[:, self.replicas] = trajectory.alive[:, self.replicas]
        if not self._alive[self.start:].any():
            length = trajectory.num_frames * trajectory.frame_interval_fs * 1e-3
            raise DataError(f"{trajectory.path} has {length:.3g} ps, found --skip-ps {skip_ps}",
                            "skip less or run longer")

    @property
    def interval_fs(self) -> float:
        """Time between the frames that are used, fs."""
        return self.trajectory.frame_interval_fs * self.stride

    @property
    def num_frames(self) -> int:
        """Frames that are used of the replica that lives longest."""
        return len(range(self.start, int(self._alive.sum(axis=0).max()), self.stride))

    @property
    def num_replicas(self) -> int:
        """Replicas that are used."""
        return self.replicas.stop - self.replicas.start

    @property
    def alive(self) -> np.ndarray:
        """Who is alive and used in each frame from the first that is used, (T, R)."""
        return self._alive[self.start:]

    @property
    def cell(self) -> np.ndarray | None:
        """The cell (3, 3), Å, with zeros for the directions that are not periodic; None for a molecule."""
        pbc = self.trajectory.pbc
        return np.where(pbc[:, None], self.trajectory.cell, 0.0) if pbc.any() else None

    @property
    def temperature_K(self) -> float:
        """That of the bath, as velocities of a large time step are colder than the positions; without one the mean of the run."""
        config = self.trajectory.config
        if config.ensemble == "nve" or not self._has_one_temperature:
            return float(np.nanmean(self.trajectory.temperature_K[self.start:, self.replicas]))
        return config.start_temperatures_K[self.replicas.start]

    @property
    def _has_one_temperature(self) -> bool:
        config = self.trajectory.config
        return config.has_one_temperature or (self.num_replicas == 1 and config.heating_K_per_step == 0.0)

    def require_one_temperature(self) -> None:
        """Raise DataError for a ladder of temperatures and for a ramp: what is averaged over them belongs to none."""
        if not self._has_one_temperature:
            raise DataError("found a run at several temperatures (ladder_K or final_temperature_K), expected one",
                            "of a ladder choose one with --replica N, in Python replica=N; of a ramp there is none")

    def chunks(self) -> Iterator[np.ndarray]:
        """Positions (t, N, 3), Å: all frames of all living replicas, a group of replicas after another."""
        for first, stop, group, alive in self._pieces():
            yield self.trajectory.positions(first, stop, replicas=group)[::self.stride][alive]

    def cells(self) -> Iterator[np.ndarray]:
        """The cells (t, 3, 3), Å, of the frames of `chunks`."""
        for first, stop, group, alive in self._pieces():
            yield self.trajectory.cells(first, stop, self.stride)[:, group][alive]

    def segments(self, name: str, length: int, overlap: float = 0.5) -> Iterator[np.ndarray]:
        """Pieces (length, N, 3) without gap, of one living replica each; neighbours share a fraction `overlap`.

        name : "positions", Å, "velocities", Å/fs, or "cells", Å, then (length, 3, 3). Of a remainder shorter than the
        length nothing is used.
        """
        hop = max(1, round(length * (1.0 - overlap))) * self.stride
        span = (length - 1) * self.stride + 1
        for group in self._groups(SEGMENT_BYTES // (span * self._frame_bytes)):
            for first in range(self.start, self.trajectory.num_frames - span + 1, hop):
                rows = np.flatnonzero(self._alive[first + span - 1, group])
                block = self._block(name, first, first + span, group)[::self.stride] if len(rows) else ()
                yield from (block[:, row] for row in rows)

    def _block(self, name: str, first: int, stop: int, group: slice) -> np.ndarray:
        """All frames of a group of replicas, (t, R, …)."""
        if name == "cells":
            return self.trajectory.cells(first, stop)[:, group]
        return getattr(self.trajectory, name)(first, stop, replicas=group)

    def windows(self, parts: int) -> Iterator[Iterator[np.ndarray]]:
        """The time in equal parts, each for a group of replicas that live through it: chunks (t, R, N, 3), Å, in order.

        Use up each window before the next.
        """
        span = self.num_frames // parts * self.stride
        if span == 0:
            raise DataError(f"found {self.num_frames} frames, too few for {parts} parts",
                            "run longer, save more often, or use a smaller skip or stride")
        for group in self._groups():
            for first in range(self.start, self.start + parts * span, span):
                rows = np.flatnonzero(self._alive[first + span - self.stride, group])
                if len(rows):
                    yield self._window(first, first + span, group, rows)

    def sample(self, most: int, replicas: int) -> tuple[np.ndarray, np.ndarray]:
        """At most so many frames, evenly spaced, of the first replicas: times (t,), ps, and positions (t, R, N, 3), Å.

        NaN once a replica is retired.
        """
        step = -(-(self.trajectory.num_frames - self.start) // most)
        times = np.arange(self.start, self.trajectory.num_frames, step) * (self.trajectory.frame_interval_fs * 1e-3)
        first = self.replicas.start
        return times, self.trajectory.positions(self.start, None, step, slice(first, min(first + replicas, self.replicas.stop)))

    def _pieces(self) -> Iterator[tuple[int, int, slice, np.ndarray]]:
        """First frame, last frame + 1, replicas, and who of them is alive, (t, R)."""
        for group in self._groups():
            frames = self._frames_at_once(group)
            for first in range(self.start, self.trajectory.num_frames, frames):
                alive = self._alive[first:first + frames:self.stride, group]
                if alive.any():
                    yield first, first + frames, group, alive

    def _window(self, start: int, end: int, group: slice, rows: np.ndarray) -> Iterator[np.ndarray]:
        frames = self._frames_at_once(group)
        for first in range(start, end, frames):
            block = self.trajectory.positions(first, min(first + frames, end), replicas=group)
            yield block[::self.stride, rows]

    @property
    def _frame_bytes(self) -> int:
        return self.trajectory.num_atoms * 12

    def _groups(self, most: int | None = None) -> list[slice]:
        """Replicas in about equal groups, of at most `most`."""
        size = -(-self.num_replicas // REPLICA_GROUPS)
        size = size if most is None else max(1, min(size, most))
        chosen = self.replicas
        return [slice(first, min(first + size, chosen.stop)) for first in range(chosen.start, chosen.stop, size)]

    def _frames_at_once(self, group: slice) -> int:
        """A multiple of the stride; at least 20 pieces, for error bars."""
        size = (group.stop - group.start) * self._frame_bytes
        most = min(CHUNK_BYTES // size, READ_BYTES // (size * self.stride))
        return max(1, min(most, self.num_frames // MIN_CHUNKS)) * self.stride
