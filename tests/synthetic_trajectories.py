"""Trajectory files whose motion is given by a formula: long ones in a second, and exact answers for the analyses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms

from toolkit.config import MDConfig
from toolkit.md.trajectory_writer import create_on_disk

Motion = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""times (t,), fs -> positions (t, R, N, 3), Å, and velocities (t, R, N, 3), Å/fs."""

FRAMES_AT_ONCE = 50_000
TEMPERATURE_K = 300.0


def write_trajectory(path: Path, atoms: Atoms, motion: Motion, frames: int, *, timestep_fs: float = 0.5,
                     save_every: int = 1, replicas: int = 1, ensemble: str = "nve", **md: object) -> Path:
    """A finished run of `frames` frames in which nothing broke, with a kinetic temperature of 300 K; energies are zero."""
    config = MDConfig(ensemble=ensemble, **md, timestep_fs=timestep_fs, save_every=save_every, replicas=replicas,
                      steps=max(1, (frames - 1) * save_every))
    writer = create_on_disk(path, atoms, config, "a formula")
    file = writer.file
    for start in range(0, frames, FRAMES_AT_ONCE):
        stop = min(start + FRAMES_AT_ONCE, frames)
        times = timestep_fs * save_every * np.arange(start, stop)
        file["time_fs"][start:stop] = times
        file["positions"][start:stop], file["velocities"][start:stop] = motion(times)
        file["alive"][start:stop] = True
        file["temperature"][start:stop] = TEMPERATURE_K
        for name in ("potential_energy", "kinetic_energy"):
            file[name][start:stop] = 0.0
    file["progress"][:] = (frames, config.steps)
    writer.close()
    return path
