"""Two potentials in one simulation: the path and the ensemble are those of the accurate one; broken splits are rejected."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from ase import Atoms
from pydantic import ValidationError
from scipy.linalg import solve_discrete_lyapunov

from md_systems import (CPU, ExternalField, advance, argon, argon_potential, ensemble_at_origin, force_function,
                        harmonic_field, sigmas_from, thermal_energy)
from test_md_nve import order, return_error
from toolkit.config import MDConfig
from toolkit.data.graph import AtomicGraph
from toolkit.errors import ConfigError, DataError
from toolkit.md.forces import ReplicaForces
from toolkit.md.integrators import ForceFunction, Step, kick, respa_step, update_forces, velocity_verlet_step
from toolkit.md.ensembles import InnerWatch, make_step
from toolkit.md.simulation import simulate
from toolkit.md.start import initial_state
from toolkit.md.state import MDState, inertial_masses
from toolkit.models.pair import LennardJones, pair_potential

TEMPERATURE_K = 300.0
STIFFNESS, SOFTER = 1.0, 0.8  # eV/Å², of the well and of the inner potential
CARBON = Atoms("C", positions=[[0.0, 0.0, 0.0]])
MASS = float(inertial_masses(CARBON, CPU)[0, 0])
OMEGA = math.sqrt(STIFFNESS / MASS)
Respa = Callable[..., MDState]


def whole_kicks(state: MDState, force_function: ForceFunction, inner_step: Step, timestep_fs: float,
                inner_steps: int) -> MDState:
    """The mistake of kicking with all of the forces instead of what the inner potential lacks."""
    step = respa_step(replace(state, inner_forces=torch.zeros_like(state.inner_forces)), force_function, inner_step,
                      timestep_fs, inner_steps)
    return kick(step, 0.5 * timestep_fs, step.inner_forces)


def never_corrected(state: MDState, force_function: ForceFunction, inner_step: Step, timestep_fs: float,
                    inner_steps: int) -> MDState:
    """The mistake of leaving everything to the inner potential."""
    inner = replace(state, forces=state.inner_forces)
    for _ in range(inner_steps):
        inner = replace(inner_step(inner), step=state.step)
    return replace(update_forces(replace(inner, inner_forces=inner.forces), force_function), step=state.step + 1)


def corrected_at_the_end(state: MDState, force_function: ForceFunction, inner_step: Step, timestep_fs: float,
                         inner_steps: int) -> MDState:
    """The mistake of one whole correction after the inner steps: only of first order."""
    state = never_corrected(state, force_function, inner_step, timestep_fs, inner_steps)
    return kick(state, timestep_fs, state.forces - state.inner_forces)


def make(respa: Respa, config: MDConfig, outer: ForceFunction, inner: ForceFunction) -> Step:
    """The step of a configuration with one of the functions above in place of `respa_step`."""
    return partial(respa, **make_step(config, outer, inner).keywords)


def in_a_well(respa: Respa, config: MDConfig) -> Step:
    """The step of one carbon atom."""
    return make(respa, config, force_function(harmonic_field(STIFFNESS)), force_function(harmonic_field(SOFTER)))


def at_origin(config: MDConfig) -> MDState:
    """Carbon atoms in the middle of the well, with the forces of both potentials, which are zero."""
    state = ensemble_at_origin(CARBON, harmonic_field(STIFFNESS), config)
    return replace(state, inner_forces=torch.zeros_like(state.positions))


def propagator(step: Step, config: MDConfig) -> np.ndarray:
    """The linear map (x, v) -> (x', v') of one step, (2, 2), without noise."""
    state = replace(at_origin(config.model_copy(update={"replicas": 2})), start_K=torch.zeros(2, dtype=torch.float64))
    x, v = torch.zeros(2, 1, 3, dtype=torch.float64), torch.zeros(2, 1, 3, dtype=torch.float64)
    x[0], v[1] = 1.0, 1.0
    after = step(replace(state, positions=x, velocities=v, forces=-STIFFNESS * x, inner_forces=-SOFTER * x))
    return torch.stack([after.positions[:, 0, 0], after.velocities[:, 0, 0]]).numpy()


def exact_propagator(h: float, n: int, c: float = 1.0) -> np.ndarray:
    """The same from the matrices of the parts; c, what friction leaves of a velocity in an inner step."""
    def kicked(stiffness: float, time: float) -> np.ndarray:
        return np.array([[1.0, 0.0], [-time * stiffness / MASS, 1.0]])

    drifted = np.array([[1.0, 0.5 * h / n], [0.0, 1.0]])
    inner = kicked(SOFTER, 0.5 * h / n) @ drifted @ np.diag([1.0, c]) @ drifted @ kicked(SOFTER, 0.5 * h / n)
    correction = kicked(STIFFNESS - SOFTER, 0.5 * h)
    return correction @ np.linalg.matrix_power(inner, n) @ correction


@pytest.mark.parametrize("n", [2, 5])
def test_one_step_is_the_product_of_its_parts(n):
    config = MDConfig(ensemble="nve", timestep_fs=4.0, inner_steps=n)
    assert np.allclose(propagator(in_a_well(respa_step, config), config), exact_propagator(4.0, n), atol=1e-13)
    config = MDConfig(timestep_fs=4.0, inner_steps=n, friction_per_fs=0.05)
    damped = exact_propagator(4.0, n, math.exp(-0.05 * 4.0 / n))
    assert np.allclose(propagator(in_a_well(respa_step, config), config), damped, atol=1e-13)
    for broken in (whole_kicks, never_corrected, corrected_at_the_end):
        assert not np.allclose(propagator(in_a_well(broken, config), config), damped, atol=1e-6)


def exact_spread(h: float, n: int, friction: float) -> float:
    """⟨x²⟩ of the step's own stationary distribution, Å²: Σ = M Σ Mᵀ + Q."""
    c = math.exp(-friction * h / n)
    full = exact_propagator(h, n, c)
    noise = np.zeros((2, 2))
    for place in range(n):  # the noise of one inner step, carried on by those after it and the last correction
        carried = _after_noise(h, n, c, n - 1 - place) @ np.array([0.0, math.sqrt((1.0 - c * c) / MASS)])
        noise += thermal_energy(TEMPERATURE_K) * np.outer(carried, carried)
    return float(solve_discrete_lyapunov(full, noise)[0, 0])


