"""g(r) of an ideal gas and of fcc, and distances in molecules, all known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule
from scipy.spatial.distance import pdist

from toolkit.analysis.rdf import radial_distribution
from toolkit.errors import DataError


def gas(frames: int, atoms: int, cell: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((frames, atoms, 3)) @ cell


def test_ideal_gas_is_one_also_beyond_half_a_skewed_cell():
    cell = np.array([[6.0, 0.0, 0.0], [1.5, 7.0, 0.0], [-1.0, 2.0, 6.5]])
    atoms = 40
    numbers = np.repeat([1, 8], atoms // 2)
    found = radial_distribution(gas(400, atoms, cell, 1), numbers, cell, r_max=5.5, bin_width=0.25)
    assert found.pairs == ("total", "H-H", "H-O", "O-O") and found.num_frames == 400 and found.periodic
    outer = found.r_A > 1.0
    for row, expected in enumerate([1 - 1 / atoms, 1 - 2 / atoms, 1.0, 1 - 2 / atoms]):
        sigmas = (found.values[row] - expected) / found.stderr[row]
        own_images = found.r_A > 5.9  # an atom meets its own images at the lattice vectors, the shortest 6 Å
        assert np.abs(sigmas[outer & ~own_images]).max() < 4.5
        assert np.sqrt(np.mean(sigmas[outer & ~own_images] ** 2)) < 1.7
        assert found.values[row][outer].mean() == pytest.approx(expected, abs=0.01)


def test_fcc_shells_and_coordination_numbers():
    a = 4.05
    atoms = bulk("Al", "fcc", a=a, cubic=True)
    found = radial_distribution(atoms.positions[None], atoms.numbers, atoms.cell.array, r_max=6.8, bin_width=0.01)
    peaks = found.r_A[found.of("Al-Al") > 0]
    shells = a * np.sqrt([0.5, 1.0, 1.5, 2.0, 2.5])
    assert len(peaks) == 5 and np.abs(peaks - shells).max() < 0.0051
    coordination = found.coordination[found.pairs.index("Al-Al")]
    between = np.searchsorted(found.r_A, shells + 0.2)
    assert np.allclose(coordination[between], np.cumsum([12, 6, 24, 12, 24]))
    primitive = bulk("Al", "fcc", a=a)  # one atom: only its images
    single = radial_distribution(primitive.positions[None], primitive.numbers, primitive.cell.array, 6.8, 0.01)
    assert np.allclose(single.values, found.values)


def test_rock_salt_by_element():
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    found = radial_distribution(atoms.positions[None], atoms.numbers, atoms.cell.array, 4.5, 0.02)
    at = {pair: found.coordination[found.pairs.index(pair)][np.searchsorted(found.r_A, 4.2)] for pair in found.pairs}
    assert at == pytest.approx({"total": 18.0, "Na-Na": 12.0, "Na-Cl": 6.0, "Cl-Cl": 12.0})
    assert np.array_equal(found.of("Cl-Na"), found.of("Na-Cl"))


@pytest.mark.parametrize(("atoms", "shells"), [
    (graphene("C2", a=2.46, size=(2, 2, 1)), {1.42: 3, 2.46: 6, 2.84: 3, 3.76: 6, 4.26: 6}),
    (Atoms("C", [[0.3, -5.0, 9.0]], cell=[0.0, 0.0, 1.5], pbc=(False, False, True)), {1.5: 2, 3.0: 2, 4.5: 2})],
    ids=["graphene", "chain"])
def test_slabs_and_wires_meet_their_images_along_periodic_directions_only(atoms, shells):
    cell = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
    found = radial_distribution(atoms.positions[None], atoms.numbers, cell, r_max=4.8, bin_width=0.05)
    assert found.quantity == "neighbours per atom, 1/Å" and found.periodic
    between = np.searchsorted(found.r_A, np.array(list(shells)) + 0.1)
    assert np.allclose(found.coordination[found.pairs.index("C-C")][between], np.cumsum(list(shells.values())))
    assert np.allclose(np.cumsum(found.of("C-C")) * 0.05, found.coordination[found.pairs.index("C-C")])


def test_a_slab_counts_as_in_a_crystal_with_enough_vacuum():
    """Two elements, rough on both sides and not at the origin, with a cell that is oblique and left-handed."""
    cell = np.array([[1.0, 5.0, 0.0], [6.0, 0.5, 1.0], [0.0, 0.0, 0.0]])
    normal = np.cross(cell[0], cell[1]) / np.linalg.norm(np.cross(cell[0], cell[1]))
    frames = gas(20, 12, cell + 4.0 * np.eye(3)[2][:, None] * normal, 5) - 7.0 * normal
    found = radial_distribution(frames, np.repeat([6, 8], 6), cell, 5.0, 0.25)
    cell[2] = 12.0 * normal
    expected = radial_distribution(frames, np.repeat([6, 8], 6), cell, 5.0, 0.25)
    assert found.pairs == expected.pairs and found.coordination[0, -1] > 10.0
    assert np.allclose(found.coordination, expected.coordination)


def test_molecule_gives_a_normalised_distance_distribution():
    atoms = molecule("CH4")
    rng = np.random.default_rng(1)
    frames = atoms.positions + 0.01 * rng.standard_normal((50, 5, 3))
    found = radial_distribution(frames, atoms.numbers, None, 4.0, 0.02)
    assert found.pairs == ("total", "H-H", "H-C") and not found.periodic  # one carbon has no partner
    assert found.values.sum(axis=1) * 0.02 == pytest.approx(np.ones(3))
    assert found.r_A[np.argmax(found.of("C-H"))] == pytest.approx(1.09, abs=0.03)
    assert found.r_A[np.argmax(found.of("H-H"))] == pytest.approx(1.78, abs=0.03)
    assert found.coordination[:, -1] == pytest.approx([4.0, 3.0, 1.0])


def test_a_box_that_changes():
    """The same gas in boxes of two sizes, frame by frame; forgetting that the box changes is seen."""
    small, large = 6.0 * np.eye(3), 7.0 * np.eye(3)
    frames = np.concatenate([gas(200, 30, small, 3), gas(200, 30, large, 4)])
    cells = np.repeat([small, large], 200, axis=0)
    found = radial_distribution(frames, np.full(30, 6), cells, 5.0, 0.25)
    density = 0.5 * (30 / 6.0**3 + 30 / 7.0**3)  # what an atom sees, on average
    expected = (1 - 1 / 30) * density * 0.5 * (6.0**3 + 7.0**3) / 30
    assert found.values[0][4:].mean() == pytest.approx(expected, abs=0.01) and expected > 1.01
    chunks = (range(first, first + 50) for first in range(0, 400, 50))
    parts = [(frames[list(rows)], cells[list(rows)]) for rows in chunks]
    again = radial_distribution((part[0] for part in parts), np.full(30, 6), (part[1] for part in parts), 5.0, 0.25)
    assert np.allclose(again.values, found.values)
    wrong = radial_distribution(frames, np.full(30, 6), small, 5.0, 0.25)
    assert np.abs(wrong.values[0][4:].mean() - expected) > 0.03


def test_large_molecules_are_searched_by_tree_and_small_ones_pair_by_pair():
    frames = np.random.default_rng(8).uniform(0.0, 12.0, (3, 90, 3))
    found = radial_distribution(frames, np.full(90, 6), None, 5.0, 0.5)
    lengths = np.concatenate([pdist(frame) for frame in frames])
    expected = np.histogram(lengths, bins=np.arange(0.0, 5.1, 0.5))[0] / (len(lengths) * 0.5)
    assert np.allclose(found.values[0], expected)
    small = radial_distribution(frames[:, :40], np.full(40, 6), None, 5.0, 0.5)
    lengths = np.concatenate([pdist(frame[:40]) for frame in frames])
    assert np.allclose(small.values[0], np.histogram(lengths, bins=np.arange(0.0, 5.1, 0.5))[0] / (len(lengths) * 0.5))


def test_chunks_give_what_the_array_gives():
    frames = gas(30, 10, 5.0 * np.eye(3), 2)
    whole = radial_distribution(frames, np.full(10, 6), 5.0 * np.eye(3), 3.0)
    chunked = radial_distribution((frames[i:i + 7] for i in range(0, 30, 7)), np.full(10, 6), 5.0 * np.eye(3), 3.0)
    assert np.allclose(whole.values, chunked.values) and chunked.num_frames == 30
    one = radial_distribution(frames[:1], np.full(10, 6), 5.0 * np.eye(3), 3.0)
    assert np.isnan(one.stderr).all()


@pytest.mark.parametrize(("frames", "cell", "words"), [
    (np.zeros((0, 2, 3)), None, "no frames"),
    (np.full((1, 2, 3), np.nan), None, "all finite"),
    (np.zeros((1, 3, 3)), None, "shape"),
    (np.zeros((2, 3)), None, "shape"),
    (np.ones((1, 2, 3)), np.zeros((3, 3)), "without volume"),
])
def test_what_has_no_answer_is_refused(frames, cell, words):
    with pytest.raises(DataError, match=words):
        radial_distribution(frames, np.array([1, 1]), cell, 3.0)


def test_a_single_atom_has_no_distance():
    with pytest.raises(DataError, match="single atom"):
        radial_distribution(np.zeros((2, 1, 3)), np.array([18]), None, 3.0)


def test_unknown_pair_and_wrong_bins():
    found = radial_distribution(np.array([[[0.0, 0, 0], [0, 0, 1.0]]]), np.array([1, 1]), None, 3.0)
    with pytest.raises(DataError, match="'C-H'"):
        found.of("C-H")
    with pytest.raises(DataError, match="bin_width"):
        radial_distribution(np.zeros((1, 2, 3)), np.array([1, 1]), None, 3.0, bin_width=-1.0)


def test_a_planar_molecule_flown_apart_and_an_endless_cell_end_well() -> None:
    flat = np.array([[[0.0, 0.0, 0.0], [1.1, 0.0, 0.0], [2500.0, 900.0, 0.0]]])
    found = radial_distribution(flat, np.array([6, 8, 8]), None, 4.0, 0.1)
    assert found.values[0].argmax() == 11 and found.num_frames == 1
    with pytest.raises(DataError, match="too large for r_max"):
        radial_distribution(flat, np.array([6, 8, 8]), np.diag([1e5, 1e5, 50.0]), 4.0, 0.1)
