"""Loss, metrics, averages, schedules and the zero of energy against numbers worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from toolkit.config import LossConfig, OptimizerConfig, TrainConfig, parse_config
from toolkit.data.datasets import batches
from toolkit.data.graph import AtomicGraph, collate, graph_from_atoms
from toolkit.models.derivatives import evaluate
from toolkit.models.pair import LennardJones, pair_potential
from toolkit.progress import SilentReporter
from toolkit.training.ema import ExponentialMovingAverage
from toolkit.training.loss import training_loss
from toolkit.training.metrics import ErrorMeter, evaluate_errors, evaluate_potential
from toolkit.training.prepare import prepare
from toolkit.training.schedule import learning_rate


def _batch() -> AtomicGraph:
    """H2 with energy 4 and forces ±1, and CO without forces."""
    pair = Atoms("H2", [[0, 0, 0], [0, 0, 0.7]])
    pair.calc = SinglePointCalculator(pair, energy=4.0, forces=[[0, 0, 1.0], [0, 0, -1.0]])
    other = Atoms("CO", [[0, 0, 0], [0, 0, 1.1]])
    other.calc = SinglePointCalculator(other, energy=-2.0)
    return collate([graph_from_atoms(pair, 3.0), graph_from_atoms(other, 3.0)])


OUTPUT = {"energy": torch.tensor([5.0, -5.0], dtype=torch.float64), "forces": torch.full((4, 3), 0.5, dtype=torch.float64)}


@pytest.mark.parametrize(("kind", "energy", "forces"), [
    ("mse", (0.25 + 2.25) / 2, (4 * 0.25 + 0.25 + 2.25) / 6), ("mae", (0.5 + 1.5) / 2, (4 * 0.5 + 0.5 + 1.5) / 6)])
def test_loss_by_hand(kind, energy, forces):
    loss = training_loss(OUTPUT, _batch(), LossConfig(kind=kind, energy_weight=2.0, forces_weight=3.0))
    assert float(loss) == pytest.approx(2 * energy + 3 * forces)


def test_huber_is_between():
    graph = _batch()
    small = float(training_loss(OUTPUT, graph, LossConfig(kind="huber", huber_delta=1e-4)))
    assert small == pytest.approx(1e-4 * float(training_loss(OUTPUT, graph, LossConfig(kind="mae"))), rel=1e-3)
    large = float(training_loss(OUTPUT, graph, LossConfig(kind="huber", huber_delta=100.0)))
    assert large == pytest.approx(0.5 * float(training_loss(OUTPUT, graph, LossConfig(kind="mse"))))


def test_metrics_by_hand():
    meter = ErrorMeter()
    meter.add(OUTPUT, _batch())
    result = meter.result()
    assert result["energy_mae_meV"] == pytest.approx(2000.0)
    assert result["energy_mae_meV_per_atom"] == pytest.approx(1000.0)
    assert result["energy_rmse_meV_per_atom"] == pytest.approx(1000 * math.sqrt(1.25))
    assert result["forces_mae_meV_per_A"] == pytest.approx(1000 * 4.0 / 6)
    assert result["forces_rmse_meV_per_A"] == pytest.approx(1000 * math.sqrt(3.5 / 6))
    assert result["forces_label_rms_meV_per_A"] == pytest.approx(1000 * math.sqrt(2.0 / 6))
    assert result["per_species"] == {"H": {"forces_mae_meV_per_A": pytest.approx(1000 * 4.0 / 6), "n_atoms": 2}}
    assert result["stress_mae_meV_per_A3"] is None and result["stress_rmse_meV_per_A3"] is None


def test_a_prediction_that_is_no_number_never_passes_for_a_missing_label():
    broken = {**OUTPUT, "forces": torch.full((4, 3), float("nan"), dtype=torch.float64)}
    assert math.isnan(float(training_loss(broken, _batch(), LossConfig())))
    meter = ErrorMeter()
    meter.add(broken, _batch())
    assert math.isnan(meter.result()["forces_mae_meV_per_A"])


def test_moving_average_follows_its_equation_and_swaps_back():
    parameter = torch.nn.Parameter(torch.zeros(1))
    ema = ExponentialMovingAverage([parameter], decay=0.5)
    expected = 0.0
    for step in range(6):
        parameter.data.fill_(step + 1.0)
        ema.set_step(step)
        ema.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step + 1.0)
    with ema.applied():
        assert parameter.item() == pytest.approx(expected)
    assert parameter.item() == 6.0


def test_schedules():
    cosine = OptimizerConfig(learning_rate=1e-2, min_learning_rate=1e-4, warmup_epochs=2)
    rates = [learning_rate(cosine, epoch, 10, 1.0) for epoch in (0.0, 1.0, 2.0, 6.0, 10.0)]
    assert rates[0] < rates[1] < rates[2] == pytest.approx(1e-2)
    assert rates[3] == pytest.approx((1e-2 + 1e-4) / 2)
    assert rates[4] == pytest.approx(1e-4)
    plateau = OptimizerConfig(learning_rate=1e-2, schedule="plateau", min_learning_rate=1e-3)
    assert learning_rate(plateau, 5, 10, 0.5) == pytest.approx(5e-3)
    assert learning_rate(plateau, 5, 10, 1e-4) == pytest.approx(1e-3)
    for schedule in ("cosine", "plateau", "constant"):  # a rate below `min_learning_rate` is one that was asked for
        assert learning_rate(OptimizerConfig(learning_rate=1e-6, schedule=schedule), 9.0, 10, 1.0) <= 1e-6
    assert learning_rate(cosine, 1.9, 10, 1.0, time_share=1.0) < 1e-4 == learning_rate(cosine, 3.0, 10, 1.0, time_share=1.0)


def test_the_validation_loss_does_not_depend_on_the_batches():
    """Molecules of different sizes, one of them without forces, a crystal with stress."""
    potential = pair_potential(LennardJones(("H", "C", "O", "Cu"), 0.1, 1.5, 4.0))
    rng, graphs = np.random.default_rng(0), []
    for k, atoms in enumerate([molecule("CH3CH2OH"), molecule("H2O"), molecule("C6H6"), bulk("Cu", cubic=True)]):
        labels = {"energy": float(k), "forces": rng.normal(size=(len(atoms), 3)), "stress": rng.normal(size=6)}
        kept = {name: value for name, value in labels.items() if (k, name) != (1, "forces")}
        atoms.calc = SinglePointCalculator(atoms, **kept)
        graphs.append(graph_from_atoms(atoms, 4.0))
    loss = LossConfig(energy_weight=2.0, forces_weight=3.0, stress_weight=5.0)
    found = [evaluate_errors(potential.model, batches(graphs, size), loss)["loss"] for size in (1, 2, 4)]
    assert found == pytest.approx([found[0]] * 3, rel=1e-12)
    whole = collate(graphs)
    output = evaluate(potential.model, whole, forces=True, stress=True)
    assert found[0] == pytest.approx(float(training_loss(output, whole, loss)), rel=1e-12)


def test_stress_is_only_that_of_crystals():
    slab = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]], cell=[2.5, 2.5, 0.0], pbc=[True, True, False])
    crystal = bulk("Cu", cubic=True)
    for atoms in (slab, crystal):
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((len(atoms), 3)), stress=np.ones(6))
    errors = evaluate_potential(pair_potential(LennardJones(("Cu",), 0.1, 2.0, 4.0)), [slab, crystal])
    alone = evaluate_potential(pair_potential(LennardJones(("Cu",), 0.1, 2.0, 4.0)), [crystal])
    assert errors["stress_mae_meV_per_A3"] == pytest.approx(alone["stress_mae_meV_per_A3"]) and alone["stress_mae_meV_per_A3"] > 0


def test_the_zero_of_an_element_that_no_frame_has_is_that_of_its_atom(tmp_path: Path):
    config = parse_config(TrainConfig, {
        "data": {"train": _with_isolated(tmp_path / "train.xyz", {}, 12), "split": {"num_train": 8, "num_val": 2},
                 "isolated_atom_energies": {"H": -13.6, "O": -2000.0, "N": -1485.0}},
        "model": {"num_features": 4, "num_layers": 1, "l_max": 0, "species": ["H", "N", "O"]}})
    shifts = prepare(config, SilentReporter()).model_config.per_species_energy_shifts
    assert shifts == {"H": -13.6, "N": -1485.0, "O": -2000.0}


def _with_isolated(path: Path, isolated: dict[str, float], num_waters: int) -> str:
    """A file of isolated atoms, as labelled frames, and waters."""
    rng, frames = np.random.default_rng(len(isolated)), []
    for symbol, energy in isolated.items():
        frames.append(Atoms(symbol, info={"config_type": "IsolatedAtom"}))
        frames[-1].calc = SinglePointCalculator(frames[-1], energy=energy, forces=np.zeros((1, 3)))
    for _ in range(num_waters):
        atoms = molecule("H2O")
        atoms.rattle(0.05, rng=rng)
        atoms.calc = SinglePointCalculator(atoms, energy=-2037.2 + rng.normal(0.0, 0.01), forces=rng.normal(size=(3, 3)))
        frames.append(atoms)
    write(path, frames, format="extxyz")
    return str(path)


@pytest.mark.parametrize(("train", "test", "shifts"), [
    ({"H": -13.6, "O": -2000.0}, {"H": -12.5, "O": -1990.0}, {"H": -13.6, "O": -2000.0}),
    ({}, {"H": -12.5, "O": -1990.0}, {"H": -12.5, "O": -1990.0}),
    ({"H": -13.6}, {}, None), ({}, {"O": -1990.0}, None),
])
def test_isolated_atoms_of_the_training_file_come_first_and_some_are_not_enough(
        tmp_path: Path, train: dict[str, float], test: dict[str, float], shifts: dict[str, float] | None) -> None:
    config = parse_config(TrainConfig, {
        "data": {"train": _with_isolated(tmp_path / "train.xyz", train, 12),
                 "test": _with_isolated(tmp_path / "test.xyz", test, 3), "split": {"num_train": 10, "num_val": 2}},
        "model": {"num_features": 4, "num_layers": 1, "l_max": 0}})
    prepared = prepare(config, SilentReporter())
    notes = [note for note in prepared.summary["warnings"] if "isolated atoms of" in note]
    if shifts is not None:
        assert prepared.model_config.per_species_energy_shifts == shifts and not notes
    else:
        assert len(notes) == 1 and "are missing" in notes[0]
        found = prepared.model_config.per_species_energy_shifts
        assert 2.0 * found["H"] + found["O"] == pytest.approx(-2037.2, abs=0.1)
