"""Charges are learned from energies and forces alone, by the ordinary training, where a local model cannot follow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

from toolkit.cli import app
from toolkit.models.coulomb import COULOMB_EV_A
from toolkit.models.potential import load_potential

CHARGE_E = 0.9
STRENGTH_EV, DECAY_A = 900.0, 0.35
R_MAX_A = 4.0


def _pair(distance_A: float) -> Atoms:
    """Two ions: Coulomb's law and a repulsion exp(−r/ρ) after Born and Mayer."""
    attraction = COULOMB_EV_A * CHARGE_E**2 / distance_A
    repulsion = STRENGTH_EV * np.exp(-distance_A / DECAY_A)
    slope = attraction / distance_A - repulsion / DECAY_A
    atoms = Atoms("NaCl", [[0.0, 0.0, 0.0], [0.0, 0.0, distance_A]])
    forces = np.array([[0.0, 0.0, slope], [0.0, 0.0, -slope]])
    atoms.calc = SinglePointCalculator(atoms, energy=repulsion - attraction, forces=forces)
    return atoms


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same run with and without charges; half of its pairs are beyond the cutoff."""
    folder = tmp_path_factory.mktemp("ions")
    distances = np.random.default_rng(0).permutation(np.linspace(2.2, 2.0 * R_MAX_A, 60))
    write(folder / "ions.extxyz", [_pair(distance) for distance in distances])
    (folder / "ions.yaml").write_text(yaml.safe_dump({
        "data": {"train": str(folder / "ions.extxyz"), "split": {"num_train": 40, "num_val": 10, "num_test": 10},
                 "isolated_atom_energies": {"Na": 0.0, "Cl": 0.0}},
        "model": {"architecture": "atom_mlp", "l_max": 0, "r_max": R_MAX_A, "num_features": 8, "radial_mlp_width": 16},
        "loss": {"energy_weight": 1.0, "forces_weight": 1.0}, "optimizer": {"learning_rate": 0.02}, "batch_size": 10,
        "max_epochs": 60, "dtype": "float64", "device": "cpu"}))
    runs = {}
    for name, options in (("local", []), ("charges", ["--set", "model.long_range.smearing_A=0.7"])):
        runs[name] = folder / name
        command = ["train", str(folder / "ions.yaml"), *options, "-o", str(runs[name])]
        answer = CliRunner().invoke(app, command)
        assert answer.exit_code == 0, answer.output
    return runs


def _forces_rmse_beyond_cutoff(run: Path) -> float:
    """eV/Å, of pairs between the cutoff and twice it."""
    pairs = [_pair(distance) for distance in np.linspace(1.05, 1.95, 10) * R_MAX_A]
    answers = load_potential(run, device="cpu", dtype="float64").predict(pairs)
    return float(np.sqrt(np.mean([(a["forces"] - p.get_forces()) ** 2 for a, p in zip(answers, pairs, strict=True)])))


def test_a_local_model_cannot_fit_what_the_long_range_learns(models):
    labels = np.sqrt(np.mean([_pair(d).get_forces() ** 2 for d in np.linspace(1.05, 1.95, 10) * R_MAX_A]))
    local, charges = (_forces_rmse_beyond_cutoff(models[name]) for name in ("local", "charges"))
    assert local == pytest.approx(labels, rel=1e-6)
    assert charges < 0.03 * local


def test_charges_are_found_and_hold_far_outside_the_training_data(models):
    potential = load_potential(models["charges"], device="cpu", dtype="float64")
    far = _pair(10.0 * R_MAX_A)
    charges = potential.evaluate(potential.graph(far))["charges"].numpy()
    np.testing.assert_allclose(np.abs(charges), CHARGE_E, rtol=0.02)
    assert charges.sum() == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(potential.predict(far)["forces"], far.get_forces(), rtol=0.04, atol=1e-12)


def test_the_card_and_the_folder_say_so(models):
    folder = models["charges"] / "model"
    assert "- **Long range**: latent charges of width 0.7 Å in an Ewald sum" in (folder / "CARD.md").read_text()
    assert "Long range" not in (models["local"] / "model" / "CARD.md").read_text()
    assert json.loads((folder / "config.json").read_text())["model"]["long_range"]["smearing_A"] == 0.7
