"""Training that goes on from another model: its weights, its network, energies shifted to the new data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from tests.unit.training.runs import Recorder, changed, same, weights
from toolkit.config import ModelConfig
from toolkit.errors import ConfigError, ModelError
from toolkit.models.potential import load_potential
from toolkit.progress import SilentReporter
from toolkit.training.start import _of_every_element
from toolkit.training.trainer import begin_or_resume, train

SHIFT_EV_PER_ATOM = -75.0


@pytest.fixture
def source(copper_config, tmp_path):
    """A trained model, and a configuration that goes on from it with the same frames at another zero of energy."""
    train(changed(copper_config, max_epochs=8), tmp_path / "source")
    frames = [relabelled(atoms, SHIFT_EV_PER_ATOM) for atoms in read(copper_config.data.train, ":")]
    write(tmp_path / "shifted.extxyz", frames)
    data = copper_config.data.model_copy(update={"train": str(tmp_path / "shifted.extxyz")})
    return changed(copper_config, data=data, model=ModelConfig(), start_from=str(tmp_path / "source"), max_epochs=1)


def relabelled(atoms, shift_eV_per_atom):
    """The same frame with its energy moved."""
    other, results = atoms.copy(), dict(atoms.calc.results)
    results["energy"] += shift_eV_per_atom * len(atoms)
    other.calc = SinglePointCalculator(other, **results)
    return other


def test_it_begins_with_the_source_and_at_the_energies_of_the_new_data(source, copper_config, tmp_path):
    trainer = begin_or_resume(source, tmp_path / "run", False, SilentReporter())
    before = load_potential(tmp_path / "source", device="cpu")
    assert trainer.data.model_config.num_layers == before.config.num_layers == copper_config.model.num_layers
    begun, origin = trainer.model.state_dict(), before.model.state_dict()
    different = [key for key in origin if not np.array_equal(begun[key].numpy(), origin[key].numpy())]
    assert different == ["table.shifts"]
    frames = read(source.data.train, ":")
    moved = trainer.model.table.shifts.item() - before.model.table.shifts.item()
    assert moved == pytest.approx(SHIFT_EV_PER_ATOM, abs=0.05)
    energy = before.predict(frames[0])["energy"] + moved * len(frames[0])
    assert energy == pytest.approx(frames[0].get_potential_energy(), abs=0.05 * len(frames[0]))


def test_it_begins_where_trained_shifts_are(copper_config, tmp_path):
    """The configuration of the source tells where its shifts began, the weights where they ended."""
    trainable = {"species": ("Cu",), "per_species_energy_shifts": {"Cu": 0.0}, "per_species_energy_shifts_trainable": True}
    train(changed(copper_config, max_epochs=4, model=trainable), tmp_path / "source")
    before = load_potential(tmp_path / "source", device="cpu")
    assert abs(before.model.table.shifts.item() - before.config.per_species_energy_shifts["Cu"]) > 1e-3
    source = changed(copper_config, model=ModelConfig(), start_from=str(tmp_path / "source"), max_epochs=1)
    trainer = begin_or_resume(source, tmp_path / "run", False, SilentReporter())
    frames = read(copper_config.data.train, ":")
    energies = np.array([atoms.get_potential_energy() for atoms in frames])
    moved = (trainer.model.table.shifts.item() - before.model.table.shifts.item()) * len(frames[0])
    errors = np.array([found["energy"] for found in before.predict(frames)]) + moved - energies
    assert abs(errors.mean()) < 0.05 * len(frames[0])


def test_one_epoch_of_it_is_better_than_one_from_random_weights(source, copper_config, tmp_path):
    going_on, fresh = Recorder(), Recorder()
    train(source, tmp_path / "on", reporter=going_on)
    train(changed(copper_config, max_epochs=1), tmp_path / "fresh", reporter=fresh)
    assert going_on.epochs[0]["val_forces_mae_meV_per_A"] < 0.7 * fresh.epochs[0]["val_forces_mae_meV_per_A"]
    metrics = json.loads((tmp_path / "on" / "model" / "metrics.json").read_text())
    assert metrics["data"]["start_from"]["model"] == "source"
    assert "**Started from**: the weights of source" in (tmp_path / "on" / "model" / "CARD.md").read_text()


def test_it_resumes_exactly(source, tmp_path):
    config = changed(source, max_epochs=2)
    train(config, tmp_path / "whole")
    assert train(config, tmp_path / "parts", reporter=Recorder(5))["stopped"]
    train(config, tmp_path / "parts", resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def begun_with(config, folder, **data):
    """The data of a training that has just begun."""
    return begin_or_resume(changed(config, data=config.data.model_copy(update=data)), folder, False, SilentReporter()).data


def test_energies_of_isolated_atoms_never_move_what_the_network_has_learned(source, tmp_path):
    fitted = begun_with(source, tmp_path / "a").model_config.per_species_energy_shifts["Cu"]
    near, far = {"Cu": fitted + 0.05}, {"Cu": fitted + 3.5}
    assert begun_with(source, tmp_path / "b", isolated_atom_energies=near).model_config.per_species_energy_shifts == near
    begun = begun_with(source, tmp_path / "c", isolated_atom_energies=far)
    assert begun.model_config.per_species_energy_shifts["Cu"] == pytest.approx(fitted)
    assert any("another zero of energy" in warning and "3.50 eV/atom" in warning for warning in begun.summary["warnings"])


def test_the_zero_of_a_rare_element_is_found(tmp_path, copper_config):
    """Two frames of 400 hold silver; evenly spaced samples of 300 miss them."""
    frames = [relabelled(atoms, 0.0) for atoms in read(copper_config.data.train, ":")] * 40
    frames = frames[:400]
    for k in (1, 201):
        frames[k] = frames[k].copy()
        frames[k].symbols[0] = "Ag"
        frames[k].calc = SinglePointCalculator(frames[k], energy=-2000.0, forces=np.zeros((len(frames[k]), 3)))
    assert {1, 201} <= {frames.index(atoms) for atoms in _of_every_element(frames)}


def test_two_networks_and_foreign_elements_are_refused(source, tmp_path):
    with pytest.raises(ConfigError, match="leave model out"):
        changed(source, model=ModelConfig(num_layers=2))
    with pytest.raises(ModelError, match="no model"):
        train(changed(source, start_from="nobody"), tmp_path / "a")
    frames = read(source.data.train, ":")
    for atoms in frames:
        atoms.symbols[0] = "Ag"
    write(tmp_path / "alloy.extxyz", frames)
    with pytest.raises(ConfigError, match="Ag"):
        train(changed(source, data=source.data.model_copy(update={"train": str(tmp_path / "alloy.extxyz")})), tmp_path / "b")


def test_frames_that_were_learned_before_are_said(source, copper_config, tmp_path):
    """Of the model that a training goes on from: with another split its training frames would judge."""
    again = changed(copper_config, model=ModelConfig(), start_from=str(tmp_path / "source"), max_epochs=1,
                    data={"split": copper_config.data.split.model_dump() | {"seed": 5}})
    recorder = Recorder()
    train(again, tmp_path / "other", reporter=recorder)
    assert any("which this training goes on from" in note for note in recorder.notes)
    assert "known to the model" in (tmp_path / "other" / "model" / "CARD.md").read_text()
    recorder = Recorder()
    train(changed(again, data=copper_config.data.model_dump()), tmp_path / "same", reporter=recorder)
    assert not any("goes on from" in note for note in recorder.notes)
    assert "never used to choose anything" in (tmp_path / "same" / "model" / "CARD.md").read_text()


def test_test_frames_that_are_training_frames_are_said(copper_config, tmp_path):
    recorder = Recorder()
    split = copper_config.data.split.model_copy(update={"num_test": 36}).model_dump()
    leaking = changed(copper_config, data={"test": copper_config.data.train, "split": split}, max_epochs=1)
    train(leaking, tmp_path / "run", reporter=recorder)
    said = " ".join(recorder.notes)
    assert "test frames are training frames" in said and "test frames are validation frames" in said
    assert "known to the model" in (tmp_path / "run" / "model" / "CARD.md").read_text()