def _after_noise(h: float, n: int, c: float, steps: int) -> np.ndarray:
    half_drift = np.array([[1.0, 0.5 * h / n], [0.0, 1.0]])
    half_kick = np.array([[1.0, 0.0], [-0.5 * h / n * SOFTER / MASS, 1.0]])
    inner = half_kick @ half_drift @ np.diag([1.0, c]) @ half_drift @ half_kick
    correction = np.array([[1.0, 0.0], [-0.5 * h * (STIFFNESS - SOFTER) / MASS, 1.0]])
    return correction @ np.linalg.matrix_power(inner, steps) @ half_kick @ half_drift


def spread_sigmas(respa: Respa, h: float, n: int, friction: float = 0.05) -> tuple[float, float]:
    """⟨x²⟩ of 20,000 atoms after 1,500 fs: standard errors from the exact value of this step, and from kT/k."""
    config = MDConfig(temperature_K=TEMPERATURE_K, inner_steps=n, friction_per_fs=friction, replicas=20_000, seed=11)
    config = config.model_copy(update={"timestep_fs": h})  # longer than users may have it: this well is soft
    state = advance(at_origin(config), in_a_well(respa, config), round(1500.0 / h))
    squares = state.positions.numpy() ** 2
    return (sigmas_from(squares, exact_spread(h, n, friction)),
            sigmas_from(squares, thermal_energy(TEMPERATURE_K) / STIFFNESS))


