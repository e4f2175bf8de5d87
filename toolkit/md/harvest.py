"""Frames worth labelling, collected while a run goes on: extended XYZ beside its trajectory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import StringIO
from itertools import count
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict, write_extxyz

from toolkit.config import MDConfig
from toolkit.errors import DataError, StorageError
from toolkit.storage import write_text_atomic

TIME_TOLERANCE = 1e-6
"""Of the gap between frames, for rounding."""


def harvest_path(trajectory: Path) -> Path:
    """Where the frames harvested from a run lie: run.h5 has run.harvest.xyz."""
    return trajectory.with_name(trajectory.name.removesuffix(".h5") + ".harvest.xyz")


def count_harvested(text: str) -> int:
    """The number of complete frames in the text of such a file."""
    return sum(1 for _ in _complete_frames(text.splitlines(keepends=True)))


class Harvest:
    """Collects frames of replicas numbered through all systems, at least `harvest_gap_fs` apart in each of them.

    A frame tells `step`, `time_fs`, `replica` and `system`, and for each atom `forces_std`, eV/Å. It has no energy and
    no forces: those of a potential that is out of its depth must not be taken for labels.
    """

    def __init__(self, path: Path, config: MDConfig) -> None:
        self.path = path
        self._config = config
        self._last_fs: dict[int, float] = {}
        self._waiting = StringIO()

    def rewind(self, step: int) -> None:
        """Keep only what was harvested up to this step, and go on from there; before the first, the file of an earlier
        run is moved aside to `run.harvest.1.xyz` and so on. Raises StorageError."""
        if not self.path.exists():
            return
        kept = []
        for text in _complete_frames(self.path.read_text(encoding="utf-8").splitlines(keepends=True)):
            info = key_val_str_to_dict(text.split("\n", 2)[1])
            if info["step"] <= step:
                kept.append(text)
                self._last_fs[info["system"] * self._config.replicas + info["replica"]] = info["time_fs"]
        if step and kept:
            write_text_atomic(self.path, "".join(kept))
        else:
            numbers = (self.path.with_suffix(f".{number}.xyz") for number in count(1))
            self.path.rename(next(path for path in numbers if not path.exists()))

    def offer(self, atoms: Atoms, replica_id: int, step: int, forces_std: np.ndarray) -> None:
        """Put a frame aside, unless the last one of the replica is too recent. forces_std : (N,), eV/Å"""
        time_fs = step * self._config.timestep_fs
        gap = self._config.harvest_gap_fs * (1.0 - TIME_TOLERANCE)
        if time_fs - self._last_fs.get(replica_id, -np.inf) < gap:
            return
        self._last_fs[replica_id] = time_fs
        system, replica = divmod(replica_id, self._config.replicas)
        atoms.info |= {"step": step, "time_fs": time_fs, "system": system, "replica": replica}
        atoms.new_array("forces_std", forces_std)
        write_extxyz(self._waiting, [atoms])

    def commit(self) -> None:
        """Write the frames that were put aside. Raises StorageError; what was written before stays."""
        text = self._waiting.getvalue()
        if not text:
            return
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            with open(self.path, "a", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
        except BaseException as error:
            if self.path.exists():
                os.truncate(self.path, size)  # so that it may be tried again
            if not isinstance(error, OSError):
                raise
            raise StorageError(f"cannot write {self.path}: {error.strerror or error}",
                               "free space on the disk") from None
        self._waiting = StringIO()


def _complete_frames(lines: list[str]) -> Iterator[str]:
    """The frames of a file whose last may have been cut short by a kill. Raises DataError for what is no such file."""
    first = 0
    while first < len(lines):
        if not lines[first].strip().isdigit():
            raise DataError(f"found {lines[first].strip()[:40]!r} in line {first + 1} of harvested frames, expected their number of "
                            "atoms", "the file was changed or damaged: move it away")
        last = first + 2 + int(lines[first])
        if last > len(lines) or not lines[last - 1].endswith("\n"):
            return
        yield "".join(lines[first:last])
        first = last
