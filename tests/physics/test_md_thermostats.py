"""Every thermostat against exact statistics, in standard errors with fixed seeds; the checks reject broken ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.stats import chi2, kstest, norm

from md_systems import (
    ExternalField,
    advance,
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
from toolkit.md.integrators import Step, middle_step
from toolkit.md.ensembles import make_step
from toolkit.md.simulation import simulate
from toolkit.md.state import MDState, inertial_masses
from toolkit.md.summary import summarize
from toolkit.md.thermostats import langevin
from toolkit.units import KB_EV_PER_K

TEMPERATURE_K = 300.0
STIFFNESS = 1.0  # eV/Å²
CARBON = Atoms("C", positions=[[0.0, 0.0, 0.0]])
MIXTURE = Atoms("HCNO", positions=np.zeros((4, 3)))
OMEGA = math.sqrt(STIFFNESS / float(inertial_masses(CARBON, torch.device("cpu"))[0, 0]))
THERMOSTATS = ("langevin", "csvr", "nose-hoover")


def broken_step(kick_end: float = 1.0, decay_sign: float = -1.0, noise_power: int = 2,
                order: str = "BAOAB") -> Callable[[MDState, float, float], MDState]:
    """BAOAB with one mistake: a wrong last kick, sign of the friction, noise amplitude, or order of the parts."""
    def step(state: MDState, h: float, friction: float) -> MDState:
        x, v, force, energy = state.positions, state.velocities, state.forces, state.potential_energies
        c = math.exp(decay_sign * friction * h)
        amplitude = math.sqrt(abs(1.0 - c**noise_power))
        for position, letter in enumerate(order):
            if letter == "B":
                energy, force, _ = force_function(harmonic_field(STIFFNESS))(x, state.cell)
                v = v + (kick_end if position == len(order) - 1 else 1.0) * 0.5 * h * force / state.masses
            elif letter == "A":
                x = x + 0.5 * h * v
            else:
                v = c * v + amplitude * torch.sqrt(KB_EV_PER_K * TEMPERATURE_K / state.masses) * state.gaussian(1, 3)
        return replace(state, positions=x, velocities=v, forces=force, potential_energies=energy)
    return step


def relaxed(timestep_fs: float, broken: Callable[[MDState, float, float], MDState] | None = None,
            friction: float = 0.05, replicas: int = 20_000) -> MDState:
    """Carbon atoms in a harmonic well under Langevin noise, 1500 fs after all were at its centre."""
    field = harmonic_field(STIFFNESS)
    state = ensemble_at_origin(CARBON, field, MDConfig(temperature_K=TEMPERATURE_K, replicas=replicas, seed=11))
    noise = partial(langevin, timestep_fs=timestep_fs, friction_per_fs=friction)
    step = partial(middle_step, force_function=force_function(field), timestep_fs=timestep_fs, thermostat=noise)
    if broken is not None:
        step = partial(broken, h=timestep_fs, friction=friction)
    return advance(state, step, round(1500.0 / timestep_fs))


def position_sigmas(state: MDState) -> float:
    """⟨x²⟩ against kT/k."""
    return sigmas_from(state.positions.numpy() ** 2, thermal_energy(TEMPERATURE_K) / STIFFNESS)


def velocity_sigmas(state: MDState, expected_fraction: float = 1.0) -> float:
    """⟨m v²⟩ against kT."""
    return sigmas_from((state.masses * state.velocities**2).numpy(), expected_fraction * thermal_energy(TEMPERATURE_K))


@pytest.mark.parametrize("omega_h", [0.1, 0.5, 1.2])
def test_langevin_positions_in_a_harmonic_well_are_exact_at_any_step(omega_h):
    assert abs(position_sigmas(relaxed(omega_h / OMEGA))) < 3.0


def test_langevin_velocities_have_the_known_second_order_bias():
    assert abs(velocity_sigmas(relaxed(0.1 / OMEGA))) < 3.0
    coarse = relaxed(1.2 / OMEGA)
    assert abs(velocity_sigmas(coarse, 1.0 - 1.2**2 / 4.0)) < 3.0
    assert abs(velocity_sigmas(coarse)) > 10.0


@cache
def unbroken(omega_h: float) -> MDState:
    """The same code without a mistake."""
    return relaxed(omega_h / OMEGA, broken_step())


@pytest.mark.parametrize(("mistake", "omega_h"), [
    ({"noise_power": 1}, 0.1),
    ({"kick_end": 0.0}, 0.1),
    ({"kick_end": -1.0}, 0.1),
    ({"order": "ABOBA"}, 1.2),
    ({"order": "BAAOB"}, 1.2),
])
def test_broken_langevin_is_recognised(mistake, omega_h):
    assert abs(position_sigmas(unbroken(omega_h))) < 3.0
    state = relaxed(omega_h / OMEGA, broken_step(**mistake))
    assert max(abs(position_sigmas(state)), abs(velocity_sigmas(state, 1.0 - omega_h**2 / 4.0))) > 6.0


def test_friction_of_the_wrong_sign_is_recognised():
    state = relaxed(0.1 / OMEGA, broken_step(decay_sign=1.0), replicas=100)
    assert not abs(velocity_sigmas(state)) < 6.0 or float(state.velocities.abs().max()) > 1.0


@pytest.mark.parametrize("friction", [0.005, 0.05])
def test_free_particles_diffuse(friction):
    """⟨x²⟩ = 2 D (t − (1 − e^−γt)/γ) with D = kT/(mγ)."""
    config = MDConfig(temperature_K=TEMPERATURE_K, timestep_fs=1.0, friction_per_fs=friction, replicas=20_000, seed=5)
    state = ensemble_at_origin(CARBON, free_field, config)
    time_fs = 500
    state = advance(state, make_step(config, force_function(free_field)), time_fs)
    diffusion = thermal_energy(TEMPERATURE_K) / (float(state.masses[0, 0, 0]) * friction)
    expected = 2.0 * diffusion * (time_fs + math.expm1(-friction * time_fs) / friction)
    assert abs(sigmas_from(state.positions.numpy() ** 2, expected)) < 3.0
    assert abs(sigmas_from(state.positions.numpy() ** 2, 0.9 * expected)) > 6.0


def stiffnesses(x: torch.Tensor) -> torch.Tensor:
    """Every atom of the mixture, in every direction, has a well of its own, so that no two vibrate alike; eV/Å²."""
    return torch.linspace(0.4, 1.7, 12, dtype=torch.float64).view(4, 3).repeat(len(x) // 4, 1)


def wells(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """½ Σ k x²."""
    k = stiffnesses(x)
    return (0.5 * k * x * x).sum(dim=1), -k * x


def mixture(ensemble: str, replicas: int, first_K: float = TEMPERATURE_K, **settings: float) -> tuple[MDState, Step]:
    """Replicas of the mixture, positions drawn at first_K, and their time step."""
    config = MDConfig(ensemble=ensemble, temperature_K=TEMPERATURE_K, initial_temperature_K=first_K, timestep_fs=1.0,
                      replicas=replicas, seed=2, **{"thermostat_fs": 50.0, "friction_per_fs": 0.02, **settings})
    state = ensemble_at_origin(MIXTURE, wells, config)
    noise = state.gaussian(4, 3)
    spread = torch.sqrt(thermal_energy(first_K) / stiffnesses(state.positions[0]))
    velocities = torch.sqrt(thermal_energy(first_K) * state.inverse_masses) * state.gaussian(4, 3)
    dof = torch.full_like(state.degrees_of_freedom, 12.0)  # the wells hold the centre of mass
    state = replace(state, positions=spread * noise, velocities=velocities, degrees_of_freedom=dof)
    energies, forces, _ = force_function(wells)(state.positions, state.cell)
    return replace(state, potential_energies=energies, forces=forces), make_step(config, force_function(wells))


@pytest.mark.parametrize("ensemble", ["langevin", "csvr"])
def test_temperature_and_positions_of_every_atom_after_a_hot_start(ensemble):
    state, step = mixture(ensemble, 2000, first_K=2.0 * TEMPERATURE_K)
    state = advance(state, step, 1200)
    kinetic = (0.5 * state.masses * state.velocities**2).sum(dim=2).numpy()  # (R, N)
    potential = (0.5 * stiffnesses(state.positions[0]) * state.positions**2).sum(dim=2).numpy()
    for atom in range(4):
        assert abs(sigmas_from(kinetic[:, atom], 1.5 * thermal_energy(TEMPERATURE_K))) < 3.5, MIXTURE.symbols[atom]
        assert abs(sigmas_from(potential[:, atom], 1.5 * thermal_energy(TEMPERATURE_K))) < 3.5, MIXTURE.symbols[atom]
    assert abs(sigmas_from(kinetic[:, 0], 3.0 * thermal_energy(TEMPERATURE_K))) > 10.0


def kinetic_distribution(state: MDState) -> float:
    """p-value of 2K/kT following χ² with 12 degrees of freedom (Kolmogorov–Smirnov)."""
    scaled = 2.0 * state.kinetic_energies.numpy() / thermal_energy(TEMPERATURE_K)
    return float(kstest(scaled, chi2(12).cdf).pvalue)


@pytest.mark.parametrize("ensemble", ["langevin", "csvr"])
def test_kinetic_energy_has_the_canonical_distribution(ensemble):
    state, step = mixture(ensemble, 3000, first_K=0.7 * TEMPERATURE_K)
    assert kinetic_distribution(state) < 1e-6
    state = advance(state, step, 700)
    assert kinetic_distribution(state) > 0.01


def berendsen(state: MDState) -> MDState:
    """Weak coupling: the right mean, but no fluctuations of its own."""
    ratio = 0.5 * state.degrees_of_freedom * state.thermal_energies / state.kinetic_energies
    return replace(state, velocities=state.velocities * torch.sqrt(1.0 + 0.1 * (ratio - 1.0))[:, None, None])


def test_weak_coupling_is_recognised_as_not_canonical():
    state, _ = mixture("csvr", 2500)
    step = lambda s: middle_step(s, force_function(wells), 1.0, berendsen)  # noqa: E731
    assert kinetic_distribution(state) > 0.01
    assert kinetic_distribution(advance(state, step, 600)) < 1e-6


def one_axis(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A harmonic well along the first axis only."""
    k = torch.tensor([STIFFNESS, 0.0, 0.0], dtype=torch.float64)
    return (0.5 * k * x * x).sum(dim=1), -k * x


