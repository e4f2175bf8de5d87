"""MD that stops and harvests on uncertain forces, and leaves the path as it was, bit for bit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import read
from torch import Tensor

from md_systems import ExternalField, harmonic_field
from test_trajectory_files import StopAt
from toolkit.config import MDConfig, parse_config
from toolkit.data.formats import read_frames
from toolkit.data.graph import AtomicGraph
from toolkit.errors import ConfigError, DataError, ModelError, StorageError
from toolkit.md.harvest import Harvest, harvest_path
from toolkit.md.simulation import simulate
from toolkit.jobs.requests import MDRequest
from toolkit.jobs.tasks import run_md
from toolkit.md.summary import summarize
from toolkit.models.potential import Potential, load_potential
from toolkit.training.uncertainty import fit_uncertainty

ATOMS = Atoms("ArAr", positions=[[0.0, 0.0, 0.0], [5.0, 0.0, 0.0]])
CONFIG = MDConfig(temperature_K=300.0, timestep_fs=1.0, friction_per_fs=0.02, steps=400, save_every=10, replicas=3,
                  seed=3, max_bond_change_A=None, uncertainty_every=5)
STOP, HARVEST = 0.7, 0.4


class Doubtful(ExternalField):
    """Springs to the origin of each atom; less certain the farther an atom is from it, 1 eV/Å at 1 Å."""

    uncertainty = True

    def __init__(self) -> None:
        super().__init__(lambda x: harmonic_field(0.3)(x - torch.as_tensor(ATOMS.positions).repeat(len(x) // 2, 1)))

    def evaluate_uncertainty(self, graph: AtomicGraph) -> dict[str, Tensor]:
        home = torch.as_tensor(ATOMS.positions).repeat(graph.num_structures, 1)
        return {"forces_std": torch.linalg.vector_norm(graph.positions - home, dim=1)}


def changed(**fields) -> MDConfig:
    return CONFIG.model_copy(update=fields)


def distances(frame: Atoms) -> np.ndarray:
    return np.linalg.norm(frame.positions - ATOMS.positions, axis=1)


def test_watching_changes_no_bit_of_the_path(tmp_path):
    plain = simulate(Doubtful(), ATOMS, CONFIG)
    watched = simulate(Doubtful(), ATOMS, changed(harvest_above_eV_per_A=HARVEST), tmp_path / "a.h5")
    assert np.array_equal(watched.positions(), plain.positions())
    assert np.array_equal(watched.velocities(), plain.velocities())
    assert summarize(watched)["harvest"] == str(tmp_path / "a.harvest.xyz") and summarize(plain)["harvest"] is None


def test_harvested_frames_are_uncertain_apart_in_time_and_carry_no_labels(tmp_path):
    config = changed(harvest_above_eV_per_A=HARVEST, harvest_gap_fs=40.0, save_every=5)
    cation = ATOMS.copy()
    cation.info["charge"] = 1
    run = simulate(Doubtful(), cation, config, tmp_path / "a.h5")
    frames = read(tmp_path / "a.harvest.xyz", ":")
    assert len(frames) > 6 and not any(frame.calc for frame in frames)
    for frame in frames:
        assert frame.info["charge"] == 1
        assert frame.arrays["forces_std"] == pytest.approx(distances(frame), abs=1e-6)
        assert frame.arrays["forces_std"].max() > HARVEST
        there = run.positions(frame.info["step"] // 5, frame.info["step"] // 5 + 1)[0, frame.info["replica"]]
        assert np.abs(there - frame.positions).max() < 1e-5
    for replica in range(3):
        times = [frame.info["time_fs"] for frame in frames if frame.info["replica"] == replica]
        assert len(times) < 2 or np.diff(times).min() >= 40.0
    every = simulate(Doubtful(), ATOMS, changed(harvest_above_eV_per_A=HARVEST, harvest_gap_fs=0.0), tmp_path / "b.h5")
    assert len(read(harvest_path(every.path), ":")) > 2 * len(frames)


def test_the_harvest_of_several_systems_is_named(tmp_path, monkeypatch):
    config = changed(harvest_above_eV_per_A=HARVEST)
    monkeypatch.setattr("toolkit.jobs.tasks.load_potential", lambda *names, **options: Doubtful())
    monkeypatch.setattr("toolkit.jobs.tasks.starting_structure", lambda structure, frame: ATOMS)
    found = run_md(MDRequest(model="m", structure="s", frames=(0, 1), md=config), tmp_path / "a.h5")
    assert found["harvest"] == str(tmp_path / "a.harvest.xyz") and len(found["systems"]) == 2


def test_an_uncertain_replica_stops_alone(tmp_path):
    plain = simulate(Doubtful(), ATOMS, changed(save_every=1))
    farthest = np.linalg.norm(plain.positions() - ATOMS.positions, axis=3).max(axis=2)[::5]  # (looks, R)
    expected = [int(np.argmax(row > STOP)) * 5.0 if (row > STOP).any() else None for row in farthest.T]
    assert len(set(expected)) > 1  # replicas differ in when they leave, or whether they do
    run = simulate(Doubtful(), ATOMS, changed(uncertainty_stop_eV_per_A=STOP, save_every=1))
    assert {b.replica: b.time_fs for b in run.breaks} == {r: t for r, t in enumerate(expected) if t is not None}
    assert all("uncertain by 0." in b.reason and "above 0.7 eV/Å" in b.reason for b in run.breaks)
    assert np.array_equal(run.positions()[run.alive], plain.positions()[:run.num_frames][run.alive])


def test_an_interrupted_run_harvests_the_same(tmp_path):
    config = changed(harvest_above_eV_per_A=HARVEST, harvest_gap_fs=30.0)
    simulate(Doubtful(), ATOMS, config, tmp_path / "whole.h5").close()
    simulate(Doubtful(), ATOMS, config, tmp_path / "parts.h5", reporter=StopAt(150)).close()
    harvested = harvest_path(tmp_path / "parts.h5")
    text = harvested.read_text()
    later = text.splitlines(keepends=True)[:4]
    later[1] = later[1].replace(later[1].split("step=")[1].split()[0], "9999", 1)
    harvested.write_text(text + "".join(later) + "2\nstep=10")  # what a kill before the commit leaves
    simulate(Doubtful(), ATOMS, config, tmp_path / "parts.h5", resume=True).close()
    assert harvested.read_text() == harvest_path(tmp_path / "whole.h5").read_text() != text


def test_a_new_run_does_not_keep_the_harvest_of_another(tmp_path):
    harvest_path(tmp_path / "a.h5").write_text("1\nstep=0 system=0 replica=0 time_fs=0.0\nAr 0 0 0\n")
    Harvest(harvest_path(tmp_path / "a.h5"), CONFIG).rewind(0)
    assert not harvest_path(tmp_path / "a.h5").exists()
    assert (tmp_path / "a.harvest.1.xyz").read_text().startswith("1\nstep=0")


@pytest.mark.parametrize("name", ["md.h5", "md.300K", "md"])
def test_each_trajectory_has_a_harvest_of_its_own(name):
    others = {"md.h5": "md.500K", "md.300K": "md.500K", "md": "md.300K"}
    assert harvest_path(Path(name)) != harvest_path(Path(others[name]))


def test_a_harvest_that_could_not_be_written_is_written_once_at_the_next_try(tmp_path, monkeypatch):
    harvest = Harvest(tmp_path / "a.harvest.xyz", changed(harvest_above_eV_per_A=HARVEST, harvest_gap_fs=0.0))
    harvest.offer(ATOMS.copy(), 0, 20, np.ones(2))
    harvest.commit()
    harvest.offer(ATOMS.copy(), 1, 40, np.ones(2))
    with monkeypatch.context() as patched, pytest.raises(StorageError, match="cannot write"):
        patched.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        harvest.commit()
    assert len(read(harvest.path, ":")) == 1
    harvest.commit()
    assert [frame.info["step"] for frame in read(harvest.path, ":")] == [20, 40]
    harvest.path.write_text("no number\n" + harvest.path.read_text())
    with pytest.raises(DataError, match="expected their number of atoms"):
        Harvest(harvest.path, CONFIG).rewind(40)


def test_what_cannot_be_watched_is_refused_before_anything_is_written(tmp_path):
    stop = changed(uncertainty_stop_eV_per_A=1.0)
    with pytest.raises(ConfigError, match="ExternalField, which knows no uncertainty"):
        simulate(ExternalField(harmonic_field(1.0)), ATOMS, stop, tmp_path / "a.h5")
    with pytest.raises(ConfigError, match="without a trajectory file"):
        simulate(Doubtful(), ATOMS, changed(harvest_above_eV_per_A=1.0))
    with pytest.raises(ModelError, match="not loaded from a folder"):
        pot = load_potential("aspirin_xtb", device="cpu")
        pot.folder = None
        simulate(pot, read_frames("embedded:aspirin").frames[0], stop, tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="nothing is kept"):
        parse_config(MDConfig, {"uncertainty_stop_eV_per_A": 0.1, "harvest_above_eV_per_A": 0.2})


@pytest.fixture(scope="module")
def aspirin() -> tuple[Potential, list[Atoms]]:
    pot, frames = load_potential("aspirin_xtb", device="cpu"), read_frames("embedded:aspirin").frames
    pot.uncertainty = fit_uncertainty(pot, frames[:12], frames[12:18], num_directions=4)
    return pot, frames


def test_a_learned_potential_stops_where_it_extrapolates_and_not_where_it_was_trained(aspirin):
    pot, frames = aspirin
    usual = max(found["forces_std"].max() for found in pot.predict(frames[18:30], uncertainty=True))
    config = MDConfig(temperature_K=300.0, steps=20, replicas=2, max_bond_change_A=None, uncertainty_every=5,
                      uncertainty_stop_eV_per_A=3.0 * float(usual))
    assert simulate(pot, frames[20], config).breaks == []
    strange = frames[20].copy()
    strange.rattle(0.3, seed=1)
    run = simulate(pot, strange, config)
    assert [broken.time_fs for broken in run.breaks] == [2.5, 2.5]
