"""A small periodic data set with exact energies, forces and stresses (ASE's EMT for copper)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from toolkit.config import TrainConfig, parse_config


@pytest.fixture(scope="session")
def copper_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 rattled, strained four-atom cells as extended XYZ."""
    random, frames = np.random.default_rng(0), []
    for _ in range(36):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + random.normal(0, 0.02, (3, 3))), scale_atoms=True)
        atoms.positions += random.normal(0, 0.1, atoms.positions.shape)
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    path = tmp_path_factory.mktemp("copper") / "copper.extxyz"
    write(path, frames)
    return path


@pytest.fixture
def copper_config(copper_file: Path) -> TrainConfig:
    """A training run of a few seconds."""
    return parse_config(TrainConfig, {
        "data": {"train": str(copper_file), "split": {"num_train": 24, "num_val": 6, "num_test": 6}},
        "model": {"r_max": 4.0, "num_layers": 2, "l_max": 1, "num_features": 8, "radial_mlp_width": 16},
        "loss": {"stress_weight": 10.0}, "optimizer": {"learning_rate": 0.02}, "batch_size": 5, "max_epochs": 3,
        "threads": 1, "device": "cpu",
    })
