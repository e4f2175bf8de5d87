"""Fixtures every test may use. One thread per process, and data sets only where they are."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from toolkit.config import ModelConfig

ROOT = Path(__file__).resolve().parents[1]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    if item.get_closest_marker("shared") and not _shared_folder().is_dir():
        pytest.skip("needs the published data sets in ../shared/data")


def _shared_folder() -> Path:
    return Path(os.environ.get("TOOLKIT_SHARED") or ROOT.parent / "shared" / "data")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published data sets (mark such tests `shared`)."""
    return _shared_folder()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


def _ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=1)
    return atoms


def _triclinic() -> Atoms:
    atoms = bulk("C", "diamond", a=3.5) * (2, 1, 1)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + [[0.02, 0.05, 0.0], [0.0, -0.03, 0.04], [0.01, 0.0, 0.05]]), scale_atoms=True)
    atoms.numbers[1] = 8
    atoms.rattle(0.1, seed=2)
    return atoms


def _slab() -> Atoms:
    atoms = fcc111("Al", (2, 2, 2), a=3.8, vacuum=None)
    atoms.numbers[:] = [6, 8, 1, 6, 6, 8, 6, 1]
    atoms.pbc = (True, True, False)
    atoms.rattle(0.1, seed=3)
    return atoms


STRUCTURES = {"molecule": _ethanol, "triclinic": _triclinic, "slab": _slab}


@pytest.fixture(params=sorted(STRUCTURES))
def structure(request: pytest.FixtureRequest) -> Atoms:
    """An asymmetric molecule, a skewed crystal smaller than the cutoff, and a slab, all of C, H and O."""
    return STRUCTURES[request.param]()


@pytest.fixture
def ethanol() -> Atoms:
    """A rattled ethanol molecule."""
    return _ethanol()


@pytest.fixture
def triclinic() -> Atoms:
    """A rattled, skewed crystal of C and O."""
    return _triclinic()


@pytest.fixture
def small_config() -> ModelConfig:
    """A NequIP small enough for finite differences, with every feature in use."""
    return ModelConfig(species=("H", "C", "O"), r_max=4.0, num_layers=3, l_max=2, parity=True, num_features=(6, 4, 3),
                       num_bessels=6, radial_mlp_width=12, avg_num_neighbors=9.0, readout_mlp_depth=1,
                       per_species_energy_shifts={"H": -13.0, "C": -1029.0, "O": -2043.0},
                       per_species_energy_scales={"H": 1.5, "C": 2.0, "O": 0.7}, seed=5)