def oscillator_under_a_chain(length: int) -> list[float]:
    """p-values of x and v of one vibrating coordinate being Gaussian, long after all replicas had the same energy."""
    config = MDConfig(ensemble="nose-hoover", temperature_K=TEMPERATURE_K, timestep_fs=3.5, replicas=2000, seed=2,
                      thermostat_fs=1.0 / OMEGA, chain_length=length)
    state = ensemble_at_origin(CARBON, one_axis, config)
    velocities = torch.zeros_like(state.velocities)
    velocities[:, 0, 0] = torch.linspace(0.9, 1.1, 2000, dtype=torch.float64) * math.sqrt(2.0)
    thermal = torch.sqrt(thermal_energy(TEMPERATURE_K) * state.inverse_masses)
    state = replace(state, velocities=thermal * velocities, degrees_of_freedom=torch.ones(2000, dtype=torch.float64))
    state = advance(state, make_step(config, force_function(one_axis)), 2000)
    x = state.positions[:, 0, 0] / math.sqrt(thermal_energy(TEMPERATURE_K) / STIFFNESS)
    v = (state.velocities / thermal)[:, 0, 0]
    return [float(kstest(series.numpy(), norm.cdf).pvalue) for series in (x, v)]


def test_a_chain_of_three_makes_even_one_oscillator_canonical():
    """The test of Martyna, Klein & Tuckerman, J. Chem. Phys. 97, 2635 (1992)."""
    assert min(oscillator_under_a_chain(3)) > 0.01


