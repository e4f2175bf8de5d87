"""Replicas in one batch, with lists reused between steps, give what each structure gives by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from md_systems import argon, argon_potential
from toolkit.md import forces as module
from toolkit.md.forces import ReplicaForces
from toolkit.md.state import pad_atoms


def one_by_one(pot, atoms: Atoms, positions: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    results = []
    for x in positions.numpy():
        frame = atoms.copy()
        frame.positions = x
        results.append(pot.predict(frame))
    return np.asarray([r["energy"] for r in results]), np.stack([r["forces"] for r in results])


def cells_of(atoms: Atoms, replicas: int) -> torch.Tensor:
    return torch.as_tensor(atoms.cell.array).repeat(replicas, 1, 1)


@pytest.mark.parametrize("pbc", [True, False, (True, False, True)])
@pytest.mark.parametrize("all_pairs", [True, False])
def test_batch_with_reused_lists_is_each_structure_alone(pbc, all_pairs, monkeypatch):
    monkeypatch.setattr(module, "MAX_ALL_PAIRS", 64 if all_pairs else 0)
    atoms = argon(2)
    atoms.pbc = pbc
    pot = argon_potential(6.0)
    forces = ReplicaForces(pot, [atoms] * 3, skin=0.6)
    generator = torch.Generator().manual_seed(1)
    positions = torch.as_tensor(atoms.positions).repeat(3, 1, 1)
    for replicas in (3, 3, 3, 3, 3, 2, 2):  # moves, rebuilds of some, and a retirement
        if replicas < len(positions):
            forces.keep(torch.arange(len(positions)) != 1)
        positions = positions[:replicas]
        positions = positions + 0.12 * torch.rand(positions.shape, generator=generator, dtype=torch.float64)
        energies, pull, stress = forces(positions, cells_of(atoms, replicas))
        expected_energies, expected_forces = one_by_one(pot, atoms, positions)
        assert np.abs(pull.numpy() - expected_forces).max() < 1e-12 < np.abs(expected_forces).max()
        assert np.abs(energies.numpy() - expected_energies).max() < 1e-11
        fresh = ReplicaForces(pot, [atoms] * replicas, skin=0.3)(positions, cells_of(atoms, replicas))
        assert torch.equal(fresh[0], energies) and torch.equal(fresh[1], pull)  # the age of a list changes no bit
        assert not stress.any()


def test_lists_are_reused_and_only_moved_replicas_rebuilt(monkeypatch):
    searches = []
    original = module.neighbor_list
    monkeypatch.setattr(module, "neighbor_list", lambda *a: searches.append(1) or original(*a))
    atoms = argon(2)
    forces, cells = ReplicaForces(argon_potential(6.0), [atoms] * 3, skin=0.6), cells_of(atoms, 3)
    positions = torch.as_tensor(atoms.positions).repeat(3, 1, 1)
    forces(positions, cells)
    assert len(searches) == 3
    forces(positions + 0.1, cells)
    assert len(searches) == 3
    moved = positions.clone()
    moved[1, 5, 0] += 0.31
    forces(moved, cells)
    assert len(searches) == 4


def test_one_atom_and_a_dimer_out_of_reach():
    pot = argon_potential(6.0)
    for atoms in (Atoms("Ar", positions=[[0, 0, 0]]), Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 9.0]])):
        energies, pull, _ = ReplicaForces(pot, [atoms], 0.5)(torch.as_tensor(atoms.positions)[None], cells_of(atoms, 1))
        assert float(energies[0]) == 0.0 and float(pull.abs().max()) == 0.0


def deformed(atoms: Atoms, positions: torch.Tensor, cell: torch.Tensor) -> Atoms:
    frame = atoms.copy()
    frame.set_cell(cell.numpy())
    frame.positions = positions.numpy()
    return frame


def test_lists_follow_cells_that_change():
    atoms, pot = argon(2), argon_potential(6.0)
    forces = ReplicaForces(pot, [atoms] * 2, skin=0.6, stress=True)
    searches = []
    original = forces._search
    forces._search = lambda *a: searches.append(a[0]) or original(*a)
    positions, cells = torch.as_tensor(atoms.positions).repeat(2, 1, 1), cells_of(atoms, 2)
    generator = torch.Generator().manual_seed(3)
    for _ in range(12):
        strains = torch.stack([0.004 * torch.ones(3, 3), -0.008 * torch.eye(3)])  # one for each replica
        shear = torch.eye(3, dtype=torch.float64) + strains
        positions, cells = positions @ shear, cells @ shear
        positions = positions + 0.02 * torch.rand(positions.shape, generator=generator, dtype=torch.float64)
        energies, pull, stress = forces(positions, cells)
        for r in range(2):
            expected = pot.predict(deformed(atoms, positions[r], cells[r]))
            assert float(energies[r]) == pytest.approx(expected["energy"], abs=1e-11)
            assert np.abs(pull[r].numpy() - expected["forces"]).max() < 1e-12
            assert np.abs(stress[r].numpy() - expected["stress"]).max() < 1e-13 < np.abs(stress[r].numpy()).max()
    assert 2 < len(searches) < 24 and set(searches) == {0, 1}  # reused, and rebuilt in time


def test_systems_of_different_size_share_a_batch():
    pot = argon_potential(6.0)
    systems = [argon(1), Atoms("Ar3", positions=[[0, 0, 0], [0, 0, 3.8], [0, 3.7, 0]]), argon(2)]
    forces = ReplicaForces(pot, systems, skin=0.5)
    positions = pad_atoms([torch.as_tensor(atoms.positions)[None] for atoms in systems])
    cells = torch.as_tensor(np.stack([atoms.cell.array for atoms in systems]))
    for kept in ([0, 1, 2], [0, 1]):
        if len(kept) < 3:
            forces.keep(torch.tensor([True, True, False]))
        energies, pull, _ = forces(positions[kept], cells[kept])
        for row, system in enumerate(kept):
            expected, n = pot.predict(systems[system]), len(systems[system])
            assert float(energies[row]) == pytest.approx(expected["energy"], abs=1e-12)
            assert np.abs(pull[row, :n].numpy() - expected["forces"]).max() < 1e-13 < np.abs(expected["forces"]).max()
            assert not pull[row, n:].any()
