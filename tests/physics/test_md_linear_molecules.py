"""A linear molecule of three atoms has 3N − 6 free motions, not 3N − 5: what bends keeps no spin about its axis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from md_systems import ExternalField, free_field, sigmas_from, thermal_energy
from toolkit.config import MDConfig
from toolkit.md.simulation import simulate
from toolkit.md.state import inertial_masses
from toolkit.md.velocities import degrees_of_freedom, initial_velocities

BOND_A, TEMPERATURE_K = 1.16, 300.0
CO2 = Atoms("OCO", [[-BOND_A, 0.0, 0.0], [0.0, 0.0, 0.0], [BOND_A, 0.0, 0.0]])
ACETYLENE = Atoms("HCCH", [[0.0, 0.0, z] for z in (-1.66, -0.6, 0.6, 1.66)])


def springs_and_bend(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Harmonic bonds of 80 eV/Å² and 4.8 eV (1 + cos θ)."""
    with torch.enable_grad():
        x = x.detach().reshape(-1, 3, 3).requires_grad_()
        left, right = x[:, 0] - x[:, 1], x[:, 2] - x[:, 1]
        lengths = torch.stack([left.norm(dim=1), right.norm(dim=1)])
        cosine = (left * right).sum(dim=1) / lengths.prod(dim=0)
        energy = 40.0 * ((lengths - BOND_A) ** 2).sum(dim=0) + 4.8 * (1.0 + cosine)
        gradient, = torch.autograd.grad(energy.sum(), x)
    return energy.detach().repeat_interleave(3) / 3.0, -gradient.reshape(-1, 3)


def stretch_sigmas() -> float:
    """Kinetic energy along the line from end to end, of the two stretches, against kT."""
    config = MDConfig(ensemble="csvr", temperature_K=TEMPERATURE_K, timestep_fs=1.0, steps=1500, save_every=5,
                      replicas=256, thermostat_fs=50.0, seed=3)
    run = simulate(ExternalField(springs_and_bend), CO2, config)
    positions, velocities = (np.asarray(values, np.float64)[60:] for values in (run.positions(), run.velocities()))
    axis = positions[:, :, 2] - positions[:, :, 0]
    along = np.einsum("trna,tra->trn", velocities, axis / np.linalg.norm(axis, axis=2, keepdims=True))
    masses = inertial_masses(CO2, torch.device("cpu")).numpy()[:, 0]
    return sigmas_from(0.5 * (masses * along**2).sum(axis=2).mean(axis=0), thermal_energy(TEMPERATURE_K))


def test_stretches_of_a_molecule_that_starts_straight_have_the_temperature():
    assert abs(stretch_sigmas()) < 4.0


def test_a_bend_counted_twice_heats_the_stretches(monkeypatch):
    monkeypatch.setattr("toolkit.md.start.degrees_of_freedom", lambda atoms, ensemble: 4)
    assert stretch_sigmas() > 4.0


@pytest.mark.parametrize(("atoms", "expected"), [(CO2, 3), (ACETYLENE, 6), (Atoms("CO", CO2.positions[:2]), 1)])
def test_first_velocities_hold_as_much_as_is_counted(atoms, expected):
    count = 20_000
    assert degrees_of_freedom(atoms, "nve") == expected
    positions = torch.tensor(atoms.positions).expand(count, -1, -1)
    masses = inertial_masses(atoms, torch.device("cpu"))
    temperatures = torch.full((count,), TEMPERATURE_K, dtype=torch.float64)
    velocities = initial_velocities(atoms, positions, masses, "nve", temperatures, torch.Generator().manual_seed(5))
    kinetic = 0.5 * (masses * velocities**2).sum(dim=(1, 2))
    assert abs(sigmas_from(kinetic.numpy(), 0.5 * expected * thermal_energy(TEMPERATURE_K))) < 4.0
    assert (masses * velocities).sum(dim=1).abs().max() < 1e-12
    arms = positions - (masses * positions).sum(dim=1, keepdim=True) / masses.sum()
    assert (masses * torch.linalg.cross(arms, velocities)).sum(dim=1).abs().max() < 1e-12


def test_a_straight_molecule_may_start_at_rest():
    run = simulate(ExternalField(springs_and_bend), CO2, MDConfig(ensemble="nve", temperature_K=0.0, steps=5, replicas=2))
    assert not run.breaks and np.isfinite(run.positions()).all() and np.abs(run.velocities()[0]).max() == 0.0


def test_one_free_atom_keeps_its_three_motions():
    run = simulate(ExternalField(free_field), Atoms("C", [[0.0, 0.0, 0.0]]), MDConfig(ensemble="nve", steps=2, seed=1))
    assert run.degrees_of_freedom == 3
