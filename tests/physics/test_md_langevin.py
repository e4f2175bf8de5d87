"""BAOAB against exact statistics, in standard errors with fixed seeds; the same checks reject broken thermostats."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

from md_systems import (
    ExternalField,
    argon,
    argon_potential,
    ensemble_at_origin,
    force_function,
    free_field,
    harmonic_field,
    sigmas_from,
    thermal_energy,
)
from toolkit.config import MDConfig
from toolkit.md.forces import ReplicaForces
from toolkit.md.integrators import ForceFunction, baoab_step, velocity_verlet_step
from toolkit.md.simulation import initial_state, simulate
from toolkit.md.state import MDState, degrees_of_freedom, inertial_masses, initial_velocities
from toolkit.md.summary import summarize
from toolkit.units import KB_EV_PER_K

TEMPERATURE_K = 300.0
STIFFNESS = 1.0  # eV/Å²
CARBON = Atoms("C", positions=[[0.0, 0.0, 0.0]])
OMEGA = math.sqrt(STIFFNESS / float(inertial_masses(CARBON, torch.device("cpu"))[0, 0]))
Thermostat = Callable[[MDState, ForceFunction, float, float, float], MDState]


def broken_step(kick_end: float = 1.0, decay_sign: float = -1.0, noise_power: int = 2,
                order: str = "BAOAB") -> Thermostat:
    """BAOAB with one mistake: a wrong last kick, sign of the friction, noise amplitude, or order of the parts."""
    def step(state: MDState, forces: ForceFunction, h: float, temperature_K: float, friction: float) -> MDState:
        x, v, force, energy = state.positions, state.velocities, state.forces, state.potential_energies
        c = math.exp(decay_sign * friction * h)
        amplitude = math.sqrt(abs(1.0 - c**noise_power))
        for position, letter in enumerate(order):
            if letter == "B":
                energy, force = forces(x)
                v = v + (kick_end if position == len(order) - 1 else 1.0) * 0.5 * h * force / state.masses
            elif letter == "A":
                x = x + 0.5 * h * v
            else:
                v = c * v + amplitude * torch.sqrt(KB_EV_PER_K * temperature_K / state.masses) * state.gaussian()
        return replace(state, positions=x, velocities=v, forces=force, potential_energies=energy)
    return step


def relaxed(step: Thermostat, timestep_fs: float, friction: float = 0.05, replicas: int = 20_000) -> MDState:
    """Carbon atoms in a harmonic well, 1500 fs after all were at its centre."""
    field = harmonic_field(STIFFNESS)
    state = ensemble_at_origin(CARBON, field, replicas, TEMPERATURE_K, seed=11)
    for _ in range(round(1500.0 / timestep_fs)):
        state = step(state, force_function(field), timestep_fs, TEMPERATURE_K, friction)
    return state


def position_sigmas(state: MDState) -> float:
    """⟨x²⟩ against kT/k."""
    return sigmas_from(state.positions.numpy() ** 2, thermal_energy(TEMPERATURE_K) / STIFFNESS)


def velocity_sigmas(state: MDState, expected_fraction: float = 1.0) -> float:
    """⟨m v²⟩ against kT."""
    return sigmas_from((state.masses * state.velocities**2).numpy(), expected_fraction * thermal_energy(TEMPERATURE_K))


@pytest.mark.parametrize("omega_h", [0.1, 0.5, 1.2])
def test_positions_in_a_harmonic_well_are_exact_at_any_step(omega_h):
    assert abs(position_sigmas(relaxed(baoab_step, omega_h / OMEGA))) < 3.0


def test_velocities_have_the_known_second_order_bias():
    assert abs(velocity_sigmas(relaxed(baoab_step, 0.1 / OMEGA))) < 3.0
    coarse = relaxed(baoab_step, 1.2 / OMEGA)
    assert abs(velocity_sigmas(coarse, 1.0 - 1.2**2 / 4.0)) < 3.0
    assert abs(velocity_sigmas(coarse)) > 10.0


@pytest.mark.parametrize(("mistake", "omega_h"), [
    ({"noise_power": 1}, 0.1),
    ({"kick_end": 0.0}, 0.1),
    ({"kick_end": -1.0}, 0.1),
    ({"order": "ABOBA"}, 1.2),
    ({"order": "BAAOB"}, 1.2),
])
def test_broken_thermostats_are_recognised(mistake, omega_h):
    correct = relaxed(broken_step(), omega_h / OMEGA)
    assert abs(position_sigmas(correct)) < 3.0
    state = relaxed(broken_step(**mistake), omega_h / OMEGA)
    assert max(abs(position_sigmas(state)), abs(velocity_sigmas(state, 1.0 - omega_h**2 / 4.0))) > 6.0


def test_friction_of_the_wrong_sign_is_recognised():
    state = relaxed(broken_step(decay_sign=1.0), 0.1 / OMEGA, replicas=100)
    assert not abs(velocity_sigmas(state)) < 6.0 or float(state.velocities.abs().max()) > 1.0


def test_equipartition_between_atoms_of_different_mass():
    atoms = Atoms("HCUAr", positions=np.zeros((4, 3)))
    field = harmonic_field(0.5)
    state = ensemble_at_origin(atoms, field, 5000, 2 * TEMPERATURE_K, seed=2)  # begins too hot
    for _ in range(600):
        state = baoab_step(state, force_function(field), 1.0, TEMPERATURE_K, 0.02)
    energies = (0.5 * state.masses * state.velocities**2).sum(dim=2).numpy()  # (R, N)
    for atom in range(4):
        assert abs(sigmas_from(energies[:, atom], 1.5 * thermal_energy(TEMPERATURE_K))) < 3.0, atoms.symbols[atom]


def test_kinetic_energy_has_the_canonical_distribution():
    state = relaxed(baoab_step, 0.1 / OMEGA)
    scaled = 2.0 * state.kinetic_energies.numpy() / thermal_energy(TEMPERATURE_K)  # χ² with 3 degrees of freedom
    assert abs(sigmas_from(scaled, 3.0)) < 3.0
    assert abs(sigmas_from((scaled - 3.0) ** 2, 6.0)) < 3.0
    assert abs(sigmas_from(scaled < 2.366, 0.5)) < 3.0  # the median


@pytest.mark.parametrize("friction", [0.005, 0.05])
def test_free_particles_diffuse(friction):
    """⟨x²⟩ = 2 D (t − (1 − e^−γt)/γ) with D = kT/(mγ)."""
    state = ensemble_at_origin(CARBON, free_field, 20_000, TEMPERATURE_K, seed=5)
    h, steps = 1.0, 500
    for _ in range(steps):
        state = baoab_step(state, force_function(free_field), h, TEMPERATURE_K, friction)
    diffusion = thermal_energy(TEMPERATURE_K) / (float(state.masses[0, 0]) * friction)
    time_fs = h * steps
    expected = 2.0 * diffusion * (time_fs + math.expm1(-friction * time_fs) / friction)
    assert abs(sigmas_from(state.positions.numpy() ** 2, expected)) < 3.0
    assert abs(sigmas_from(state.positions.numpy() ** 2, 0.9 * expected)) > 6.0


def test_zero_friction_is_velocity_verlet():
    config = {"timestep_fs": 4.0, "steps": 20, "save_every": 1, "temperature_K": 50.0, "seed": 8}
    quiet = simulate(argon_potential(), argon(), MDConfig(ensemble="langevin", friction_per_fs=0.0, **config))
    forces = ReplicaForces(argon_potential(), argon(), 0.5)
    state = initial_state(argon_potential(), argon(), MDConfig(ensemble="langevin", **config), forces)
    for _ in range(20):
        state = velocity_verlet_step(state, forces, 4.0)
    assert np.abs(quiet.positions()[-1, 0] - state.positions[0].numpy()).max() < 1e-5


def test_same_seed_same_path():
    config = MDConfig(temperature_K=80.0, timestep_fs=5.0, steps=60, save_every=20, replicas=3, seed=4)
    first, second = (simulate(argon_potential(), argon(), config) for _ in range(2))
    assert np.array_equal(first.positions(), second.positions())
    assert np.array_equal(first.velocities(), second.velocities())
    other = simulate(argon_potential(), argon(), config.model_copy(update={"seed": 5}))
    assert not np.allclose(first.velocities()[-1], other.velocities()[-1], atol=1e-4)


def test_replicas_are_independent_and_free_gas_has_the_temperature_of_the_thermostat():
    atoms = argon(3)
    config = MDConfig(temperature_K=80.0, timestep_fs=5.0, steps=200, replicas=4, seed=4, friction_per_fs=0.02)
    run = simulate(ExternalField(free_field), atoms, config)
    final = run.velocities()[-1].reshape(4, -1)
    correlations = np.corrcoef(final)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 3.5 / math.sqrt(final.shape[1])
    summary = summarize(run)
    assert abs(summary["temperature_mean_K"] - 80.0) < 3.0 * summary["temperature_sem_K"] < 3.0


@pytest.mark.parametrize("name", ["water", "linear", "crystal", "wire", "atom"])
@pytest.mark.parametrize("ensemble", ["nve", "langevin"])
def test_start_has_the_temperature_of_its_degrees_of_freedom(name, ensemble):
    atoms, expected = {
        "water": (Atoms("OH2", positions=[[0, 0, 0], [0.76, 0.59, 0.1], [-0.76, 0.59, -0.1]]), 3),
        "linear": (Atoms("OCO", positions=[[0.1, 0, -1.16], [0.1, 0, 0], [0.1, 0, 1.16]]), 4),
        "crystal": (argon(1), 9),
        "wire": (Atoms("C2", positions=[[0, 0, 0], [0, 0.3, 1.2]], cell=[0, 0, 2.5], pbc=(False, False, True)), 3),
        "atom": (CARBON, 3),
    }[name]
    dof = degrees_of_freedom(atoms, ensemble)
    assert dof == (expected if ensemble == "nve" else 3 * len(atoms))
    positions = torch.as_tensor(atoms.positions).repeat(20_000, 1, 1)
    masses = inertial_masses(atoms, torch.device("cpu"))
    velocities = initial_velocities(atoms, positions, masses, ensemble, TEMPERATURE_K, torch.Generator().manual_seed(1))
    kinetic = 0.5 * (masses * velocities**2).sum(dim=(1, 2))
    assert abs(sigmas_from(kinetic.numpy(), 0.5 * dof * thermal_energy(TEMPERATURE_K))) < 3.0
    momentum = (masses * velocities).sum(dim=1)
    arms = positions - (masses * positions).sum(dim=1, keepdim=True) / masses.sum()
    spin = (masses * torch.linalg.cross(arms, velocities)).sum(dim=1)
    constrained = ensemble == "nve" and len(atoms) > 1
    assert (float(momentum.abs().max()) < 1e-10) == constrained
    if not atoms.pbc.any() and len(atoms) > 1:
        assert (float(spin.abs().max()) < 1e-10) == constrained