def test_the_ensemble_is_that_of_the_accurate_potential():
    omega_h = 0.6
    of_the_step, canonical = spread_sigmas(respa_step, omega_h / OMEGA, 3)
    assert abs(of_the_step) < 3.0 and abs(canonical) < 3.0
    coarse, _ = spread_sigmas(respa_step, 1.8 / OMEGA, 3)
    assert abs(coarse) < 3.0
    for broken in (whole_kicks, never_corrected):
        assert abs(spread_sigmas(broken, omega_h / OMEGA, 3)[1]) > 6.0


def test_half_a_period_is_where_it_resonates_and_friction_quenches_that():
    """Without friction the step grows where h is half a period of the vibration; with friction nothing grows there."""
    def growth(omega_h: float, friction: float) -> float:
        h, n = omega_h / OMEGA, 20
        return float(np.abs(np.linalg.eigvals(exact_propagator(h, n, math.exp(-friction * h / n)))).max())

    scan = np.linspace(0.2, 4.5, 431)
    grows = scan[[growth(x, 0.0) > 1.0 + 1e-9 for x in scan]]
    assert len(grows) > 5 and 0.85 * math.pi < grows.min() and grows.max() < 1.25 * math.pi
    strongest = max(growth(x, 0.0) for x in grows) - 1.0
    quenching = 2.0 * strongest / (math.pi / OMEGA)  # γ h = 2 × growth
    assert strongest > 0.05 and all(growth(x, 2.0 * quenching) < 1.0 for x in scan)


@pytest.fixture(scope="module")
def two_argons() -> tuple[MDState, tuple[ReplicaForces, ReplicaForces]]:
    """Argon at 60 K, and its forces by Lennard-Jones potentials of which the inner one is a fifth too weak."""
    config = MDConfig(ensemble="nve", temperature_K=60.0, replicas=2, seed=3)
    rows = [argon()] * 2
    inner = ReplicaForces(weak_argon(), rows, skin=1.0)
    forces = ReplicaForces(argon_potential(), rows, skin=1.0, inner=inner)
    return initial_state(argon_potential(), [argon()], config, forces, inner), (forces, inner)


def weak_argon():
    """Lennard-Jones argon with four fifths of its well depth."""
    return pair_potential(LennardJones(("Ar",), 0.8 * 0.0104, 3.4, 7.5))


def with_two(respa: Respa):
    """The step as the checkers of constant energy call theirs."""
    def step(state: MDState, forces: tuple[ForceFunction, ForceFunction], timestep_fs: float) -> MDState:
        config = MDConfig(ensemble="nve", timestep_fs=timestep_fs, inner_steps=4)
        return make(respa, config, *forces)(state)
    return step


def test_energy_error_is_second_order_and_time_can_be_reversed(two_argons):
    assert order(two_argons, with_two(respa_step)) == pytest.approx(2.0, abs=0.2)
    assert return_error(two_argons, with_two(respa_step)) < 1e-10
    assert order(two_argons, with_two(corrected_at_the_end)) < 1.5
    assert return_error(two_argons, with_two(corrected_at_the_end)) > 1e-6


