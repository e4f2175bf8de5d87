"""The files of one run: a trajectory for each system, and one restart point for all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from toolkit.config import MDConfig
from toolkit.data.graph import total_charge
from toolkit.errors import ConfigError, DataError, StorageError
from toolkit.md.frames import observe, to_numpy
from toolkit.md.layout import Layout
from toolkit.md.restart import RestartPoint, load_restart, restart_path, save_restart
from toolkit.md.state import MDState
from toolkit.md.trajectory import Trajectory
from toolkit.md.trajectory_writer import (
    TrajectoryWriter,
    create_in_memory,
    create_on_disk,
    reopen,
    require_space,
    trajectory_bytes,
)

MAY_CHANGE = ("steps", "skin")
"""Fields that a resumed run may have different."""
PRECISION = re.compile(r"torch\.float\d+")
"""Of the potentials in the words of `ReplicaForces.describe`."""
SAME_START_A = 1e-3
MAX_WAITING_BYTES = 16 << 20
"""Frames waiting in memory never take more than about this."""


class RunFiles:
    """Writes what happens to replicas numbered through all systems: system s has numbers s·R … (s + 1)·R − 1."""

    def __init__(self, writers: Sequence[TrajectoryWriter], replicas: int, restart_beside: Path | None) -> None:
        self.writers = writers
        self._replicas = replicas
        self._restart_beside = restart_beside

    @property
    def datasets(self) -> Layout:
        """What a frame holds."""
        return self.writers[0].datasets

    @property
    def wall_s(self) -> float:
        """Time the run has taken up to the last commit, s."""
        return self.writers[0].wall_s

    @property
    def num_recorded(self) -> int:
        """Frames committed and waiting."""
        return self.writers[0].num_recorded

    @property
    def is_full(self) -> bool:
        """True when the waiting frames take so much memory that they should be committed."""
        return sum(writer.pending_bytes for writer in self.writers) >= MAX_WAITING_BYTES

    def record_state(self, state: MDState, time_fs: float) -> None:
        """Add one frame."""
        frame = {name: values[None] for name, values in to_numpy(observe(state, self.datasets)).items()}
        self.record(state.replica_ids.cpu().numpy(), np.asarray([time_fs]), frame)

    def record(self, replica_ids: np.ndarray, times_fs: np.ndarray, frames: dict[str, np.ndarray]) -> None:
        """Add T frames (T, R', …) of the replicas (R',) still running."""
        for system, writer in enumerate(self.writers):
            mine = replica_ids // self._replicas == system
            rows = slice(None) if mine.all() else mine
            writer.record(replica_ids[mine] % self._replicas, times_fs,
                          {name: values[:, rows] for name, values in frames.items()})

    def record_break(self, replica_id: int, step: int, positions: np.ndarray, reason: str) -> None:
        """Keep the frame (N, 3), Å, at which a replica was retired, and why."""
        self.writers[replica_id // self._replicas].record_break(replica_id % self._replicas, step, positions, reason)

    def commit(self, point: RestartPoint, wall_s: float) -> None:
        """Write the waiting frames and then the restart point. Raises StorageError; what was committed before stays."""
        for writer in self.writers:
            writer.commit(point.step, wall_s)
        if self._restart_beside is not None:
            save_restart(self._restart_beside, point)

    def close(self) -> None:
        """Close the files on disk; those in memory stay open for their readers."""
        for writer in self.writers:
            writer.close()

    def trajectories(self) -> list[Trajectory]:
        """One for each system."""
        return [Trajectory(writer.file if writer.path is None else writer.path) for writer in self.writers]


def trajectory_paths(path: Path, num_systems: int) -> list[Path]:
    """Where the trajectories of several systems lie: run.h5 becomes run.0.h5, run.1.h5, …; one system has run.h5."""
    if num_systems == 1:
        return [path]
    return [path.with_name(f"{path.stem}.{system}{path.suffix}") for system in range(num_systems)]


def create_files(path: Path | None, systems: Sequence[Atoms], config: MDConfig, model: str,
                 weights: str = "") -> RunFiles:
    """New files, or with None trajectories in memory. Raises StorageError or ConfigError when that is impossible.

    weights : what tells the weights of the model from others, "" when there are none
    """
    if path is None:
        return RunFiles([create_in_memory(atoms, config, model, weights) for atoms in systems], config.replicas, None)
    paths = trajectory_paths(path, len(systems))
    _require_free(path, paths)
    if len(systems) > 1:  # new files take their space little by little, so that each finds it free
        require_space(path, sum(trajectory_bytes(atoms, config) for atoms in systems))
    writers: list[TrajectoryWriter] = []
    try:
        for file, atoms in zip(paths, systems, strict=True):
            writers.append(create_on_disk(file, atoms, config, model, weights))
    except BaseException:
        for writer in writers:  # else the next try would find them
            writer.close()
            writer.path.unlink()
        raise
    restart_path(path).unlink(missing_ok=True)
    return RunFiles(writers, config.replicas, path)


def _require_free(path: Path, paths: Sequence[Path]) -> None:
    """Raise StorageError for files of an earlier run, of one system or of several: both have the same restart point."""
    for file in (*paths, path, path.with_name(f"{path.stem}.0{path.suffix}")):
        if file.exists():
            raise StorageError(f"{file} exists already", "resume that run, choose another name, or delete the file")


def reopen_files(path: Path, systems: Sequence[Atoms], config: MDConfig, point: RestartPoint, model: str,
                 weights: str) -> RunFiles:
    """The files of an earlier run, ready to go on from its restart point. model, weights : as for `create_files`

    Raises ConfigError when its settings, precision or weights were others, DataError when it does not belong to these
    structures.
    """
    paths = trajectory_paths(path, len(systems))
    if point.state.num_replicas != len(systems) * config.replicas:
        raise DataError(f"{restart_path(path)} is of {point.state.num_replicas} replicas in all, expected "
                        f"{len(systems)} × {config.replicas}", "resume with the structures and replicas the run was begun with")
    for file, atoms in zip(paths, systems, strict=True):
        _check_belongs(file, atoms, config, point, model, weights)
    writers = [reopen(file, config) for file in paths]
    for writer in writers:
        writer.rewind(point.step)
    return RunFiles(writers, config.replicas, path)


def find_restart(path: Path, num_systems: int, device: torch.device) -> RestartPoint | None:
    """The last commit of an earlier run, None when there is nothing worth keeping (then its files are removed).

    Raises DataError when frames were kept but the restart point is lost.
    """
    if restart_path(path).exists():
        return load_restart(path, device)
    for file in trajectory_paths(path, num_systems):
        if file.exists():
            _discard_unstarted(file, restart_path(path))
    return None


def _check_belongs(path: Path, atoms: Atoms, config: MDConfig, point: RestartPoint, model: str, weights: str) -> None:
    with Trajectory(path) as earlier:
        old, new = earlier.config.model_dump(), config.model_dump()
        fixed = [key for key in new if key not in MAY_CHANGE or (key == "steps" and config.heating_K_per_step)]
        changed = [key for key in fixed if new[key] != old[key]]
        if changed or config.steps < point.step:
            raise ConfigError(f"{path} is a run of {point.step} steps with other settings: "
                              f"{', '.join(changed) or 'steps'}", "resume with its settings; only `steps` may grow")
        if earlier.weights and weights and earlier.weights != weights:
            raise ConfigError(f"{path} is a run with other weights of the model ({earlier.model})",
                              "resume with the model it was begun with, or start a new run")
        before, now = (PRECISION.findall(text) for text in (earlier.model, model))
        if before != now:
            raise ConfigError(f"{path} is a run in {', '.join(before)}, found {', '.join(now)}",
                              f"resume with that precision (dtype {before[0].removeprefix('torch.')})" if before else
                              "start a new run")
        same = (earlier.total_charge == total_charge(atoms) and np.array_equal(earlier.atomic_numbers, atoms.numbers)
                and np.array_equal(earlier.cell, atoms.cell.array) and np.array_equal(earlier.pbc, atoms.pbc)
                and np.array_equal(earlier.masses, atoms.get_masses()))
        expected = point.step // config.save_every + 1
        if same and earlier.num_frames and not np.allclose(earlier.positions(0, 1)[0, 0], atoms.positions, atol=SAME_START_A):
            raise DataError(f"{path} begins at another structure of the same atoms", "resume with the frame it was begun with")
        if not same or earlier.num_frames < expected:
            raise DataError(f"{path} does not belong to this structure and restart point", "start a new run")


def _discard_unstarted(path: Path, restart: Path) -> None:
    """Remove a trajectory whose run was killed before its first commit; refuse when it holds more."""
    with Trajectory(path) as earlier:
        if earlier.num_frames > 1:
            raise DataError(f"{path} holds {earlier.num_frames} frames, but {restart.name} is missing",
                            "start a new run under another name")
    path.unlink()