def test_a_single_nose_hoover_thermostat_is_recognised_as_not_ergodic():
    assert max(oscillator_under_a_chain(1)) < 1e-6


def drift_sigmas(ensemble: str, timestep_fs: float) -> tuple[float, float]:
    """RMS change of the conserved energy from step 100 on, and of the total energy, eV."""
    config = MDConfig(ensemble=ensemble, temperature_K=60.0, timestep_fs=timestep_fs, steps=round(2000 / timestep_fs),
                      save_every=10, replicas=2, seed=3)
    run = simulate(argon_potential(), argon(1), config)
    conserved, total = run.conserved_energy_eV, run.potential_energy_eV + run.kinetic_energy_eV
    return float(np.std(conserved - conserved[0])), float(np.std(total - total[0]))


@pytest.mark.parametrize("ensemble", THERMOSTATS)
def test_the_conserved_energy_is_of_second_order(ensemble):
    coarse, exchanged = drift_sigmas(ensemble, 8.0)
    fine, _ = drift_sigmas(ensemble, 4.0)
    assert 0.1 * exchanged > coarse > 1e-6
    assert np.log2(coarse / fine) == pytest.approx(2.0, abs=0.6)


def test_zero_friction_is_velocity_verlet():
    config = {"timestep_fs": 4.0, "steps": 20, "save_every": 1, "temperature_K": 50.0, "seed": 8}
    bath = simulate(argon_potential(), argon(), MDConfig(ensemble="langevin", friction_per_fs=0.0, **config))
    slow = simulate(argon_potential(), argon(), MDConfig(ensemble="csvr", thermostat_fs=1e6, **config))
    free = simulate(argon_potential(), argon(), MDConfig(ensemble="nve", **config))
    assert np.abs(slow.positions()[-1] - free.positions()[-1]).max() < 1e-3  # the same start
    assert np.ptp(bath.potential_energy_eV + bath.kinetic_energy_eV) < 1e-4
    assert np.array_equal(bath.conserved_energy_eV, bath.potential_energy_eV + bath.kinetic_energy_eV)


