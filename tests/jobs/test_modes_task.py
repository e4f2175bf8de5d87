"""Phonons as a task: what is kept on disk, and what the user is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.io import write

import toolkit.jobs.modes
from toolkit.jobs.modes import PHONOPY_FILE, ModesRequest, run_modes
from toolkit.models.pair import HarmonicSprings, pair_potential
from toolkit.progress import SilentReporter

SIDE = 4.0


class Notes(SilentReporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def metrics(self, record: dict) -> None:
        self.told.append(record["message"])


@pytest.fixture
def copper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of one copper atom in its cell; models are springs between nearest neighbours."""
    nearest = SIDE / np.sqrt(2.0)
    springs = pair_potential(HarmonicSprings(("Cu",), 1.7, nearest, 1.3 * nearest))
    monkeypatch.setattr(toolkit.jobs.modes, "load_potential", lambda *given, **options: springs)
    write(tmp_path / "copper.extxyz", bulk("Cu", "fcc", a=SIDE))
    return str(tmp_path / "copper.extxyz")


def test_phonopy_reads_the_force_constants(copper: str, tmp_path: Path) -> None:
    phonopy = pytest.importorskip("phonopy")
    notes = Notes()
    result = run_modes(ModesRequest(model="springs", structure=copper, supercell=(4, 4, 4)), tmp_path, notes)
    assert notes.told == [] and result["phonons"]["edge_ratio"] < 1e-10
    crystal = phonopy.load(tmp_path / PHONOPY_FILE, log_level=0)
    crystal.run_qpoints(result["phonons"]["q_points"])
    np.testing.assert_allclose(crystal.qpoints.frequencies, result["phonons"]["frequencies_THz"], atol=1e-5)


def test_a_supercell_in_which_forces_do_not_fade_is_said(copper: str, tmp_path: Path) -> None:
    pytest.importorskip("phonopy")
    notes = Notes()
    run_modes(ModesRequest(model="springs", structure=copper, supercell=(2, 1, 1)), tmp_path, notes)
    assert len(notes.told) == 1 and "enlarge the supercell" in notes.told[0]


def test_a_cell_of_one_atom_asks_for_a_supercell(copper: str, tmp_path: Path) -> None:
    notes = Notes()
    result = run_modes(ModesRequest(model="springs", structure=copper), tmp_path, notes)
    assert result["frequencies_cm1"] == [] and "supercell" in notes.told[0]


def test_models_with_a_long_range_say_that_branches_are_not_split(copper: str, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("phonopy")
    model = type(toolkit.jobs.modes.load_potential("springs").model)
    monkeypatch.setattr(model, "receptive_field", property(lambda self: np.inf))
    notes = Notes()
    run_modes(ModesRequest(model="springs", structure=copper, supercell=(4, 4, 4)), tmp_path, notes)
    assert len(notes.told) == 1 and "no LO-TO splitting" in notes.told[0]


def test_unpaired_electrons_add_the_entropy_of_their_spin(copper: str, tmp_path: Path) -> None:
    nearest = SIDE / np.sqrt(2.0)
    write(tmp_path / "two.xyz", Atoms("Cu2", [[0.0, 0.0, 0.0], [nearest, 0.0, 0.0]]))
    entropies = [run_modes(ModesRequest(model="springs", structure=str(tmp_path / "two.xyz"), spin=spin), tmp_path / f"{spin}")
                 ["thermochemistry"]["entropy_eV_per_K"] for spin in (0.0, 1.0)]
    assert entropies[1] - entropies[0] == pytest.approx(units.kB * np.log(3.0), rel=1e-6)
