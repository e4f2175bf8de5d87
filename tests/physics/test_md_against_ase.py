"""The thermostats of ASE and ours do the same to the same atoms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.md.bussi import Bussi
from ase.md.nose_hoover_chain import NoseHooverChainNVT

from md_systems import argon, argon_potential
from toolkit.config import MDConfig
from toolkit.interfaces.ase_calculator import Calculator
from toolkit.md.forces import ReplicaForces
from toolkit.md.ensembles import make_step
from toolkit.md.start import initial_state
from toolkit.md.state import MDState
from toolkit.md.thermostats import stochastic_rescaling

TEMPERATURE_K = 60.0


def argon_at(config: MDConfig) -> tuple[MDState, ReplicaForces, Atoms]:
    """Our state and ASE's atoms with the same velocities."""
    forces = ReplicaForces(argon_potential(), [argon()] * config.replicas, 0.5)
    state = initial_state(argon_potential(), [argon()], config, forces)
    atoms = argon()
    atoms.calc = Calculator(argon_potential())
    atoms.set_velocities(state.velocities[0].numpy() / units.fs)
    return state, forces, atoms


class GivenNoise:
    """A random source that says what it is told to."""

    def __init__(self, first: float, squares: float) -> None:
        self._first, self._squares = first, squares

    def standard_normal(self) -> float:
        return self._first

    def standard_gamma(self, shape: float) -> float:
        return 0.5 * self._squares


def test_rescaling_with_the_same_noise():
    config = MDConfig(ensemble="csvr", temperature_K=TEMPERATURE_K, initial_temperature_K=90.0, replicas=20, seed=2)
    state, _, atoms = argon_at(config)
    state = replace(state, degrees_of_freedom=torch.full_like(state.degrees_of_freedom, 96.0))  # ASE counts 3N
    before = state.generator.get_state()
    noise = state.gaussian(32, 3).flatten(start_dim=1).numpy()
    state.generator.set_state(before)
    factors = (stochastic_rescaling(state, 5.0, 40.0).velocities / state.velocities)[:, 0, 0].numpy()
    for row in range(20):
        atoms.set_velocities(state.velocities[row].numpy() / units.fs)
        given = GivenNoise(noise[row, 0], float((noise[row, 1:] ** 2).sum()))
        ase = Bussi(atoms, 5.0 * units.fs, TEMPERATURE_K, 40.0 * units.fs, rng=given)
        assert ase.calculate_alpha(atoms.get_kinetic_energy()) == pytest.approx(factors[row], rel=1e-10)
    assert np.ptp(factors) > 0.01


def chain_difference(timestep_fs: float) -> float:
    """Largest distance between our path and ASE's after 200 fs, Å."""
    config = MDConfig(ensemble="nose-hoover", temperature_K=TEMPERATURE_K, initial_temperature_K=90.0, seed=2,
                      timestep_fs=timestep_fs, thermostat_fs=50.0)
    state, forces, atoms = argon_at(config)
    state = replace(state, degrees_of_freedom=torch.full_like(state.degrees_of_freedom, 96.0))
    ase = NoseHooverChainNVT(atoms, timestep_fs * units.fs, TEMPERATURE_K, 50.0 * units.fs)
    step = make_step(config, forces)
    for _ in range(round(200.0 / timestep_fs)):
        state = step(state)
    ase.run(round(200.0 / timestep_fs))
    assert np.abs(atoms.positions - argon().positions).max() > 0.1
    assert abs(float(state.chain_velocities[0, 0])) > 1e-3
    return float(np.abs(atoms.positions - state.positions[0].numpy()).max())


def test_nose_hoover_chains_take_the_same_path_to_second_order():
    """ASE puts the chain at both ends of a step, we put it in the middle: the paths meet as the step gets smaller."""
    coarse, fine = chain_difference(1.25), chain_difference(0.625)
    assert fine < 2e-6
    assert np.log2(coarse / fine) == pytest.approx(2.0, abs=0.25)