@pytest.mark.parametrize("ensemble", ["langevin", "csvr", "nose-hoover", "npt"])
def test_same_seed_same_path(ensemble):
    config = MDConfig(ensemble=ensemble, temperature_K=80.0, timestep_fs=5.0, steps=40, save_every=20, replicas=3,
                      seed=4)
    first, second = (simulate(argon_potential(), argon(), config) for _ in range(2))
    assert np.array_equal(first.positions(), second.positions())
    assert np.array_equal(first.velocities(), second.velocities())
    other = simulate(argon_potential(), argon(), config.model_copy(update={"seed": 5}))
    assert not np.allclose(first.velocities()[-1], other.velocities()[-1], atol=1e-4)


@pytest.mark.parametrize("ensemble", THERMOSTATS)
def test_a_replica_goes_its_way_whoever_else_is_in_the_batch(ensemble):
    together, step = mixture(ensemble, 5)
    alone = together.select(torch.arange(5) == 3)
    alone = replace(alone, generator=torch.Generator().set_state(together.generator.get_state()))
    together, alone = advance(together, step, 50), advance(alone, step, 50)
    for name in ("positions", "velocities", "bath_energies", "chain_velocities"):
        assert torch.equal(getattr(together, name)[3], getattr(alone, name)[0]), name


def test_replicas_are_independent_and_free_gas_has_the_temperature_of_the_thermostat():
    atoms = argon(3)
    config = MDConfig(temperature_K=80.0, timestep_fs=5.0, steps=1000, replicas=4, seed=4, friction_per_fs=0.02)
    run = simulate(ExternalField(free_field), atoms, config)
    final = run.velocities()[-1].reshape(4, -1)
    correlations = np.corrcoef(final)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 3.5 / math.sqrt(final.shape[1])
    summary = summarize(run)
    assert abs(summary["temperature_mean_K"] - 80.0) < 3.0 * summary["temperature_sem_K"] < 3.0


def gas(ensemble: str, **settings: object) -> np.ndarray:
    """Temperature of every frame and replica of 32 atoms without forces."""
    config = MDConfig(ensemble=ensemble, timestep_fs=2.0, steps=600, save_every=6, seed=6, thermostat_fs=20.0,
                      friction_per_fs=0.05, **settings)
    return simulate(ExternalField(free_field), argon(2), config).temperature_K


@pytest.mark.parametrize("ensemble", THERMOSTATS)
def test_ramps_reach_the_end_and_ladders_hold_every_rung(ensemble):
    ramp = gas(ensemble, temperature_K=100.0, final_temperature_K=500.0, replicas=12).mean(axis=1)
    tenths = ramp[1:].reshape(10, 10).mean(axis=1)
    assert tenths[3:] == pytest.approx(100.0 + 400.0 * (np.arange(3, 10) + 0.5) / 10.0, rel=0.08)
    assert ramp[-5:].mean() == pytest.approx(490.0, rel=0.08)
    ladder = gas(ensemble, ladder_K=(50.0, 200.0, 600.0), replicas=3)[30:].mean(axis=0)
    assert ladder == pytest.approx([50.0, 200.0, 600.0], rel=0.12)


def test_langevin_noise_heats_atoms_at_rest_and_rescaling_refuses_them():
    config = MDConfig(temperature_K=100.0, initial_temperature_K=0.0, friction_per_fs=0.1, replicas=100)
    state = ensemble_at_origin(CARBON, free_field, config)
    step = make_step(config, force_function(free_field))
    assert float(state.kinetic_energies.max()) == 0.0 < float(advance(state, step, 10).kinetic_energies.min())
    for ensemble in ("csvr", "nose-hoover", "npt"):
        with pytest.raises(ValueError, match="above 0 K"):
            MDConfig(ensemble=ensemble, initial_temperature_K=0.0)


def test_thermostats_do_not_touch_their_input():
    for ensemble in THERMOSTATS:
        state, step = mixture(ensemble, 4)
        before = {name: getattr(state, name).clone() for name in ("positions", "velocities", "chain_velocities")}
        step(state)
        assert all(torch.equal(getattr(state, name), value) for name, value in before.items())


def test_langevin_at_zero_friction_draws_no_energy():
    state, _ = mixture("langevin", 4)
    assert torch.equal(langevin(state, 1.0, 0.0).velocities, state.velocities)
