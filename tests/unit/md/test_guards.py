"""Every guard, triggered by a potential that is broken on purpose, retires that replica and no other."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from torch import Tensor

from md_systems import ExternalField, argon_potential, free_field
from toolkit.config import MDConfig
from toolkit.data.graph import AtomicGraph
from toolkit.errors import DataError
from toolkit.md.guards import find_bonds
from toolkit.md.simulation import simulate
from toolkit.md.summary import summarize
from toolkit.md.trajectory import Trajectory
from toolkit.md.trajectory_writer import reopen

CONFIG = MDConfig(temperature_K=200.0, timestep_fs=1.0, steps=30, save_every=5, replicas=4, seed=2)
COLD = CONFIG.model_copy(update={"initial_temperature_K": 1.0, "friction_per_fs": 1e-5})  # bonds stay without springs
METHANE = molecule("CH4")
Spoil = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class BreaksAt(ExternalField):
    """Free flight, but from the given call on the energy and forces (N, 3) of one replica of four are spoilt."""

    def __init__(self, call: int, spoil: Spoil, replica: int = 2, replicas: int = 4) -> None:
        super().__init__(free_field)
        self._countdown, self._spoil, self._replica, self._replicas = call, spoil, replica, replicas

    def evaluate(self, graph: AtomicGraph, *, stress: bool = False) -> dict[str, Tensor]:
        output = super().evaluate(graph)
        self._countdown -= 1
        if self._countdown < 0 and graph.num_structures == self._replicas:
            forces = output["forces"].view(graph.num_structures, -1, 3)
            energy, force = self._spoil(output["energy"][self._replica], forces[self._replica])
            output["energy"][self._replica], forces[self._replica] = energy, force
        return output


def nan_energy(energy: Tensor, forces: Tensor) -> tuple[Tensor, Tensor]:
    return energy * torch.nan, forces


def infinite_force(energy: Tensor, forces: Tensor) -> tuple[Tensor, Tensor]:
    forces[0, 0] = torch.inf
    return energy, forces


def hot(energy: Tensor, forces: Tensor) -> tuple[Tensor, Tensor]:
    return energy, forces + 1e5


def tearing(energy: Tensor, forces: Tensor) -> tuple[Tensor, Tensor]:
    forces[1] += torch.tensor([3.0, 3.0, 3.0], dtype=torch.float64)
    return energy, forces


@pytest.mark.parametrize(("spoil", "reason"), [
    (nan_energy, "not finite"), (infinite_force, "not finite"), (hot, "temperature .* K above 14000 K"),
    (tearing, r"bond C0-H1 at 1\.\d+ Å, at the start 1.09 Å")])
def test_a_broken_replica_is_retired_and_the_others_go_on(spoil, reason):
    run = simulate(BreaksAt(8, spoil), METHANE, COLD)
    assert run.steps_done == 30 and not run.stopped
    alive = run.alive
    assert alive[:, [0, 1, 3]].all() and alive[1, 2] and not alive[-1, 2]
    assert np.isnan(run.positions()[~alive]).all() and np.isfinite(run.positions()[alive]).all()
    assert np.isnan(run.potential_energy_eV[~alive]).all() and np.isnan(run.temperature_K[~alive]).all()
    broken, = run.breaks
    assert broken.replica == 2 and 8.0 <= broken.time_fs < 30.0
    assert re.search(reason, broken.reason), broken.reason
    assert np.isfinite(broken.positions).all() and broken.positions.shape == (5, 3)
    untouched = simulate(ExternalField(free_field), METHANE, COLD)
    assert np.array_equal(run.positions()[:, [0, 1, 3]], untouched.positions()[:, [0, 1, 3]])
    result = summarize(run)
    assert result["stable_fraction"] == 0.75 and result["temperature_mean_K"] is not None
    with pytest.raises(DataError, match="retired"):
        run.to_atoms(-1, replica=2)
    assert run.to_atoms(1, replica=2).positions.shape == (5, 3)


def test_the_run_ends_when_no_replica_is_left(tmp_path):
    config = CONFIG.model_copy(update={"replicas": 1, "steps": 1000})
    run = simulate(BreaksAt(8, nan_energy, replica=0, replicas=1), METHANE, config, tmp_path / "a.h5")
    assert run.steps_done == 8 and not run.stopped and run.num_frames == 2
    assert summarize(run)["stable_fraction"] == 0.0
    run.close()
    again = simulate(ExternalField(free_field), METHANE, config, tmp_path / "a.h5", resume=True)
    assert again.steps_done == 8 and len(again.breaks) == 1


def test_a_break_after_the_last_commit_is_forgotten_on_resume(tmp_path):
    run = simulate(BreaksAt(12, nan_energy), METHANE, COLD, tmp_path / "a.h5")
    assert [b.time_fs for b in run.breaks] == [12.0]
    run.close()
    writer = reopen(tmp_path / "a.h5", COLD)
    writer.rewind(10)
    writer.close()
    assert Trajectory(tmp_path / "a.h5").breaks == []


@pytest.mark.parametrize("spoil", [nan_energy, infinite_force])
def test_a_structure_without_finite_energy_is_refused(spoil):
    with pytest.raises(DataError, match="not finite at the starting structure"):
        simulate(BreaksAt(0, spoil), METHANE, CONFIG)


def test_structures_without_meaning_are_refused():
    fixed = METHANE.copy()
    fixed.set_constraint(FixAtoms([0]))
    adrift = METHANE.copy()
    adrift.positions[0, 0] = np.nan
    for atoms, words in ((Atoms(), "without atoms"), (fixed, "constraints"), (adrift, "not finite")):
        with pytest.raises(DataError, match=words):
            simulate(ExternalField(free_field), atoms, CONFIG)
    with pytest.raises(DataError, match="knows only"):
        simulate(argon_potential(), METHANE, CONFIG)


def test_bonds_of_molecules_and_none_of_crystals():
    assert find_bonds(molecule("CH3CH2OH")).shape == (2, 8)
    assert find_bonds(METHANE).tolist() == [[0, 0, 0, 0], [1, 2, 3, 4]]
    assert find_bonds(bulk("Cu")).shape == (2, 0)
    assert find_bonds(Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 3.8]])).shape == (2, 0)
