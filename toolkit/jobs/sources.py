"""Where a task starts: one structure from a file, from the embedded data or from an earlier run."""

from __future__ import annotations

from ase import Atoms

from toolkit.data.formats import read_frames
from toolkit.errors import DataError
from toolkit.jobs.run_dir import find_run
from toolkit.md.trajectory import Trajectory

RUN_PREFIX = "run:"


def starting_structure(source: str, frame: int) -> Atoms:
    """One frame of a data source or of an earlier run. Raises DataError when there is no such frame."""
    if source.startswith(RUN_PREFIX):
        with Trajectory(find_run(source.removeprefix(RUN_PREFIX)) / "trajectory.h5") as trajectory:
            return trajectory.to_atoms(frame)
    frames = read_frames(source).frames
    if not -len(frames) <= frame < len(frames):
        raise DataError(f"{source} has {len(frames)} frames, found frame {frame}", f"choose 0 … {len(frames) - 1}")
    return frames[frame]
