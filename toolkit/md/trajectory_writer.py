"""Writing trajectories: HDF5 whose structure is complete before the first step and never changes while the run goes on.

All datasets are allocated (sparsely) at the start; afterwards only numbers are written into them, in blocks, and last
the counter in `progress`. So a reader may open the file at any time, and a killed writer leaves a file that holds
everything up to its last commit. `layout.layout` lists the datasets; T frames, R replicas, N atoms.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import h5py
import numpy as np
from ase import Atoms

from toolkit.config import MDConfig
from toolkit.data.graph import total_charge
from toolkit.errors import ConfigError, StorageError, one_line
from toolkit.md.layout import FORMAT, FORMAT_VERSION, frame_bytes, layout
from toolkit.md.velocities import degrees_of_freedom
from toolkit.storage import replacing
from toolkit.units import KB_EV_PER_K

CHUNK_BYTES = 1 << 20
PER_ATOM = ("positions", "velocities")
MAX_IN_MEMORY_BYTES = 2 << 30
RESERVE_BYTES = 4 << 20
"""A commit is refused when it would leave less than this free on the disk."""


def num_frames(config: MDConfig) -> int:
    """Frames of a complete run: the start and every `save_every` steps."""
    return config.steps // config.save_every + 1


class TrajectoryWriter:
    """Collects frames of one system's replicas and commits them block by block.

    path : None keeps the trajectory in memory
    """

    def __init__(self, file: h5py.File, path: Path | None) -> None:
        self.file = file
        self.path = path
        self.datasets = layout(str(file.attrs["ensemble"]), int(file.attrs["format_version"]))
        self._frames = int(file["progress"][0])
        self._num_replicas, self._num_atoms = file["positions"].shape[1:3]
        self._kinetic_to_K = 2.0 / (KB_EV_PER_K * float(file.attrs["degrees_of_freedom"]))
        self._pending: list[dict[str, np.ndarray]] = []

    @property
    def wall_s(self) -> float:
        """Time the run has taken up to the last commit, s."""
        return float(self.file["wall_s"][0])

    @property
    def num_recorded(self) -> int:
        """Frames committed and waiting."""
        return self._frames + sum(len(frames["time_fs"]) for frames in self._pending)

    @property
    def pending_bytes(self) -> int:
        """Size of the waiting frames."""
        frame = frame_bytes(self.datasets, self._num_replicas, self._num_atoms)
        return (self.num_recorded - self._frames) * frame

    def record(self, replicas: np.ndarray, times_fs: np.ndarray, frames: dict[str, np.ndarray]) -> None:
        """Add T frames; retired replicas get NaN.

        replicas : (R',), those still running;  times_fs : (T,);  frames : (T, R', …) by name of the dataset, positions
        and velocities perhaps with padding atoms at the end
        """
        live = {**frames, "temperature": frames["kinetic_energy"] * self._kinetic_to_K,
                "alive": np.ones(frames["kinetic_energy"].shape, dtype=bool)}
        block = {"time_fs": times_fs}
        for name, values in live.items():
            if name in PER_ATOM:
                values = values[:, :, :self._num_atoms]
            shape = (len(times_fs), self._num_replicas, *values.shape[2:])
            block[name] = np.full(shape, False if name == "alive" else np.nan, dtype=self.datasets[name][0])
            block[name][:, replicas] = values
        self._pending.append(block)

    def record_break(self, replica: int, step: int, positions: np.ndarray, reason: str) -> None:
        """Keep the frame (N, 3), Å, at which a replica was retired, and why."""
        with _storage_errors(self.path):
            self.file["break_positions"][replica] = positions
            self.file["break_reason"][replica] = reason.encode()[:160]
            self.file["break_step"][replica] = step

    def commit(self, step: int, wall_s: float) -> None:
        """Write the waiting frames. Raises StorageError; what was committed before stays."""
        if self.path is not None:
            require_space(self.path, self.pending_bytes)
        end = self.num_recorded
        with _storage_errors(self.path):
            if self._pending:
                for name in self._pending[0]:
                    self.file[name][self._frames:end] = np.concatenate([block[name] for block in self._pending])
            self.file["wall_s"][0] = wall_s
            self.file.flush()
            self.file["progress"][:] = (end, step)
            self.file.flush()
            if self.path is not None:
                os.fsync(self.file.id.get_vfd_handle())
        self._frames, self._pending = end, []

    def rewind(self, step: int) -> None:
        """Forget what was written after this step."""
        with _storage_errors(self.path):
            self._frames = step // int(self.file.attrs["save_interval_steps"]) + 1
            self.file["progress"][:] = (self._frames, step)
            break_step = self.file["break_step"][:]
            self.file["break_step"][:] = np.where(break_step > step, -1, break_step)
            self.file.flush()

    def close(self) -> None:
        """Close the file on disk; one in memory stays open for its reader."""
        if self.path is not None:
            with _storage_errors(self.path):
                self.file.close()


def trajectory_bytes(atoms: Atoms, config: MDConfig) -> int:
    """What the frames of a whole run take."""
    return num_frames(config) * frame_bytes(layout(config.ensemble), config.replicas, len(atoms))


def create_in_memory(atoms: Atoms, config: MDConfig, model: str, weights: str = "") -> TrajectoryWriter:
    """A writer whose trajectory lives in memory. Raises ConfigError when it would be larger than 2 GiB."""
    size = trajectory_bytes(atoms, config)
    if size > MAX_IN_MEMORY_BYTES:
        raise ConfigError(f"the trajectory would take {size / 2**30:.1f} GiB of memory, expected at most "
                          f"{MAX_IN_MEMORY_BYTES / 2**30:.0f} GiB", "give a path to write it to, or raise save_every")
    file = h5py.File(f"trajectory-in-memory-{uuid4().hex}", "w", driver="core", backing_store=False)
    _lay_out(file, atoms, config, model, weights)
    return TrajectoryWriter(file, None)


def create_on_disk(path: Path, atoms: Atoms, config: MDConfig, model: str, weights: str = "") -> TrajectoryWriter:
    """A writer with a new file, which appears complete or not at all.

    Raises StorageError when the file exists, cannot be written, or would not fit on the disk.
    """
    if path.exists():
        raise StorageError(f"{path} exists already", "resume that run, choose another name, or delete the file")
    with replacing(path) as temporary, _storage_errors(path):
        require_space(path, trajectory_bytes(atoms, config))
        with h5py.File(temporary, "w") as file:
            _lay_out(file, atoms, config, model, weights)
    with _storage_errors(path):
        return TrajectoryWriter(h5py.File(path, "r+"), path)


def reopen(path: Path, config: MDConfig) -> TrajectoryWriter:
    """A writer that continues a file; more steps than before make it longer. Raises StorageError, also when in use."""
    with _storage_errors(path):
        file = h5py.File(path, "r+")
        writer = TrajectoryWriter(file, path)
        if num_frames(config) > len(file["time_fs"]):
            for name in writer.datasets:
                if writer.datasets[name][1].startswith("T"):
                    file[name].resize(num_frames(config), axis=0)
        file.attrs["config"] = config.model_dump_json()
        return writer


def _lay_out(file: h5py.File, atoms: Atoms, config: MDConfig, model: str, weights: str) -> None:
    sizes = {"T": num_frames(config), "R": config.replicas, "N": len(atoms)}
    for name, (dtype, shape, unit) in layout(config.ensemble).items():
        dimensions = tuple(sizes.get(letter) or int(letter) for letter in shape)
        _allocate(file, name, np.dtype(dtype), dimensions, growing=shape[0] == "T")
        file[name].attrs["unit"] = unit
    file["atomic_numbers"][:] = atoms.numbers
    file["masses"][:] = atoms.get_masses()
    file["break_step"][:] = -1
    file["progress"][:] = 0
    file["wall_s"][:] = 0.0
    file.attrs.update({
        "format": FORMAT, "format_version": FORMAT_VERSION, "timestep_fs": config.timestep_fs,
        "save_interval_steps": config.save_every, "ensemble": config.ensemble, "temperature_K": config.temperature_K,
        "degrees_of_freedom": degrees_of_freedom(atoms, config.ensemble), "cell": atoms.cell.array, "pbc": atoms.pbc,
        "config": config.model_dump_json(), "model": model, "weights": weights, "total_charge": total_charge(atoms),
    })


def _allocate(file: h5py.File, name: str, dtype: np.dtype, shape: tuple[int, ...], growing: bool) -> None:
    """A dataset with all its space reserved now and nothing filled in (sparse on the disk until written)."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    limits = shape
    if growing:
        row_bytes = dtype.itemsize * int(np.prod(shape[1:]))
        properties.set_chunk((max(1, min(shape[0], CHUNK_BYTES // row_bytes)), *shape[1:]))
        limits = (h5py.h5s.UNLIMITED, *shape[1:])
    space = h5py.h5s.create_simple(shape, limits)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype, logical=True), space, properties)


@contextmanager
def _storage_errors(path: Path | None) -> Iterator[None]:
    """Turn what HDF5 and the system say about a failed write into one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # HDF5 reports some failed writes as RuntimeError
        hint = "free space, choose a folder you may write to, or wait for the run that uses the file"
        raise StorageError(f"cannot write {path}: {one_line(error)}", hint) from None


def require_space(path: Path, size: int) -> None:
    """Raise StorageError where so many bytes more do not fit on the disk of a file, whose folder may not be there yet."""
    free = shutil.disk_usage(next(folder for folder in path.absolute().parents if folder.exists())).free
    if size + RESERVE_BYTES > free:
        raise StorageError(f"{path} needs {_bytes(size)} more, the disk has {_bytes(free)} free",
                           "free space and resume, or save fewer frames (save_every)")


def _bytes(size: int) -> str:
    """A size for people: 3.5 MiB, 12.0 GiB."""
    power = min(max(size.bit_length() - 1, 20) // 10, 4)
    return f"{size / 2**(10 * power):,.1f} {('MiB', 'GiB', 'TiB')[power - 2]}"
