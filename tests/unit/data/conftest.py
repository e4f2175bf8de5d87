"""Real frames to write into files of every layout and unit: the embedded ethanol set, read without our readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import toolkit.data

NUM_FRAMES = 300


@pytest.fixture(scope="session")
def ethanol_arrays() -> dict[str, np.ndarray]:
    """Arrays z (9,), R (T, 9, 3) Å, E (T,) eV, F (T, 9, 3) eV/Å of the first embedded ethanol frames."""
    path = Path(toolkit.data.__file__).parent / "embedded" / "ethanol.npz"
    with np.load(path, allow_pickle=False) as stored:
        return {"z": stored["atomic_numbers"], "R": stored["positions"][:NUM_FRAMES].astype(np.float64),
                "E": stored["energies"][:NUM_FRAMES], "F": stored["forces"][:NUM_FRAMES].astype(np.float64)}


@pytest.fixture
def npz_file(tmp_path: Path, ethanol_arrays: dict[str, np.ndarray]) -> Callable[..., Path]:
    """Writes MD17-like archives; keyword arguments replace or add arrays (None removes)."""
    def make(**changes: object) -> Path:
        arrays = {key: value for key, value in {**ethanol_arrays, **changes}.items() if value is not None}
        path = tmp_path / "frames.npz"
        np.savez(path, **arrays)
        return path
    return make


@pytest.fixture
def xyz_file(tmp_path: Path, ethanol_arrays: dict[str, np.ndarray]) -> Callable[..., Path]:
    """Writes the first frames as extended XYZ with given keys and factors of energy and forces."""
    def make(name: str = "frames.xyz", energy_key: str = "energy", forces_key: str = "forces", count: int = 60,
             energy_factor: float = 1.0, forces_factor: float = 1.0) -> Path:
        frames = []
        for positions, energy, forces in zip(*(ethanol_arrays[key][:count] for key in "REF"), strict=True):
            atoms = Atoms(ethanol_arrays["z"], positions)
            if (energy_key, forces_key) == ("energy", "forces"):
                atoms.calc = SinglePointCalculator(atoms, energy=energy * energy_factor, forces=forces * forces_factor)
            else:
                atoms.info[energy_key] = energy * energy_factor
                atoms.arrays[forces_key] = forces * forces_factor
            frames.append(atoms)
        path = tmp_path / name
        write(path, frames, format="extxyz")
        return path
    return make
