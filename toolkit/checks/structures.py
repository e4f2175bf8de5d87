"""Structures to test on when nobody gives any: a small molecule and a small skewed crystal of the model's elements, or
a crystal of the molecule that it is meant for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers as number_of
from ase.data import covalent_radii

SPREAD = 1.15
"""Distances between neighbours in units of the sum of their covalent radii."""
CONTACT_A = 2.5
"""Between the outermost atoms of neighbouring molecules in a crystal: hydrogens in touch."""


def random_molecule(species: Sequence[str], num_atoms: int = 8, seed: int = 0) -> Atoms:
    """A cluster without any symmetry: each atom sits at 1.15 times the bond length from an earlier one, none nearer."""
    rng = np.random.default_rng(seed)
    symbols = [species[k % len(species)] for k in range(num_atoms)]
    radii = np.array([covalent_radii[number_of[symbol]] for symbol in symbols])
    positions = np.zeros((1, 3))
    while len(positions) < num_atoms:
        k = len(positions)
        anchor = rng.integers(k)
        direction = rng.normal(size=3)
        distance = SPREAD * (radii[k] + radii[anchor]) / np.linalg.norm(direction)
        trial = positions[anchor] + distance * direction
        if (np.linalg.norm(positions - trial, axis=1) > 0.999 * SPREAD * (radii[:k] + radii[k])).all():
            positions = np.vstack([positions, trial])
    return Atoms(symbols, positions)


def random_crystal(species: Sequence[str], seed: int = 0) -> Atoms:
    """Four atoms in a skewed cell, rattled, without any symmetry: two body-centred cells side by side.

    Two of its lattice vectors are about 2.6 covalent radii long and so shorter than any usual cutoff.
    """
    rng = np.random.default_rng(seed)
    symbols = [species[k % len(species)] for k in range(4)]
    bond = 2.0 * SPREAD * max(covalent_radii[number_of[symbol]] for symbol in symbols)
    edge = 2.0 / np.sqrt(3.0) * bond
    cell = np.diag([2.0, 1.0, 1.0]) @ (np.eye(3) + rng.uniform(-0.12, 0.12, (3, 3))) * edge
    sites = np.array([[0.0, 0.0, 0.0], [0.25, 0.5, 0.5], [0.5, 0.0, 0.0], [0.75, 0.5, 0.5]])
    atoms = Atoms(symbols, scaled_positions=sites, cell=cell, pbc=True)
    atoms.positions += rng.normal(scale=0.04 * bond, size=(4, 3))
    return atoms


def molecular_crystal(molecule: Atoms, seed: int = 0) -> Atoms:
    """Copies of the molecule in a skewed cell, CONTACT_A apart along its axes: periodic, yet with no bond that the
    molecule has not. A cluster so small that a cell vector would be shorter than 3 Å gets 3 Å."""
    rng = np.random.default_rng(seed)
    edges = np.maximum(np.ptp(molecule.positions, axis=0) + CONTACT_A, 3.0)
    atoms = Atoms(molecule.numbers, molecule.positions, pbc=True)
    atoms.set_cell(np.diag(edges) @ (np.eye(3) + rng.uniform(-0.05, 0.05, (3, 3))))
    return atoms


def transformed(atoms: Atoms, matrix: np.ndarray) -> Atoms:
    """The structure with positions and cell mapped by x → Qx. matrix : (3, 3)"""
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ matrix.T)
    moved.positions = atoms.positions @ matrix.T
    return moved


def displaced(atoms: Atoms, coordinate: int, distance_A: float) -> Atoms:
    """The structure with one of its 3N coordinates moved."""
    moved = atoms.copy()
    moved.positions.flat[coordinate] += distance_A
    return moved


def companion(atoms: Atoms, seed: int = 0) -> Atoms:
    """Another structure of the same kind: one atom fewer (when there are two), the others rattled by 0.05 Å."""
    other = atoms[:max(1, len(atoms) - 1)]
    other.positions += np.random.default_rng(seed).normal(scale=0.05, size=other.positions.shape)
    return other
