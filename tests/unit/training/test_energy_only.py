"""Training where there are no forces: molecules with energies alone, in a file or packed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

from tests.unit.training.runs import Recorder, changed, same, weights
from toolkit.cli import app
from toolkit.config import DataConfig, TrainConfig, parse_config
from toolkit.data import graph_store
from toolkit.data.datasets import load_splits
from toolkit.data.packing import pack_source
from toolkit.data.statistics import fit_energy_shifts
from toolkit.errors import DataError
from toolkit.models.pair import LennardJones, pair_potential
from toolkit.training.trainer import train

ATOM_ENERGIES = {"H": -13.0, "C": -1030.0, "O": -2043.0}


@pytest.fixture(scope="module")
def energies_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 rattled molecules whose energy is that of their atoms and of a soft pair potential."""
    rng, frames = np.random.default_rng(0), []
    potential = pair_potential(LennardJones(("H", "C", "O"), 0.05, 1.0, 4.0))
    for _ in range(120):
        atoms = molecule(rng.choice(["CH4", "H2O", "CH3CH2OH", "C2H4", "CH3OH", "H2CO"]))
        atoms.rattle(0.05, rng=rng)
        energy = potential.predict(atoms)["energy"] + sum(ATOM_ENERGIES[s] for s in atoms.get_chemical_symbols())
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
        frames.append(atoms)
    path = tmp_path_factory.mktemp("molecules") / "energies.extxyz"
    write(path, frames)
    return path


@pytest.fixture
def config(energies_file: Path) -> TrainConfig:
    return parse_config(TrainConfig, {
        "data": {"train": str(energies_file), "split": {"num_train": 80, "num_val": 20, "num_test": 20, "seed": 1}},
        "model": {"architecture": "atom_gnn", "num_layers": 2, "num_features": 16, "r_max": 4.0},
        "loss": {"forces_weight": 0.0}, "optimizer": {"learning_rate": 0.01, "ema_decay": 0.9}, "batch_size": 8,
        "max_epochs": 6, "device": "cpu", "backend": "reference"})


@pytest.mark.parametrize("architecture", ["atom_mlp", "atom_gnn"])
def test_energies_alone_are_learned(config: TrainConfig, architecture: str, tmp_path: Path) -> None:
    model = {"architecture": architecture, "num_layers": 4 if architecture == "atom_mlp" else 2,
             "readout_mlp_depth": 1, "zbl_reach": 0.8}
    reporter = Recorder()
    result = train(changed(config, model=model), tmp_path, reporter=reporter)
    values = json.loads((tmp_path / "model" / "config.json").read_text())["model"]
    spread = values["per_species_energy_scales"]["C"]
    assert 0.01 < spread < 1.0
    assert result["test.energy_mae_meV_per_atom"] < 0.25 * 1e3 * spread
    assert result["test.forces_mae_meV_per_A"] is None
    assert reporter.epochs[-1]["val_forces_mae_meV_per_A"] is None
    card = (tmp_path / "model" / "CARD.md").read_text()
    assert "energies only" in card and "nan" not in card.lower() and "energy MAE" in card
    assert json.loads((tmp_path / "model" / "metrics.json").read_text())["data"]["forces_rms_train_eV_per_A"] is None


def test_shifts_are_the_least_squares_of_compositions(config: TrainConfig, tmp_path: Path) -> None:
    train(changed(config, max_epochs=1), tmp_path)
    values = json.loads((tmp_path / "model" / "config.json").read_text())["model"]
    expected, warnings = fit_energy_shifts(load_splits(config.data).train)
    assert not warnings and values["per_species_energy_shifts"] == pytest.approx(expected)
    assert expected == pytest.approx(ATOM_ENERGIES, abs=2.0)


def test_absent_forces_that_the_loss_asks_for_are_named(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no forces in the training data.*set loss.forces_weight to 0"):
        train(changed(config, loss={"forces_weight": 1.0}), tmp_path)


def test_packed_molecules_and_graphs_built_again_train_bit_for_bit_the_same(
        config: TrainConfig, energies_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = changed(config, max_epochs=2)
    train(short, tmp_path / "file")
    assert pack_source(str(energies_file), tmp_path / "packed", DataConfig(train=str(energies_file)), 32) == 120
    monkeypatch.setattr(graph_store.GraphStore.__init__, "__kwdefaults__", {"keep_bytes": 100_000})
    train(changed(short, data={"train": str(tmp_path / "packed")}), tmp_path / "again")
    assert same(weights(tmp_path / "file"), weights(tmp_path / "again"))


def test_commands_cope_without_forces(config: TrainConfig, energies_file: Path, tmp_path: Path) -> None:
    train(changed(config, max_epochs=1), tmp_path / "run")
    runner, report = CliRunner(), tmp_path / "errors.json"
    for command in (["evaluate", str(tmp_path / "run" / "model"), str(energies_file), "--json", str(report)],
                    ["data", "inspect", str(energies_file)],
                    ["data", "pack", str(energies_file), "-o", str(tmp_path / "packed")]):
        outcome = runner.invoke(app, command)
        assert outcome.exit_code == 0, outcome.output
    errors = json.loads(report.read_text())
    assert errors["n_frames"] == 120 and errors["energy_mae_meV"] > 0.0 and errors["forces_mae_meV_per_A"] is None
    assert errors["per_species"] == {}
