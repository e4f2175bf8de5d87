"""Neighbour lists against ASE's own, for every periodicity and for awkward cells."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import primitive_neighbor_list

from toolkit.data.neighbors import neighbor_list
from toolkit.errors import DataError

MASKS = list(itertools.product([False, True], repeat=3))
SKEWED = np.array([[4.0, 0.3, 0.0], [1.9, 3.6, 0.2], [-0.8, 1.1, 5.0]])
CELLS = {
    "skewed": SKEWED,
    "left_handed": SKEWED[[1, 0, 2]],
    "tiny": 0.35 * SKEWED,
    "flat": np.array([[6.0, 0.0, 0.0], [5.5, 1.5, 0.0], [0.0, 0.0, 3.0]]),
    "needle": np.diag([1.1, 7.0, 7.0]),
}


def _pairs(edge_index: np.ndarray, shifts: np.ndarray) -> set[tuple[int, ...]]:
    rows = [(*edge, *shift) for edge, shift in zip(edge_index.T.tolist(), shifts.tolist(), strict=True)]
    assert len(set(rows)) == len(rows), "a pair is listed twice"
    return set(rows)


def _ase_pairs(atoms: Atoms, r_max: float) -> set[tuple[int, ...]]:
    i, j, shifts = primitive_neighbor_list("ijS", atoms.pbc, atoms.cell.array, atoms.positions, r_max,
                                           self_interaction=False)
    return _pairs(np.stack([i, j]), shifts)


def _frame(cell: np.ndarray, pbc: tuple[bool, ...], outside: float = 0.2) -> Atoms:
    rng = np.random.default_rng(7)
    return Atoms("C6", positions=rng.uniform(-outside, 1.0 + outside, (6, 3)) @ cell, cell=cell, pbc=pbc)


@pytest.mark.parametrize("pbc", MASKS, ids=str)
@pytest.mark.parametrize("cell", sorted(CELLS))
def test_same_pairs_as_ase(cell: str, pbc: tuple[bool, bool, bool]) -> None:
    atoms = _frame(CELLS[cell], pbc)
    found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 3.7)
    assert len(_ase_pairs(atoms, 3.7)) >= 4
    assert _pairs(*found) == _ase_pairs(atoms, 3.7)


@pytest.mark.parametrize("pbc", MASKS, ids=str)
@pytest.mark.parametrize("cell", sorted(CELLS))
def test_tree_search_gives_the_same_pairs(cell: str, pbc: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = _frame(CELLS[cell], pbc, outside=1.5)
    expected = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 3.7)
    monkeypatch.setattr("toolkit.data.neighbors.MAX_GRID_CELLS", 0.0)
    for mine, other in zip(neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 3.7), expected, strict=True):
        np.testing.assert_array_equal(mine, other)


SPREAD = {
    "planar fragments": ([[0, 0, 0], [2500, 0, 0], [0, 2500, 0], [1, 1, 0]], np.zeros(3), (False,) * 3, 2),
    "linear fragments": ([[0, 0, 0], [9e5, 0, 0], [0, 1, 0]], np.zeros(3), (False,) * 3, 2),
    "atom far above a slab": ([[0, 0, 0], [1, 1, 3e5], [1, 1, 1]], (9.0, 9.0, 9.0), (True, True, False), 2),
    "wide thin sheet": ([[0, 0, 0], [2499, 2499, 0], [1, 1, 0]], (2500.0, 2500.0, 0.0), (True, True, False), 6),
    "flat box": ([[0, 0, 0], [2499, 2499, 0]], (2500.0, 2500.0, 6.0), (True,) * 3, 2),
    "long wire": ([[0, 0, 0], [0, 0, 9e5]], (6.0, 6.0, 1e6), (True,) * 3, 0),
}
"""Positions, cell lengths, pbc and pairs within 5 Å for shapes on which vesin alone divides by zero or never ends."""


@pytest.mark.parametrize("case", sorted(SPREAD))
def test_shapes_that_break_a_cell_grid(case: str) -> None:
    positions, lengths, pbc, expected = SPREAD[case]
    edge_index, _ = neighbor_list(np.array(positions, float), np.diag(lengths), np.array(pbc), 5.0)
    assert edge_index.shape == (2, expected)


@pytest.mark.parametrize("pbc", MASKS, ids=str)
def test_vectors_are_short_symmetric_and_sorted(pbc: tuple[bool, bool, bool]) -> None:
    atoms = _frame(SKEWED, pbc)
    (i, j), shifts = neighbor_list(atoms.positions, SKEWED, atoms.pbc, 4.0)
    lengths = np.linalg.norm(atoms.positions[j] - atoms.positions[i] + shifts @ SKEWED, axis=1)
    assert len(i) > 0 and (lengths < 4.0).all() and (lengths > 0.0).all()
    rows = _pairs(np.stack([i, j]), shifts)
    assert {(b, a, -x, -y, -z) for a, b, x, y, z in rows} == rows
    assert sorted(rows) == [tuple(row) for row in np.column_stack([i, j, shifts]).tolist()]
    assert (shifts[:, ~np.array(pbc)] == 0).all()


def test_atoms_far_outside_the_cell() -> None:
    atoms = _frame(SKEWED, (True, True, True))
    inside = neighbor_list(atoms.positions, SKEWED, atoms.pbc, 3.7)
    cells_away = np.array([[57, 0, 0], [0, -31, 0], [0, 0, 12], [3, 3, 3], [0, 0, 0], [-99, 1, 0]])
    moved = atoms.positions + cells_away @ SKEWED
    outside = neighbor_list(moved, SKEWED, atoms.pbc, 3.7)
    for (i, j), shifts in (inside, outside):
        assert len(i) > 10
    distances = [np.sort(np.linalg.norm(p[j] - p[i] + s @ SKEWED, axis=1))
                 for p, ((i, j), s) in ((atoms.positions, inside), (moved, outside))]
    np.testing.assert_allclose(distances[0], distances[1], atol=1e-9)


def test_slab_with_a_zero_vector() -> None:
    slab = bulk("Cu", "fcc", a=3.6, cubic=True)
    slab.cell[2] = 0.0
    slab.pbc = (True, True, False)
    completed = slab.copy()
    completed.cell[2] = (0.0, 0.0, 50.0)
    found = neighbor_list(slab.positions, slab.cell.array, slab.pbc, 4.0)
    assert _pairs(*found) == _ase_pairs(completed, 4.0) != set()


def test_slab_whose_open_vector_lies_in_the_plane() -> None:
    slab = bulk("Cu", "fcc", a=3.6, cubic=True)
    slab.pbc = (True, True, False)
    expected = _ase_pairs(slab, 4.0)
    slab.cell[2] = slab.cell[0] + slab.cell[1]
    assert _pairs(*neighbor_list(slab.positions, slab.cell.array, slab.pbc, 4.0)) == expected


@pytest.mark.parametrize("num_atoms", [0, 1])
@pytest.mark.parametrize("pbc", [(False, False, False), (True, True, True)], ids=str)
def test_no_atoms_and_one_atom(num_atoms: int, pbc: tuple[bool, bool, bool]) -> None:
    edge_index, shifts = neighbor_list(np.zeros((num_atoms, 3)), 3.0 * np.eye(3), np.array(pbc), 3.5)
    expected = 6 if num_atoms and pbc[0] else 0
    assert edge_index.shape == (2, expected) and shifts.shape == (expected, 3)
    assert edge_index.dtype == shifts.dtype == np.int64


def test_dimer_beyond_the_cutoff_has_no_neighbors() -> None:
    positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 9.0]])
    edge_index, shifts = neighbor_list(positions, np.zeros((3, 3)), np.zeros(3, bool), 5.0)
    assert edge_index.shape == (2, 0) and shifts.shape == (0, 3)


BAD_STRUCTURES = {
    "nan": (np.array([[np.nan, 0.0, 0.0]]), np.eye(3), (True,) * 3, "NaN or infinite"),
    "flown away": (np.array([[1e7, 0.0, 0.0]]), np.eye(3), (False,) * 3, "coordinate of 1e\\+07"),
    "zero vector": (np.zeros((2, 3)), np.diag([3.0, 3.0, 0.0]), (True,) * 3,
                    "non-zero vector of at most 1e\\+06 Å along each periodic"),
    "endless cell": (np.zeros((2, 3)), np.diag([1e9, 5.0, 5.0]), (True,) * 3, "vector of at most 1e\\+06 Å"),
    "collapsed cell": (np.zeros((2, 3)), 0.01 * np.eye(3), (True,) * 3, "2 atoms in 1e-06 Å³, expected at most 10"),
    "nan cell": (np.zeros((2, 3)), np.full((3, 3), np.nan), (True,) * 3, "found pbc"),
    "singular": (np.zeros((2, 3)), np.array([[1.0, 0, 0], [2.0, 0, 0], [0, 0, 1.0]]), (True,) * 3,
                 "linearly dependent"),
}


@pytest.mark.parametrize("case", sorted(BAD_STRUCTURES))
def test_structures_without_a_meaning_are_refused(case: str) -> None:
    positions, cell, pbc, message = BAD_STRUCTURES[case]
    with pytest.raises(DataError, match=message):
        neighbor_list(positions, cell, np.array(pbc), 3.0)
