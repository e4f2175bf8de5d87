"""Bonds and rotatable bonds of known molecules, angles against ASE, and free energies sampled from known potentials."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from toolkit.analysis.bond_graph import find_bonds, neighboring_pairs, rotatable_torsions, torsion_of
from toolkit.analysis.internal_coordinates import AtomPaths, angles_deg, bond_lengths, torsions_deg
from toolkit.analysis.torsions import torsion_maps, torsion_profiles
from toolkit.data.formats import read_frames
from toolkit.errors import DataError
from toolkit.units import KB_EV_PER_K


def signed(degrees: float) -> float:
    """0 … 360° to −180 … 180°."""
    return (degrees + 180.0) % 360.0 - 180.0


def test_lengths_angles_and_signed_torsions_are_those_of_ase():
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=1)
    graph = find_bonds(atoms.numbers, atoms.positions)
    frames = atoms.positions[None]
    bonds, angles = graph.bonds(), graph.angles()
    assert len(bonds.atoms) == 8 and len(angles.atoms) == 13
    for path, length in zip(bonds.atoms, bond_lengths(bonds.points(frames))[0], strict=True):
        assert length == pytest.approx(atoms.get_distance(*path))
    for path, angle in zip(angles.atoms, angles_deg(angles.points(frames))[0], strict=True):
        assert angle == pytest.approx(atoms.get_angle(*path))
    chains = np.random.default_rng(1).permuted(np.tile(np.arange(9), (60, 1)), axis=1)[:, :4]
    found = torsions_deg(AtomPaths(chains, np.zeros((60, 4, 3))).points(frames))[0]
    expected = np.array([signed(atoms.get_dihedral(*chain)) for chain in chains])
    assert np.abs(found - expected).max() < 1e-6
    mirrored = torsions_deg(AtomPaths(chains, np.zeros((60, 4, 3))).points(frames * [1.0, 1.0, -1.0]))[0]
    assert np.allclose(mirrored, -found)  # the sign is real: a mirror image has the other one
    assert np.abs(found).max() > 90.0 and found.min() < 0.0 < found.max()


def test_torsions_near_cis_and_trans_keep_their_digits():
    for phi in (1e-5, 179.99999, -179.99999):
        turn = np.radians(phi)
        points = np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 1.0], [np.cos(turn), np.sin(turn), 1.0]])
        assert torsions_deg(points) == pytest.approx(phi, abs=1e-9)


@pytest.mark.parametrize(("name", "expected"), [
    ("trans-butane", {"H4-C0-C1-C2": True, "C0-C1-C2-C3": False, "C1-C2-C3-H5": True}),
    ("H2O2", {"H2-O0-O1-H3": False}), ("butadiene", {"C0-C1-C2-C3": False}), ("C2H4", {}), ("C6H6", {}),
    ("cyclobutane", {}), ("CH3CN", {}), ("H2O", {}), ("Ar", {}),
    ("HCOOCH3", {"O1-C0-O2-C4": False, "C0-O2-C4-H5": True}),
])
def test_rotatable_bonds(name, expected):
    """Neither rings nor double bonds nor linear ends nor terminal atoms; methyl groups are flagged."""
    atoms = Atoms("Ar") if name == "Ar" else molecule(name)
    found = rotatable_torsions(find_bonds(atoms.numbers, atoms.positions), atoms.positions[None])
    assert dict(zip(found.names, found.is_methyl.tolist(), strict=True)) == expected


def test_aspirin_has_four_rotors_and_a_methyl_group():
    frames = read_frames("embedded:aspirin").frames
    positions = np.array([atoms.positions for atoms in frames[:50]])
    found = rotatable_torsions(find_bonds(frames[0].numbers, positions[0]), positions)
    middles = [tuple(atoms[1:3]) for atoms in found.paths.atoms.tolist()]
    assert middles == [(0, 6), (1, 11), (6, 10), (7, 8), (7, 11)]
    assert found.is_methyl.tolist() == [False, False, False, True, False]
    assert neighboring_pairs(found) == [(0, 2), (1, 4)]


def test_bonds_across_the_boundary_are_whole():
    atoms = molecule("trans-butane")
    whole = rotatable_torsions(find_bonds(atoms.numbers, atoms.positions), atoms.positions[None])
    cell = 9.0 * np.eye(3)
    atoms.set_cell(cell)
    atoms.pbc = True
    atoms.positions += [8.0, 8.5, 0.3]
    atoms.wrap()
    graph = find_bonds(atoms.numbers, atoms.positions, cell)
    split = rotatable_torsions(graph, atoms.positions[None])
    assert split.names == whole.names and np.abs(split.paths.offsets).max() == 9.0
    angles = torsions_deg(split.paths.points(atoms.positions[None]))
    assert np.allclose(angles, torsions_deg(whole.paths.points(molecule("trans-butane").positions[None])))
    assert bond_lengths(graph.bonds().points(atoms.positions[None])).max() < 1.6
    naive = AtomPaths(graph.bonds().atoms, np.zeros_like(graph.bonds().offsets))
    assert bond_lengths(naive.points(atoms.positions[None])).max() > 7.0


def test_a_crystal_of_one_or_two_atoms_bonded_to_their_images():
    diamond = bulk("C", "diamond", a=3.57)
    graph = find_bonds(diamond.numbers, diamond.positions, diamond.cell.array)
    assert len(graph.bonds().atoms) == 4 and len(graph.angles().atoms) == 12
    angles = angles_deg(graph.angles().points(diamond.positions))
    assert angles == pytest.approx(np.full(12, 109.4712), abs=1e-3)
    chain = np.diag([1.3, 0.0, 0.0])
    assert len(find_bonds([6], np.zeros((1, 3)), chain).bonds().atoms) == 1
    assert rotatable_torsions(graph, diamond.positions[None]).names == ()


def test_a_torsion_by_its_atoms():
    atoms = molecule("H2O2")
    graph = find_bonds(atoms.numbers, atoms.positions)
    assert torsions_deg(torsion_of(graph, (2, 0, 1, 3)).points(atoms.positions)) == pytest.approx(121.025, abs=1e-3)
    for wrong in ((2, 1, 0, 3), (2, 0, 1, 9)):
        with pytest.raises(DataError, match="not bonded"):
            torsion_of(graph, wrong)


BARRIER_EV, TEMPERATURE_K = 0.08, 300.0


def sampled(rng: np.random.Generator, samples: int, temperature_K: float = TEMPERATURE_K) -> np.ndarray:
    """Angles, degrees, from exp(−V/kT) with V = ½ barrier (1 + cos 3φ) + 0.01 eV sin φ, by inversion."""
    grid = np.linspace(-180.0, 180.0, 20_001)
    weight = np.exp(-potential(grid) / (KB_EV_PER_K * temperature_K))
    cumulated = np.concatenate([[0.0], np.cumsum(0.5 * (weight[1:] + weight[:-1]))])
    return np.interp(rng.random(samples) * cumulated[-1], cumulated, grid)


def potential(angle_deg: np.ndarray) -> np.ndarray:
    phi = np.radians(angle_deg)
    return 0.5 * BARRIER_EV * (1.0 + np.cos(3.0 * phi)) + 0.01 * np.sin(phi)


def test_free_energy_of_a_known_potential():
    angles = sampled(np.random.default_rng(5), 400_000)
    found = torsion_profiles(angles[:, None], TEMPERATURE_K)
    expected = potential(found.angle_deg)
    difference = found.free_energy_eV[0] - (expected - expected.min())
    difference -= np.median(difference)  # the zero is one noisy bin
    scaled = difference / found.free_energy_stderr_eV[0]
    assert 0.7 < scaled.std() < 1.5
    assert found.free_energy_stderr_eV[0].max() < 0.05 * BARRIER_EV < 0.5 * found.free_energy_eV[0].max()
    assert found.probability.sum() * 5.0 == pytest.approx(1.0)
    wrong = torsion_profiles(angles[:, None], 2.0 * TEMPERATURE_K).free_energy_eV[0] - (expected - expected.min())
    assert np.abs(wrong - np.median(wrong)).max() > 10.0 * found.free_energy_stderr_eV[0].max()
    turned = torsion_profiles(-angles[:, None], TEMPERATURE_K).free_energy_eV[0] - (expected - expected.min())
    assert ((turned - np.median(turned)) / found.free_energy_stderr_eV[0]).std() > 3.0  # a wrong sign is seen


def test_maps_of_two_torsions():
    rng = np.random.default_rng(6)
    first = sampled(rng, 100_000)
    angles = np.stack([first, sampled(rng, 100_000), np.where(first > 0.0, 60.0, -60.0)], axis=1)
    independent, coupled = torsion_maps(angles, [(0, 1), (0, 2)], TEMPERATURE_K, bins=12)
    single = torsion_profiles(angles[:, :2], TEMPERATURE_K, bins=12).probability
    assert np.allclose(independent.probability, np.outer(*single), atol=4.0 * np.sqrt(1e-5) * 1e-3)
    assert independent.probability.sum() * 30.0**2 == pytest.approx(1.0)
    assert np.allclose(coupled.probability.sum(axis=1) * 30.0, single[0])  # rows are the first angle
    assert np.isnan(coupled.free_energy_eV[:6, 6:]).all() and np.nanmin(coupled.free_energy_eV) == 0.0
    assert torsion_maps(angles, [], TEMPERATURE_K) == []


def test_what_has_no_distribution_is_refused():
    with pytest.raises(DataError, match="no frames"):
        torsion_profiles(np.zeros((0, 1)), 300.0)
    with pytest.raises(DataError, match="not finite"):
        torsion_profiles(np.full((3, 1), np.nan), 300.0)
