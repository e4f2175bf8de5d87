"""Constant pressure: volumes of exactly known systems in standard errors, a crystal against ASE, wrong stresses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from torch import Tensor

from md_systems import CPU, ExternalField, advance, argon, argon_potential, free_field, sigmas_from, thermal_energy
from toolkit.config import MDConfig
from toolkit.data.graph import AtomicGraph
from toolkit.errors import DataError
from toolkit.interfaces.ase_calculator import Calculator
from toolkit.md.forces import ReplicaForces
from toolkit.md.ensembles import make_step
from toolkit.md.simulation import simulate
from toolkit.md.start import initial_state
from toolkit.md.state import MDState
from toolkit.md.summary import summarize
from toolkit.units import EV_PER_A3_GPA

TEMPERATURE_K = 300.0
NUM_ATOMS = 16
START_VOLUME = 16 * 60.0  # Å³
STIFFNESS = 2e-3  # eV/Å³


class ElasticBox:
    """Atoms without forces in a box with an energy of its own: ½ B V₀ ln²(V/V₀); B = 0 is an ideal gas."""

    device = CPU
    r_max = 1.0

    def __init__(self, bulk_modulus: float = 0.0, stress_factor: float = 1.0) -> None:
        self._bulk_modulus = bulk_modulus
        self._stress_factor = stress_factor

    def check_species(self, atomic_numbers: Tensor) -> None:
        """Knows every element."""

    def evaluate(self, graph: AtomicGraph, *, stress: bool = False) -> dict[str, Tensor]:
        """energy (S,), forces (N, 3) and stress (S, 3, 3)."""
        return self.of(graph.cell) | {"forces": torch.zeros_like(graph.positions)}

    def of(self, cell: Tensor) -> dict[str, Tensor]:
        """Energy (S,) and stress (S, 3, 3) of cells (S, 3, 3)."""
        volume = torch.linalg.det(cell)
        swelling = torch.log(volume / START_VOLUME)
        derivative = self._bulk_modulus * START_VOLUME * swelling  # dE/dlnV
        stress = self._stress_factor * (derivative / volume)[:, None, None] * torch.eye(3, dtype=torch.float64)
        return {"energy": 0.5 * derivative * swelling, "stress": stress}


def boxes(box: ElasticBox, pressure: float, replicas: int = 1000, steps: int = 250, **settings: object) -> MDState:
    """Replicas of atoms in a box, 1000 fs after they had their first volume."""
    config = MDConfig(ensemble="npt", temperature_K=TEMPERATURE_K, timestep_fs=4.0, thermostat_fs=50.0, seed=3,
                      replicas=replicas, pressure_GPa=pressure * EV_PER_A3_GPA, **{"barostat_fs": 100.0, **settings})
    atoms = Atoms(f"Ar{NUM_ATOMS}", positions=np.zeros((NUM_ATOMS, 3)), cell=3 * [START_VOLUME ** (1 / 3)], pbc=True)

    def forces(positions: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output = box.of(cells)
        return output["energy"], torch.zeros_like(positions), output["stress"]

    return advance(initial_state(box, [atoms], config, forces), make_step(config, forces), steps)


def test_a_cell_that_overshoots_is_retired_and_says_why() -> None:
    with pytest.raises(ValueError, match="barostat_fs is 2.0, npt needs 10 time steps"):
        MDConfig(ensemble="npt", timestep_fs=4.0, barostat_fs=2.0)
    config = MDConfig(ensemble="npt", temperature_K=40.0, timestep_fs=4.0, barostat_fs=200.0, bulk_modulus_GPa=0.005, steps=400,
                      replicas=2, seed=1)
    run = simulate(argon_potential(6.0), argon(1), config)
    assert len(run.breaks) == 2 and all("volume" in b.reason and "bulk_modulus_GPa" in b.reason for b in run.breaks)


def test_a_gas_that_collapses_does_not_end_the_others() -> None:
    """Without forces nothing stops it under 50 GPa; its neighbours could not be counted any more."""
    gas = Atoms("Ar4", np.random.default_rng(0).uniform(0.0, 8.0, (4, 3)), cell=[8.0] * 3, pbc=True)
    config = MDConfig(ensemble="npt", temperature_K=300.0, timestep_fs=2.0, pressure_GPa=50.0, barostat_fs=100.0,
                      bulk_modulus_GPa=1.0, steps=3000, replicas=2)
    run = simulate(ExternalField(free_field), gas, config)
    assert len(run.breaks) == 2 and all(b.reason.startswith("volume") for b in run.breaks)


def expected_volumes(bulk_modulus: float, pressure: float) -> tuple[float, float]:
    """Mean and variance of V under V^(N−1) exp(−(E + PV)/kT): the total momentum is zero, which leaves N − 1."""
    kT = thermal_energy(TEMPERATURE_K)
    volumes = START_VOLUME * np.linspace(0.05, 6.0, 200_001)
    energy = 0.5 * bulk_modulus * START_VOLUME * np.log(volumes / START_VOLUME) ** 2
    logarithm = (NUM_ATOMS - 1) * np.log(volumes) - (energy + pressure * volumes) / kT
    weights = np.exp(logarithm - logarithm.max())
    mean = np.average(volumes, weights=weights)
    return float(mean), float(np.average((volumes - mean) ** 2, weights=weights))


GAS_PRESSURE = NUM_ATOMS * thermal_energy(TEMPERATURE_K) / START_VOLUME
CASES = {"gas": (0.0, GAS_PRESSURE, GAS_PRESSURE), "solid": (STIFFNESS, 0.0, STIFFNESS + GAS_PRESSURE)}


def volume_sigmas(state: MDState, name: str) -> tuple[float, float]:
    """Mean and variance of the volumes against the exact ones."""
    volumes = state.volumes.numpy()
    mean, variance = expected_volumes(*CASES[name][:2])
    return sigmas_from(volumes, mean), sigmas_from((volumes - mean) ** 2, variance)


@pytest.mark.parametrize("cell_change", ["isotropic", "anisotropic"])
@pytest.mark.parametrize("name", CASES)
def test_volumes_have_the_exact_mean_and_variance(name, cell_change):
    stiffness, pressure, pace = CASES[name]
    state = boxes(ElasticBox(stiffness), pressure, cell_change=cell_change, bulk_modulus_GPa=pace * EV_PER_A3_GPA)
    mean, variance = volume_sigmas(state, name)
    assert abs(mean) < 3.0 and abs(variance) < 3.0
    assert abs(sigmas_from(state.volumes.numpy(), 1.1 * expected_volumes(stiffness, pressure)[0])) > 6.0
    shape = state.cell / state.volumes[:, None, None] ** (1 / 3)
    assert (float((shape - torch.eye(3)).abs().max()) < 1e-6) == (cell_change == "isotropic")


def test_pressure_of_an_ideal_gas():
    """⟨P⟩ = (N − 1) kT ⟨1/V⟩ = P₀ for V^(N−1) exp(−P₀V/kT): the pressure that was asked for, on average."""
    state = boxes(ElasticBox(), GAS_PRESSURE, bulk_modulus_GPa=GAS_PRESSURE * EV_PER_A3_GPA)
    assert abs(sigmas_from(state.pressures.numpy(), GAS_PRESSURE)) < 3.0
    assert abs(sigmas_from(state.pressures.numpy(), 1.1 * GAS_PRESSURE)) > 5.0


@pytest.mark.parametrize("factor", [0.0, -1.0, 0.5])
def test_wrong_stresses_are_recognised(factor):
    state = boxes(ElasticBox(STIFFNESS, factor), 0.0, replicas=500, steps=150,
                  bulk_modulus_GPa=CASES["solid"][2] * EV_PER_A3_GPA)
    runaway = float(state.volumes.max()) > 10.0 * START_VOLUME
    assert runaway or max(abs(s) for s in volume_sigmas(state, "solid")) > 6.0


def conservation(factor: float) -> float:
    """RMS change of the conserved energy over that of the potential energy, with the stress times a factor."""
    config = MDConfig(ensemble="npt", temperature_K=60.0, timestep_fs=4.0, barostat_fs=100.0, steps=400, save_every=5,
                      seed=5, cell_change="anisotropic", bulk_modulus_GPa=2.0)
    pot = argon_potential()
    inner = pot.evaluate
    pot.evaluate = lambda graph, stress=False: {k: v * (factor if k == "stress" else 1.0)
                                                for k, v in inner(graph, stress=stress).items()}
    run = simulate(pot, argon(1), config)
    return float(np.std(run.conserved_energy_eV) / np.std(run.potential_energy_eV))


def test_the_conserved_energy_exposes_a_wrong_stress():
    right, wrong = conservation(1.0), conservation(0.8)
    assert right < 0.02 and wrong > 5.0 * right


def relaxed_by_ase() -> Atoms:
    """The argon crystal at zero pressure."""
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True)
    atoms.calc = Calculator(argon_potential())
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-5)
    return atoms


def test_a_cold_crystal_finds_the_cell_of_ase():
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True)
    atoms.set_cell(atoms.cell.array @ np.diag([1.03, 0.98, 1.0]) + np.array([[0, 0.1, 0], [0, 0, 0], [0, 0, 0]]),
                   scale_atoms=True)
    config = MDConfig(ensemble="npt", temperature_K=0.01, timestep_fs=5.0, steps=1500, save_every=100,
                      barostat_fs=200.0, thermostat_fs=20.0, cell_change="anisotropic", seed=1)
    run = simulate(argon_potential(), atoms, config)
    cell, expected = run.cells()[-1, 0], relaxed_by_ase().cell.array
    lengths = np.linalg.norm(cell, axis=1)
    assert lengths == pytest.approx(np.linalg.norm(expected, axis=1), abs=5e-3)
    assert np.abs(cell @ cell.T / lengths[0] ** 2 - np.eye(3)).max() < 3e-3
    assert abs(run.pressure_GPa[-5:].mean()) < 5e-3 < abs(run.pressure_GPa[0, 0])


def test_pressure_presses_and_the_file_holds_the_cells(tmp_path):
    config = MDConfig(ensemble="npt", temperature_K=20.0, timestep_fs=5.0, steps=600, save_every=5, barostat_fs=100.0,
                      replicas=2, pressure_GPa=0.5, seed=1)
    with simulate(argon_potential(), argon(1), config, tmp_path / "a.h5") as run:
        assert run.variable_cell and run.cells().shape == (121, 2, 3, 3)
        summary = summarize(run)
        assert summary["pressure_mean_GPa"] == pytest.approx(0.5, abs=max(4.0 * summary["pressure_sem_GPa"], 0.01))
        assert summary["volume_mean_A3"] < 0.95 * np.linalg.det(run.cell)
        last = run.to_atoms(-1, replica=1)
        assert np.array_equal(last.cell.array, run.cells()[-1, 1])
        chunks = np.concatenate(list(run.chunks("cell", 50, replica=1)))
        assert np.array_equal(chunks, run.cells()[:, 1])
        total = float(Calculator(argon_potential()).get_potential_energy(last))
        assert total == pytest.approx(run.potential_energy_eV[-1, 1], abs=1e-5)  # positions are stored in float32


def test_the_barostat_learns_the_stiffness_of_the_crystal():
    atoms, pot = relaxed_by_ase(), argon_potential()
    config = MDConfig(ensemble="npt", temperature_K=1.0)
    state = initial_state(pot, [atoms], config, ReplicaForces(pot, [atoms], 0.5, stress=True))
    energies = []
    for factor in (0.99, 1.0, 1.01):
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell.array * factor ** (1 / 3), scale_atoms=True)
        energies.append(pot.predict(scaled)["energy"])
    expected = (energies[0] - 2 * energies[1] + energies[2]) / 0.01**2 / atoms.get_volume()
    assert float(state.bulk_modulus[0]) == pytest.approx(expected, rel=0.02)


def test_molecules_and_slabs_have_no_pressure():
    slab = argon(1)
    slab.pbc = (True, True, False)
    with pytest.raises(DataError, match="periodic in all directions"):
        simulate(argon_potential(), slab, MDConfig(ensemble="npt"))
    with pytest.raises(DataError, match="only 'npt' records the pressure"):
        simulate(argon_potential(), argon(1), MDConfig(steps=1, temperature_K=10.0)).pressure_GPa  # noqa: B018


def test_deformation_does_not_touch_its_input():
    pot = argon_potential()
    forces = ReplicaForces(pot, [argon(1)], 0.5, stress=True)
    config = MDConfig(ensemble="npt", temperature_K=50.0, bulk_modulus_GPa=2.0)
    state = initial_state(pot, [argon(1)], config, forces)
    before = replace(state, cell=state.cell.clone(), positions=state.positions.clone())
    after = make_step(config, forces)(state)
    assert torch.equal(state.cell, before.cell) and torch.equal(state.positions, before.positions)
    assert not torch.equal(after.cell, before.cell)