@pytest.mark.parametrize("ensemble", ["nve", "langevin", "csvr", "nose-hoover"])
def test_with_the_same_potential_twice_it_is_the_plain_simulation(ensemble):
    plain = MDConfig(ensemble=ensemble, temperature_K=60.0, timestep_fs=2.0, steps=120, save_every=30, replicas=2,
                     seed=3, thermostat_fs=100.0)
    split = plain.model_copy(update={"timestep_fs": 6.0, "inner_steps": 3, "steps": 40, "save_every": 10})
    expected = simulate(argon_potential(), argon(), plain)
    run = simulate(argon_potential(), argon(), split, inner=argon_potential())
    assert np.array_equal(run.times_fs, expected.times_fs)
    assert np.allclose(run.positions(), expected.positions(), rtol=0.0, atol=1e-9)
    assert np.allclose(run.conserved_energy_eV, expected.conserved_energy_eV, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("ensemble", ["nve", "langevin", "nose-hoover"])
def test_where_the_inner_potential_is_never_near_the_plain_simulation_is_left(ensemble):
    """Noise and all: a step that is made again leaves no trace of the first."""
    plain = MDConfig(ensemble=ensemble, temperature_K=60.0, timestep_fs=2.0, steps=120, save_every=30, replicas=2, seed=3,
                     thermostat_fs=100.0)
    split = plain.model_copy(update={"timestep_fs": 6.0, "inner_steps": 3, "steps": 40, "save_every": 10,
                                     "inner_tolerance_eV_per_A": 1e-9})
    run, expected = simulate(argon_potential(), argon(), split, inner=weak_argon()), simulate(argon_potential(), argon(), plain)
    assert np.allclose(run.positions(), expected.positions(), rtol=0.0, atol=1e-9)
    kept = split.model_copy(update={"inner_tolerance_eV_per_A": None})
    assert not np.allclose(simulate(argon_potential(), argon(), kept, inner=weak_argon()).positions(), expected.positions(),
                           rtol=0.0, atol=1e-5)


HOLE_A = 0.25
"""Where the inner well of the next test ends: 2.2 standard deviations from its middle at 150 K, along x."""


def well_with_an_edge(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Harmonic near its centre; beyond HOLE_A it throws atoms out along x with 30 eV/Å."""
    energy, force = harmonic_field(STIFFNESS)(x)
    force = torch.where((x[:, :1].abs() > HOLE_A) & (torch.arange(3) == 0), 30.0 * x.sign(), force)
    return energy, force


def over_the_edge(tolerance: float | None, replicas: int) -> tuple[MDConfig, InnerWatch]:
    """Steps in a harmonic well, the inner ones in one with an edge."""
    config = MDConfig(temperature_K=150.0, timestep_fs=8.0, inner_steps=4, steps=250, friction_per_fs=0.05,
                      replicas=replicas, seed=2, inner_tolerance_eV_per_A=tolerance)
    rows = [CARBON] * replicas
    inner = ReplicaForces(ExternalField(well_with_an_edge), rows, config.skin)
    return config, InnerWatch(config, ReplicaForces(ExternalField(harmonic_field(STIFFNESS)), rows, config.skin, inner=inner))


@pytest.mark.parametrize(("tolerance", "right"), [(0.3, True), (None, False)])
def test_a_hole_of_the_inner_potential_does_no_harm(tolerance, right):
    config, step = over_the_edge(tolerance, replicas=200)
    samples, state = [], at_origin(config)
    for number in range(config.steps):
        state = step(state)
        if number % 50 == 49:  # 400 fs apart
            samples.append(state.positions.numpy() ** 2)
    sigmas = sigmas_from(np.stack(samples), thermal_energy(150.0) / STIFFNESS)
    assert (abs(sigmas) < 3.0) == right and (right or abs(sigmas) > 10.0)
    assert (0 < step.steps_alone < 0.2 * config.steps * config.replicas) == right


def test_replicas_that_stay_clear_of_a_hole_do_not_notice_those_that_fall_in():
    config, step = over_the_edge(0.3, replicas=60)
    _, unwatched = over_the_edge(None, replicas=60)
    state, free = at_origin(config), at_origin(config)
    clear = torch.ones(config.replicas, dtype=torch.bool)
    for _ in range(50):
        clear &= ~step.strayed(state)
        state, free = step(state), unwatched(free)
        clear &= free.positions[:, 0, 0].abs() < HOLE_A
    assert 5 < clear.sum() < 55 and step.steps_alone > 0
    assert torch.equal(state.velocities[clear], free.velocities[clear])
    assert bool((state.velocities[~clear] != free.velocities[~clear]).any(dim=(1, 2)).all())


def test_a_ramp_heats_once_a_step():
    """The target rises by its part of the ramp at each step, however many inner steps that has."""
    config = MDConfig(temperature_K=10.0, final_temperature_K=90.0, timestep_fs=8.0, inner_steps=4, steps=400,
                      friction_per_fs=0.05, replicas=8, seed=2, save_every=10)
    run = simulate(argon_potential(), argon(), config, inner=weak_argon())
    middle = run.temperature_K[18:23].mean(axis=1)
    assert middle.mean() == pytest.approx(50.0, abs=5.0)


def test_a_replica_that_breaks_leaves_both_potentials():
    """Two unbound atoms and two bound ones: the others go on as if alone."""
    def pulled(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        force = torch.zeros_like(x)
        force[::2, 0], force[1::2, 0] = -0.3, 0.3
        return torch.zeros(len(x), dtype=torch.float64), force

    config = MDConfig(temperature_K=300.0, timestep_fs=2.0, inner_steps=2, steps=60, save_every=5, replicas=3, seed=1)
    run = simulate(ExternalField(pulled), Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]]), config,
                   inner=ExternalField(pulled))
    assert 1 <= len({broken.time_fs for broken in run.breaks}) and len(run.breaks) == 3


class WithAHole:
    """Argon, but forces are no numbers where the first atom of a structure is beyond x, Å."""

    device, r_max = CPU, 6.0

    def __init__(self, x: float) -> None:
        self._argon, self._x = argon_potential(6.0), x

    def check_species(self, atomic_numbers: torch.Tensor) -> None:
        """Knows argon."""

    def evaluate(self, graph: AtomicGraph, *, stress: bool = False) -> dict[str, torch.Tensor]:
        output, counts = dict(self._argon.evaluate(graph)), graph.atoms_per_structure()
        inside = graph.positions[torch.cumsum(counts, 0) - counts, 0] > self._x
        output["forces"] = torch.where(inside[graph.batch][:, None], torch.nan, output["forces"])
        return output


@pytest.mark.parametrize("depth_A", [0.08, 0.1])
def test_a_hole_of_the_accurate_potential_retires_its_replica_alone(depth_A):
    """Met in a step made without the inner potential, whose lists are then asked for positions that are no numbers."""
    start = argon(1)
    config = MDConfig(temperature_K=150.0, timestep_fs=8.0, inner_steps=8, steps=25, save_every=5, replicas=4, seed=3)
    run = simulate(WithAHole(float(start.positions[0, 0]) + depth_A), start, config, inner=weak_argon())
    assert 0 < len(run.breaks) < 4 and all("not finite" in broken.reason for broken in run.breaks)
    assert run.steps_done == 25 and run.alive[-1].sum() == 4 - len(run.breaks)


def test_stop_and_resume_is_bit_for_bit_and_knows_its_inner_potential(tmp_path):
    config = MDConfig(temperature_K=60.0, timestep_fs=6.0, inner_steps=3, steps=40, save_every=10, replicas=2, seed=3)
    whole = simulate(argon_potential(), argon(), config, inner=weak_argon())
    path = tmp_path / "run.h5"
    simulate(argon_potential(), argon(), config.model_copy(update={"steps": 20}), path, inner=weak_argon()).close()
    with pytest.raises(ConfigError, match="other weights"):
        simulate(argon_potential(), argon(), config, path, inner=argon_potential(), resume=True)
    with simulate(argon_potential(), argon(), config, path, inner=weak_argon(), resume=True) as run:
        assert np.array_equal(run.positions(), whole.positions())
        assert "inner steps" in run.model
        assert run.inner_timestep_fs == 2.0  # what vibrations feel, and spectra are corrected for


def test_only_both_or_neither():
    config = MDConfig(timestep_fs=4.0, inner_steps=2, steps=1)
    with pytest.raises(ConfigError, match="found inner_steps 2 without"):
        simulate(argon_potential(), argon(), config)
    with pytest.raises(ConfigError, match="found inner_steps 1 with"):
        simulate(argon_potential(), argon(), config.model_copy(update={"inner_steps": 1}), inner=argon_potential())
    with pytest.raises(DataError, match="Ne"):
        simulate(ExternalField(harmonic_field(1.0)), Atoms("Ne"), config, inner=argon_potential())
    with pytest.raises(ValidationError, match="npt"):
        MDConfig(ensemble="npt", inner_steps=2)
    assert velocity_verlet_step is make_step(MDConfig(ensemble="nve"), force_function(harmonic_field(1.0))).func
