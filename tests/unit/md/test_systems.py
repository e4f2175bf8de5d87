"""Different systems in one run: each has its own trajectory, its own degrees of freedom and its own fate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from md_systems import ExternalField, argon, argon_potential, free_field
from test_trajectory_files import StopAt, assert_same
from toolkit.config import MDConfig
from toolkit.data.graph import AtomicGraph
from toolkit.errors import DataError, StorageError
from toolkit.md.simulation import simulate
from toolkit.md.summary import summarize

TRIMER = Atoms("Ar3", positions=[[0, 0, 0], [0, 0, 3.8], [0, 3.7, 0]])
SYSTEMS = [argon(1), TRIMER, argon(2)]
CONFIG = MDConfig(ensemble="nve", temperature_K=20.0, timestep_fs=4.0, steps=60, save_every=4, replicas=2, seed=7)


def test_each_system_moves_as_it_does_alone():
    together = simulate(argon_potential(), SYSTEMS, CONFIG)
    assert [run.num_atoms for run in together] == [4, 3, 32]
    assert [run.degrees_of_freedom for run in together] == [9, 3, 93]
    alone = simulate(argon_potential(), SYSTEMS[0], CONFIG)  # the first system draws its velocities first
    assert np.abs(together[0].positions() - alone.positions()).max() < 1e-6
    for run, atoms in zip(together, SYSTEMS, strict=True):
        assert np.array_equal(run.atomic_numbers, atoms.numbers) and np.ptp(run.positions(), axis=0).max() > 0.05
        total = run.potential_energy_eV + run.kinetic_energy_eV
        assert np.ptp(total, axis=0).max() < 0.02 * np.ptp(run.kinetic_energy_eV)
        first = run.to_atoms(0)
        assert first.get_potential_energy() == pytest.approx(argon_potential().predict(atoms)["energy"], abs=1e-9)


@pytest.mark.parametrize("ensemble", ["langevin", "csvr", "nose-hoover"])
def test_every_system_has_the_temperature(ensemble):
    config = MDConfig(ensemble=ensemble, temperature_K=30.0, timestep_fs=4.0, steps=500, replicas=8, seed=2,
                      thermostat_fs=60.0, friction_per_fs=0.02, rescale_initial_temperature=True)
    for run in simulate(argon_potential(), SYSTEMS[:2], config):
        assert run.temperature_K[0] == pytest.approx(np.full(8, 30.0), rel=1e-9)
        assert run.temperature_K[20:].mean() == pytest.approx(30.0, rel=0.25)


def test_stop_resume_and_files(tmp_path):
    config = CONFIG.model_copy(update={"ensemble": "csvr"})
    whole = simulate(argon_potential(), SYSTEMS, config)
    for run in simulate(argon_potential(), SYSTEMS, config, tmp_path / "run.h5", reporter=StopAt(23)):
        assert run.stopped and run.steps_done == 23
        run.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.0.h5", "run.1.h5", "run.2.h5", "run.h5.restart"]
    resumed = simulate(argon_potential(), SYSTEMS, config, tmp_path / "run.h5", resume=True)
    for run, expected in zip(resumed, whole, strict=True):
        assert_same(run, expected)
        run.close()
    with pytest.raises(StorageError, match="exists already"):
        simulate(argon_potential(), SYSTEMS, config, tmp_path / "run.h5")
    with pytest.raises(DataError, match="does not belong"):
        simulate(argon_potential(), SYSTEMS[::-1], config, tmp_path / "run.h5", resume=True)


class HeatsOne(ExternalField):
    """Free flight, but the atoms of one structure of the batch are thrown apart once they have moved."""

    def evaluate(self, graph: AtomicGraph, *, stress: bool = False) -> dict[str, torch.Tensor]:
        output = super().evaluate(graph)
        methane = graph.atomic_numbers == 6
        kicked = methane & (graph.positions[:, 0].abs() > 0.01)
        return {**output, "forces": 1.0 * kicked[:, None] * torch.ones_like(graph.positions)}


def test_a_replica_of_one_system_breaks_and_nobody_else():
    config = MDConfig(temperature_K=1.0, timestep_fs=1.0, steps=300, replicas=2, seed=3, friction_per_fs=1e-4)
    systems = [molecule("H2O"), molecule("CH4"), molecule("NH3")]
    water, methane, ammonia = simulate(HeatsOne(free_field), systems, config)
    assert not water.breaks and not ammonia.breaks and {b.replica for b in methane.breaks} == {0, 1}
    assert all(b.positions.shape == (5, 3) and "C0-H" in b.reason for b in methane.breaks)
    untouched = simulate(ExternalField(free_field), systems, config)
    assert np.array_equal(ammonia.positions(), untouched[2].positions())
    assert summarize(methane)["stable_fraction"] == 0.0 and summarize(water)["stable_fraction"] == 1.0


def test_no_structures_is_an_error():
    with pytest.raises(DataError, match="empty list"):
        simulate(argon_potential(), [], CONFIG)
