"""Trajectories for other programs, written frame by frame so that any length fits into memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ase import Atoms
from ase.io.extxyz import write_extxyz
from ase.io.trajectory import TrajectoryWriter as AseWriter

from toolkit.errors import DataError
from toolkit.md.trajectory import Trajectory
from toolkit.progress import Reporter, SilentReporter
from toolkit.storage import replacing

FORMATS = (".xyz", ".extxyz", ".traj")
REPORT_EVERY = 1000


def export_trajectory(trajectory: Trajectory, path: str | Path, frames: slice = slice(None), replica: int = 0,
                      reporter: Reporter | None = None) -> int:
    """Write frames of one replica, while it is alive, with velocities, energy and time; returns how many.

    A stop that the reporter asks for keeps the frames written so far.

    path : .xyz or .extxyz (extended XYZ) or .traj (ASE); a file that exists is replaced when the new one is complete
    Raises DataError for another ending, a replica that does not exist or no frame at all, StorageError when it cannot be written.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise DataError(f"found the ending {path.suffix!r}, expected one of {', '.join(FORMATS)}")
    if not 0 <= replica < trajectory.num_replicas:
        raise DataError(f"found replica {replica}, the trajectory has {trajectory.num_replicas}")
    alive = trajectory.alive[:, replica]
    chosen = [t for t in range(*frames.indices(trajectory.num_frames)) if alive[t]]
    if not chosen:
        raise DataError(f"found no frame to write, replica {replica} has {int(alive.sum())} of the run's {trajectory.num_frames}",
                        "ask for frames within them")
    images = _images(trajectory, chosen, replica, reporter or SilentReporter())
    write = _write_ase if path.suffix == ".traj" else _write_xyz
    with replacing(path, make_folder=False) as temporary:
        return write(temporary, images)


def _images(trajectory: Trajectory, chosen: list[int], replica: int, reporter: Reporter) -> Iterator[Atoms]:
    for count, frame in enumerate(chosen):
        if count % REPORT_EVERY == 0:
            reporter.update(count, len(chosen))
            if reporter.should_stop():
                return
        yield trajectory.to_atoms(frame, replica)


def _write_xyz(path: Path, images: Iterator[Atoms]) -> int:
    count = 0
    with open(path, "w", encoding="utf-8") as stream:
        for count, atoms in enumerate(images, start=1):
            write_extxyz(stream, [atoms])
    return count


def _write_ase(path: Path, images: Iterator[Atoms]) -> int:
    count = 0
    with AseWriter(path, "w") as writer:
        for count, atoms in enumerate(images, start=1):
            writer.write(atoms)
    return count
