"""Reading trajectories, also while they are being written. The file's layout: `layout.layout`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from typing_extensions import Self

from toolkit.config import MDConfig, parse_config
from toolkit.errors import ConfigError, DataError, one_line
from toolkit.md.layout import FORMAT, READABLE_VERSIONS, layout
from toolkit.units import EV_PER_A3_GPA

UNREADABLE = (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError)
"""What h5py raises on damaged files."""


@dataclass(frozen=True)
class Break:
    """A replica that left the physics: positions (N, 3), Å, of the frame at `time_fs`, and the reason."""

    replica: int
    time_fs: float
    reason: str
    positions: np.ndarray


class Trajectory:
    """T frames × R replicas × N atoms, read lazily: frames stay on the disk until asked for.

    T counts the frames committed when the file was opened; open it again to see newer ones. Close it, or use `with`.
    Raises DataError for a file that is absent, damaged or of another kind.

    atomic_numbers : (N,);  masses : (N,), amu;  cell : (3, 3), Å, rows;  pbc : (3,)
    timestep_fs, save_interval_steps, ensemble, model, weights, config, total_charge (e) : how it was made
    """

    def __init__(self, source: str | Path | h5py.File) -> None:
        self.path = None if isinstance(source, h5py.File) else Path(source)
        try:
            self._file = source if isinstance(source, h5py.File) else h5py.File(source, "r", locking=False)
        except UNREADABLE as error:
            raise DataError(f"cannot read the trajectory {source}: {one_line(error)}",
                            "give an HDF5 file written by MD") from None
        try:
            self._read_header()
        except (ConfigError, *UNREADABLE) as error:
            self.close()
            raise DataError(f"{source} is not a usable trajectory: {one_line(error)}",
                            "the file is damaged or of another kind") from None
        except DataError:
            self.close()
            raise

    def _read_header(self) -> None:
        attributes = dict(self._file.attrs)
        if attributes.get("format") != FORMAT:
            raise DataError(f"{self._file.filename} is an HDF5 file, but no trajectory of this toolkit",
                            "give a file written by MD")
        if attributes["format_version"] not in READABLE_VERSIONS:
            raise DataError(f"{self._file.filename} has format_version {attributes['format_version']}, "
                            f"this version reads {READABLE_VERSIONS}", "update the toolkit")
        self.ensemble = str(attributes["ensemble"])
        self._datasets = layout(self.ensemble, int(attributes["format_version"]))
        self._check_layout()
        self.num_frames, self.steps_done = (int(value) for value in self._file["progress"][:])
        total, self.num_replicas, self.num_atoms = self._file["positions"].shape[:3]
        if not 0 <= self.num_frames <= total:
            raise DataError(f"{self._file.filename} claims {self.num_frames} frames but has room for {total}",
                            "the file is damaged")
        self.config = parse_config(MDConfig, json.loads(attributes["config"]))
        self.model = str(attributes["model"])
        self.weights = str(attributes.get("weights", ""))
        self.total_charge = float(attributes.get("total_charge", 0.0))
        self.timestep_fs = float(attributes["timestep_fs"])
        self.save_interval_steps = int(attributes["save_interval_steps"])
        self.degrees_of_freedom = int(attributes["degrees_of_freedom"])
        self.cell = np.asarray(attributes["cell"], dtype=np.float64).reshape(3, 3)
        self.pbc = np.asarray(attributes["pbc"], dtype=bool).reshape(3)
        self.atomic_numbers = self._file["atomic_numbers"][:]
        self.masses = self._file["masses"][:]
        self.wall_s = float(self._file["wall_s"][0])

    def _check_layout(self) -> None:
        """Every dataset is really in this file, with the shape and kind of number of the layout."""
        sizes: dict[str, int] = {}
        for name, (dtype, letters, _) in self._datasets.items():
            data = self._file[name]
            local = isinstance(self._file.get(name, getlink=True), h5py.HardLink) and isinstance(data, h5py.Dataset)
            if not local or data.is_virtual or data.external or data.dtype.kind != np.dtype(dtype).kind:
                raise DataError(f"{self._file.filename}: {name} is not stored as expected",
                                "the file is damaged or hostile")
            expected = tuple(sizes.setdefault(x, n) if x.isalpha() else int(x)
                             for x, n in zip(letters, data.shape, strict=True))
            if data.shape != expected:
                raise DataError(f"{self._file.filename}: {name} has shape {data.shape}, expected {expected}",
                                "the file is damaged")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self.num_frames

    def __repr__(self) -> str:
        return (f"Trajectory({self.path or 'in memory'}, {self.num_frames} frames every {self.frame_interval_fs} fs, "
                f"{self.num_replicas} replicas, {self.num_atoms} atoms, {self.ensemble})")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def inner_timestep_fs(self) -> float:
        """The step that vibrations feel: the time step, or an inner one where there are such, fs."""
        return self.timestep_fs / self.config.inner_steps

    @property
    def frame_interval_fs(self) -> float:
        """Time between frames, fs."""
        return self.timestep_fs * self.save_interval_steps

    @property
    def times_fs(self) -> np.ndarray:
        """Time of each frame, (T,), fs."""
        return self._read("time_fs")

    @property
    def potential_energy_eV(self) -> np.ndarray:
        """(T, R), float64, NaN once a replica is retired."""
        return self._read("potential_energy")

    @property
    def kinetic_energy_eV(self) -> np.ndarray:
        """(T, R), float64, NaN once a replica is retired."""
        return self._read("kinetic_energy")

    @property
    def conserved_energy_eV(self) -> np.ndarray:
        """Potential + kinetic energy + what thermostat and barostat hold, (T, R), float64; its drift is an error.

        Raises DataError for a file of version 1 with a heat bath, which did not record it.
        """
        if "conserved_energy" in self._datasets:
            return self._read("conserved_energy")
        if self.ensemble == "nve":
            return self.potential_energy_eV + self.kinetic_energy_eV
        raise DataError("this trajectory of an older version does not hold the energy of its heat bath", "run it again")

    @property
    def variable_cell(self) -> bool:
        """True when the cell changes with time and `cell` is only the first."""
        return "cell" in self._datasets

    def cells(self, start: int = 0, stop: int | None = None, step: int = 1) -> np.ndarray:
        """The cells of frames start:stop:step, (T, R, 3, 3), float64, Å, rows; NaN for retired replicas if variable."""
        frames = slice(start, stop, step)
        if self.variable_cell:
            return self._read("cell", frames)
        count = len(range(*frames.indices(self.num_frames)))
        return np.broadcast_to(self.cell, (count, self.num_replicas, 3, 3))

    @property
    def pressure_GPa(self) -> np.ndarray:
        """Instantaneous pressure, (T, R), of "npt" runs. Raises DataError for others, which compute no stress."""
        if not self.variable_cell:
            raise DataError(f"found the ensemble {self.ensemble!r}, only 'npt' records the pressure", "run 'npt'")
        return EV_PER_A3_GPA * self._read("pressure")

    @property
    def temperature_K(self) -> np.ndarray:
        """Instantaneous temperature 2 E_kin / (k · degrees of freedom), (T, R); NaN once a replica is retired."""
        return self._read("temperature")

    @property
    def alive(self) -> np.ndarray:
        """Whether each replica was still running, (T, R), bool."""
        return self._read("alive")

    @property
    def stopped(self) -> bool:
        """True when the run ended, or stands, before its last step with replicas still running: it can be resumed."""
        return self.steps_done < self.config.steps and len(self.breaks) < self.num_replicas

    @property
    def breaks(self) -> list[Break]:
        """The replicas that were retired, in the order of their numbers."""
        steps = self._file["break_step"][:]
        return [Break(int(r), float(steps[r]) * self.timestep_fs,
                      bytes(self._file["break_reason"][r]).decode(errors="replace"), self._file["break_positions"][r])
                for r in np.nonzero(steps >= 0)[0]]

    def positions(self, start: int = 0, stop: int | None = None, step: int = 1,
                  replicas: slice = slice(None)) -> np.ndarray:
        """Frames start:stop:step, (T, R, N, 3), float32, Å, not wrapped into the cell; NaN for retired replicas."""
        return self._read("positions", slice(start, stop, step), replicas)

    def velocities(self, start: int = 0, stop: int | None = None, step: int = 1,
                   replicas: slice = slice(None)) -> np.ndarray:
        """Frames start:stop:step, (T, R, N, 3), float32, Å/fs; NaN for retired replicas."""
        return self._read("velocities", slice(start, stop, step), replicas)

    def chunks(self, name: str, frames: int, replica: int = 0, start: int = 0) -> Iterator[np.ndarray]:
        """Blocks (t, N, 3) of at most `frames` frames of one replica, from frame `start` on while it is alive.

        name : "positions", "velocities", or with a `variable_cell` "cell", then (t, 3, 3)
        """
        end = int(self._file["alive"][:self.num_frames, replica].sum())
        for first in range(start, end, frames):
            yield self._file[name][first:min(first + frames, end), replica]

    def to_atoms(self, frame: int, replica: int = 0) -> Atoms:
        """One frame with velocities and potential energy. Raises DataError when it does not exist or was retired."""
        if not (-self.num_frames <= frame < self.num_frames and 0 <= replica < self.num_replicas):
            raise DataError(f"found frame {frame}, replica {replica}; the trajectory has {self.num_frames} frames and "
                            f"{self.num_replicas} replicas")
        frame %= self.num_frames
        if not self._file["alive"][frame, replica]:
            raise DataError(f"replica {replica} was retired before frame {frame}", "see Trajectory.breaks for why")
        positions = self._file["positions"][frame, replica].astype(np.float64)
        cell = self._file["cell"][frame, replica] if self.variable_cell else self.cell
        atoms = Atoms(self.atomic_numbers, positions, masses=self.masses, cell=cell, pbc=self.pbc)
        atoms.set_velocities(self._file["velocities"][frame, replica].astype(np.float64) / units.fs)
        energy = float(self._file["potential_energy"][frame, replica])
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
        if self.total_charge:
            atoms.info["charge"] = self.total_charge
        atoms.info["time_fs"] = float(self._file["time_fs"][frame])
        return atoms

    def _read(self, name: str, frames: slice = slice(None), replicas: slice | None = None) -> np.ndarray:
        start, stop, step = frames.indices(self.num_frames)
        if step < 1:
            raise DataError(f"found a step of {step} between frames, expected at least 1")
        chosen = slice(start, max(start, stop), step)
        return self._file[name][chosen] if replicas is None else self._file[name][chosen, replicas]
