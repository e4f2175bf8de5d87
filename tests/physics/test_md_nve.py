"""Velocity Verlet is second order, reversible and the same as ASE's; each checker also rejects a broken integrator."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

from md_systems import argon, argon_potential
from toolkit.config import MDConfig
from toolkit.interfaces.ase_calculator import Calculator
from toolkit.md.forces import ReplicaForces
from toolkit.md.integrators import ForceFunction, velocity_verlet_step
from toolkit.md.simulation import simulate
from toolkit.md.start import initial_state
from toolkit.md.state import MDState
from toolkit.models.pair import HarmonicSprings, pair_potential
from toolkit.units import AMU_A2_PER_FS2_EV


def missing_half_kick(state: MDState, force_function: ForceFunction, timestep_fs: float) -> MDState:
    """Symplectic Euler: one whole kick with the old forces."""
    velocities = state.velocities + timestep_fs * state.forces / state.masses
    positions = state.positions + timestep_fs * velocities
    energies, forces, _ = force_function(positions, state.cell)
    return replace(state, positions=positions, velocities=velocities, forces=forces, potential_energies=energies)


def first_order_drift(state: MDState, force_function: ForceFunction, timestep_fs: float) -> MDState:
    """The positions move with the velocities of the step's beginning, and the kick comes whole at its end."""
    positions = state.positions + timestep_fs * state.velocities
    energies, forces, _ = force_function(positions, state.cell)
    velocities = state.velocities + timestep_fs * forces / state.masses
    return replace(state, positions=positions, velocities=velocities, forces=forces, potential_energies=energies)


@pytest.fixture(scope="module")
def start() -> tuple[MDState, ReplicaForces]:
    """Argon at 60 K and its forces."""
    config = MDConfig(ensemble="nve", temperature_K=60.0, replicas=2, seed=3)
    forces = ReplicaForces(argon_potential(), [argon()] * 2, skin=1.0)
    return initial_state(argon_potential(), [argon()], config, forces), forces


def energy_error(start, step, timestep_fs: float, duration_fs: float = 400.0) -> float:
    """Largest deviation of the total energy from its first value, eV."""
    state, forces = start
    reference = state.potential_energies + state.kinetic_energies
    errors = []
    for _ in range(round(duration_fs / timestep_fs)):
        state = step(state, forces, timestep_fs)
        errors.append(float((state.potential_energies + state.kinetic_energies - reference).abs().max()))
    return max(errors)


def order(start, step) -> float:
    """log₂ of how much the energy error falls when the time step is halved."""
    errors = [energy_error(start, step, h) for h in (8.0, 4.0)]
    assert errors[1] > 1e-9, "the error is too small to measure an order"
    return float(np.log2(errors[0] / errors[1]))


def test_energy_error_is_second_order(start):
    assert order(start, velocity_verlet_step) == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("broken", [missing_half_kick, first_order_drift])
def test_first_order_integrators_are_recognised(start, broken):
    assert order(start, broken) < 1.5


def return_error(start, step, steps: int = 100, timestep_fs: float = 5.0) -> float:
    """Distance from the start after going forth, reversing the velocities and coming back, Å."""
    state, forces = start
    begin = state.positions
    for _ in range(steps):
        state = step(state, forces, timestep_fs)
    assert float((state.positions - begin).abs().max()) > 0.1
    state = replace(state, velocities=-state.velocities)
    for _ in range(steps):
        state = step(state, forces, timestep_fs)
    return float((state.positions - begin).abs().max())


def test_time_reversal(start):
    assert return_error(start, velocity_verlet_step) < 1e-10


@pytest.mark.parametrize("broken", [missing_half_kick, first_order_drift])
def test_irreversible_integrators_are_recognised(start, broken):
    assert return_error(start, broken) > 1e-6


def test_same_path_as_ase(start):
    state, forces = start
    atoms = argon()
    atoms.calc = Calculator(argon_potential())
    atoms.set_velocities(state.velocities[1].numpy() / units.fs)
    dynamics = VelocityVerlet(atoms, 5.0 * units.fs)
    for _ in range(40):
        dynamics.run(1)
        state = velocity_verlet_step(state, forces, 5.0)
        assert np.abs(atoms.positions - state.positions[1].numpy()).max() < 1e-10
        assert np.abs(atoms.get_velocities() * units.fs - state.velocities[1].numpy()).max() < 1e-12
        total = float((state.potential_energies + state.kinetic_energies)[1])
        assert atoms.get_total_energy() == pytest.approx(total, abs=1e-9)
    assert np.abs(atoms.positions - argon().positions).max() > 0.05


def test_diatomic_vibrates_at_its_frequency():
    atoms = Atoms("CO", positions=[[0.0, 0.0, 0.0], [0.0, 0.0, 1.13]])
    pot = pair_potential(HarmonicSprings(("C", "O"), 100.0, 1.13, 4.0))
    forces = ReplicaForces(pot, [atoms], 0.5)
    state = initial_state(pot, [atoms], MDConfig(ensemble="nve", temperature_K=0.0), forces)
    stretched = state.positions.clone()
    stretched[0, 1, 2] += 0.02
    energies, pull, _ = forces(stretched, state.cell)
    state = replace(state, positions=stretched, forces=pull, potential_energies=energies)
    h, lengths = 0.1, []
    for _ in range(1000):
        lengths.append(float(state.positions[0, 1, 2] - state.positions[0, 0, 2]) - 1.13)
        state = velocity_verlet_step(state, forces, h)
    mass = np.prod(atoms.get_masses()) / atoms.get_masses().sum() * AMU_A2_PER_FS2_EV
    omega = 2.0 / h * np.arcsin(0.5 * h * np.sqrt(100.0 / mass))  # the frequency velocity Verlet has exactly
    assert np.abs(np.asarray(lengths) - 0.02 * np.cos(omega * h * np.arange(1000))).max() < 1e-9


def test_energy_is_conserved_below_a_microelectronvolt_per_atom_and_momentum_exactly():
    atoms = argon()
    config = MDConfig(ensemble="nve", temperature_K=60.0, timestep_fs=1.0, steps=1000, seed=1)
    run = simulate(argon_potential(), atoms, config)
    total = (run.potential_energy_eV + run.kinetic_energy_eV)[:, 0]
    assert np.ptp(run.potential_energy_eV) > 1e-2
    assert np.ptp(total) / len(atoms) < 1e-6
    momentum = np.einsum("n,tna->ta", atoms.get_masses(), run.velocities()[:, 0])
    assert np.abs(momentum).max() < 1e-5 * np.abs(run.velocities()).max() * atoms.get_masses().sum()


def test_steps_do_not_touch_their_input(start):
    state, forces = start
    before = (state.positions.clone(), state.velocities.clone(), state.forces.clone())
    partial(velocity_verlet_step, force_function=forces, timestep_fs=5.0)(state)
    after = (state.positions, state.velocities, state.forces)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
