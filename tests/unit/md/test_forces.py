"""Replicas in one batch, with lists reused between steps, give what each structure gives by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from md_systems import argon, argon_potential
from toolkit.md import forces as module
from toolkit.md.forces import ReplicaForces


def one_by_one(pot, atoms: Atoms, positions: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    results = []
    for x in positions.numpy():
        frame = atoms.copy()
        frame.positions = x
        results.append(pot.predict(frame))
    return np.asarray([r["energy"] for r in results]), np.stack([r["forces"] for r in results])


@pytest.mark.parametrize("pbc", [True, False, (True, False, True)])
@pytest.mark.parametrize("all_pairs", [True, False])
def test_batch_with_reused_lists_is_each_structure_alone(pbc, all_pairs, monkeypatch):
    monkeypatch.setattr(module, "MAX_ALL_PAIRS", 64 if all_pairs else 0)
    atoms = argon(2)
    atoms.pbc = pbc
    pot = argon_potential(6.0)
    forces = ReplicaForces(pot, atoms, skin=0.6)
    generator = torch.Generator().manual_seed(1)
    positions = torch.as_tensor(atoms.positions).repeat(3, 1, 1)
    for replicas in (3, 3, 3, 3, 3, 2, 2):  # moves, rebuilds of some, and a retirement
        positions = positions[:replicas]
        positions = positions + 0.12 * torch.rand(positions.shape, generator=generator, dtype=torch.float64)
        energies, pull = forces(positions)
        expected_energies, expected_forces = one_by_one(pot, atoms, positions)
        assert np.abs(pull.numpy() - expected_forces).max() < 1e-12 < np.abs(expected_forces).max()
        assert np.abs(energies.numpy() - expected_energies).max() < 1e-11
        fresh = ReplicaForces(pot, atoms, skin=0.3)(positions)
        assert torch.equal(fresh[0], energies) and torch.equal(fresh[1], pull)  # the age of a list changes no bit


def test_lists_are_reused_and_only_moved_replicas_rebuilt(monkeypatch):
    searches = []
    original = module.neighbor_list
    monkeypatch.setattr(module, "neighbor_list", lambda *a: searches.append(1) or original(*a))
    atoms = argon(2)
    forces = ReplicaForces(argon_potential(6.0), atoms, skin=0.6)
    positions = torch.as_tensor(atoms.positions).repeat(3, 1, 1)
    forces(positions)
    assert len(searches) == 3
    forces(positions + 0.1)
    assert len(searches) == 3
    moved = positions.clone()
    moved[1, 5, 0] += 0.31
    forces(moved)
    assert len(searches) == 4


def test_one_atom_and_a_dimer_out_of_reach():
    pot = argon_potential(6.0)
    for atoms in (Atoms("Ar", positions=[[0, 0, 0]]), Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 9.0]])):
        energies, pull = ReplicaForces(pot, atoms, 0.5)(torch.as_tensor(atoms.positions)[None])
        assert float(energies[0]) == 0.0 and float(pull.abs().max()) == 0.0
