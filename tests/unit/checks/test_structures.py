"""Structures made from nothing but a list of elements."""

from __future__ import annotations

import numpy as np
import pytest
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from toolkit.checks.structures import CONTACT_A, companion, molecular_crystal, random_crystal, random_molecule

SPECIES = [("H",), ("H", "C", "O"), ("Cs", "Cl"), ("Si",), ("Fe", "O", "H", "N", "U")]


@pytest.mark.parametrize("species", SPECIES, ids="".join)
def test_molecules_have_bonds_and_no_clashes(species):
    atoms = random_molecule(species)
    assert set(atoms.get_chemical_symbols()) <= set(species)
    assert not atoms.pbc.any()
    scaled = _scaled_distances(atoms, False)
    assert scaled.min() > 1.1
    assert (scaled.min(axis=1) < 1.2).all()
    assert np.array_equal(atoms.positions, random_molecule(species).positions)


@pytest.mark.parametrize("species", SPECIES, ids="".join)
def test_crystals_are_small_skewed_and_open_enough(species):
    atoms = random_crystal(species)
    assert atoms.pbc.all()
    assert _scaled_distances(atoms, True).min() > 0.8
    assert abs(atoms.cell.angles() - 90.0).min() > 0.3
    radius = max(covalent_radii[atoms.numbers])
    assert sorted(atoms.cell.lengths())[1] < 3.2 * radius


def test_a_crystal_of_a_molecule_is_skewed_and_adds_contacts_but_no_bonds(ethanol):
    crystal = molecular_crystal(ethanol)
    assert crystal.pbc.all() and len(crystal) == len(ethanol)
    assert np.array_equal(crystal.positions, ethanol.positions)
    assert abs(crystal.cell.angles() - 90.0).min() > 0.3
    within, with_images = (np.sort(neighbor_list("d", atoms, 4.0)) for atoms in (ethanol, crystal))
    assert len(with_images) > len(within) + 20
    assert np.array_equal(with_images[with_images < 1.6], within[within < 1.6])


def test_a_crystal_of_one_atom_has_a_cell(ethanol):
    assert molecular_crystal(ethanol[:1]).cell.lengths().min() > 0.9 * max(CONTACT_A, 3.0)


def _scaled_distances(atoms, mic: bool) -> np.ndarray:
    radii = covalent_radii[atoms.numbers]
    scaled = atoms.get_all_distances(mic=mic) / (radii[:, None] + radii)
    np.fill_diagonal(scaled, np.inf)
    return scaled


def test_a_companion_is_another_structure(ethanol):
    other = companion(ethanol)
    assert len(other) == len(ethanol) - 1
    assert 0.01 < np.abs(other.positions - ethanol.positions[:-1]).max() < 0.3
    assert len(companion(ethanol[:1])) == 1
