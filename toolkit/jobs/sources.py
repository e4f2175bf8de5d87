"""Where a task starts: one structure from a file, from the embedded data or from an earlier run."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from toolkit.data.formats import read_frames
from toolkit.errors import DataError
from toolkit.jobs.run_dir import find_run
from toolkit.md.trajectory import Trajectory

RUN_PREFIX = "run:"


def starting_structure(source: str, frame: int) -> Atoms:
    """One frame of a data source or of an earlier run.

    frame : its place in the file, or counted from the end; of a file that begins with isolated atoms 0 is the first frame
        after them
    Raises DataError when there is no such frame, and for an isolated atom among others.
    """
    if source.startswith(RUN_PREFIX):
        with Trajectory(find_run(source.removeprefix(RUN_PREFIX)) / "trajectory.h5") as trajectory:
            return trajectory.to_atoms(frame)
    found = read_frames(source)
    count = len(found) + len(found.isolated)
    if not -count <= frame < count:
        raise DataError(f"{source} has {count} frames, found frame {frame}", f"choose 0 … {count - 1}")
    if frame == 0:
        return found[0]
    place = frame % count
    if place in found.isolated:
        raise DataError(f"frame {frame} of {source} is an isolated atom, the zero of energy", "choose another frame")
    return found[int(np.searchsorted(found.places, place))]
