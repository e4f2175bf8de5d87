"""Molecular dynamics as a stage: run, gone on with, or taken over when it is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ase import Atoms

from toolkit.config import MDConfig
from toolkit.errors import DataError
from toolkit.jobs.stages import Result
from toolkit.md.simulation import simulate
from toolkit.md.summary import summarize
from toolkit.md.trajectory import Trajectory
from toolkit.models.potential import Potential
from toolkit.progress import Reporter


def simulate_stage(path: Path, load: Callable[[], Potential], atoms: Atoms, config: MDConfig, reporter: Reporter, *,
                   whole: bool = False) -> Result | None:
    """The summary of the run in `path` after it was brought to its end; None when it was asked to stop before.

    load : gives the potential, and is called only when there is something left to do
    whole : raise DataError when a replica broke
    """
    if not _finished(path, config):
        simulate(load(), atoms, config, path, resume=True, reporter=reporter).close()
    with Trajectory(path) as trajectory:
        if trajectory.stopped:
            return None
        if whole and trajectory.breaks:
            raise DataError(f"the simulation {path.stem!r} broke: {trajectory.breaks[0].reason}",
                            "train the model further, or choose a shorter time step or a lower temperature")
        return {**summarize(trajectory), "trajectory": path.name}


def _finished(path: Path, config: MDConfig) -> bool:
    """Whether a file holds the whole run, so that there is nothing to go on with."""
    if not path.exists():
        return False
    with Trajectory(path) as trajectory:
        return trajectory.config == config and not trajectory.stopped
