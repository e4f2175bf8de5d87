"""Neighbour lists: vesin does the search; here are the cases it does not take, and the ordering."""

from __future__ import annotations

from itertools import product

import numpy as np
import vesin
from ase.geometry import complete_cell
from scipy.spatial import cKDTree

from toolkit.errors import DataError

MAX_EXTENT_A = 1e6
MAX_DENSITY = 10.0
"""Atoms per Å³ above which a structure is a mistake (diamond has 0.18): its neighbours would not fit in memory."""

MAX_GRID_CELLS = 9e4
"""vesin 0.6 merges the cells of its grid above 1e5 and divides by zero when the box is flat or long."""


def neighbor_list(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray,
                  r_max: float) -> tuple[np.ndarray, np.ndarray]:
    """All directed pairs closer than r_max, self-images included, sorted by (i, j, shift).

    positions : (N, 3), Å;  cell : (3, 3), rows, Å;  pbc : (3,), bool;  r_max : Å
    Returns edge_index (2, E) int64 with row 0 = centre i, row 1 = neighbour j, and integer shifts (E, 3) int64, so that
    the pair's vector is positions[j] − positions[i] + shifts @ cell. Any pbc mask, skewed, left-handed and small
    cells, and atoms outside the cell are right. Raises DataError for positions or cells without a meaning.
    """
    positions = np.ascontiguousarray(positions, dtype=np.float64)
    pbc = np.asarray(pbc, dtype=bool)
    _check_positions(positions)
    if len(positions) == 0 or (len(positions) == 1 and not pbc.any()):  # vesin divides by zero on empty input
        return np.zeros((2, 0), dtype=np.int64), np.zeros((0, 3), dtype=np.int64)
    box, inside = _box(positions, cell, pbc, r_max)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(box), axis=0)
    if np.prod(np.maximum(heights / r_max, 1.0)) > MAX_GRID_CELLS:
        i, j, shifts = _tree_search(inside, box, pbc, r_max)
    else:
        search = vesin.NeighborList(cutoff=float(r_max), full_list=True, n_threads=1)
        i, j, shifts = search.compute(points=inside, box=box, periodic=pbc, quantities="ijS")
    edge_index = np.stack([i, j]).astype(np.int64)
    shifts = shifts.astype(np.int64)
    order = np.lexsort((shifts[:, 2], shifts[:, 1], shifts[:, 0], edge_index[1], edge_index[0]))
    return np.ascontiguousarray(edge_index[:, order]), np.ascontiguousarray(shifts[order])


def _check_positions(positions: np.ndarray) -> None:
    if not np.isfinite(positions).all():
        raise DataError("found positions that are NaN or infinite, expected finite coordinates in Å",
                        "look at the frame: a simulation that blew up or a damaged file")
    if positions.size and np.abs(positions).max() > MAX_EXTENT_A:
        raise DataError(f"found a coordinate of {np.abs(positions).max():.3g} Å, expected at most {MAX_EXTENT_A:.0e} Å",
                        "an atom has flown away or the length unit is wrong")


def _box(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, r_max: float) -> tuple[np.ndarray, np.ndarray]:
    """A box (3, 3) and positions (N, 3) that lie within it along open directions.

    Periodic rows are the cell's; open rows are normal to them and as long as the structure (shifts along them are zero,
    so their direction is free). Raises DataError for cells without a meaning.
    """
    cell = np.where(pbc[:, None], np.asarray(cell, dtype=np.float64).reshape(3, 3), 0.0)
    lengths = np.linalg.norm(cell[pbc], axis=1)
    if not np.isfinite(cell).all() or (lengths < 1e-6).any() or (lengths > MAX_EXTENT_A).any():
        raise DataError(f"found pbc {pbc.tolist()} with the cell {cell.tolist()}, expected a non-zero vector of at most "
                        f"{MAX_EXTENT_A:.0e} Å along each periodic direction", "set the cell or switch pbc off")
    box = complete_cell(cell)
    if abs(np.linalg.det(box)) < 1e-9 * np.prod(np.linalg.norm(box, axis=1)):
        raise DataError(f"found linearly dependent cell vectors {cell.tolist()}", "correct the cell")
    along = positions @ np.linalg.inv(box)
    extent = np.where(pbc, 1.0, np.maximum(np.ptp(along, axis=0), r_max))
    origin = np.where(pbc, 0.0, along.min(axis=0)) @ box
    box = np.ascontiguousarray(box * extent[:, None])
    if pbc.any() and len(positions) > MAX_DENSITY * abs(np.linalg.det(box)):
        raise DataError(f"found {len(positions)} atoms in {abs(np.linalg.det(box)):.3g} Å³, expected at most "
                        f"{MAX_DENSITY:.0f} atoms per Å³", "the cell is too small or in another length unit")
    return box, positions - origin


def _tree_search(positions: np.ndarray, box: np.ndarray, pbc: np.ndarray,
                 r_max: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same pairs from a k-d tree over explicit periodic images: slower than vesin, right for boxes of any shape."""
    inverse = np.linalg.inv(box)
    along = positions @ inverse
    home = np.where(pbc, np.floor(along), 0.0)
    along = along - home
    margin = np.where(pbc, r_max * np.linalg.norm(inverse, axis=0), np.inf)
    reach = np.where(pbc, np.ceil(margin), 0.0).astype(int)
    owners, offsets = [], []
    for shift in product(*(range(-n, n + 1) for n in reach)):
        near = np.flatnonzero(((along + shift > -margin) & (along + shift < 1.0 + margin)).all(axis=1))
        owners.append(near)
        offsets.append(np.broadcast_to(np.array(shift, dtype=np.float64), (len(near), 3)))
    owner, offset = np.concatenate(owners), np.concatenate(offsets)
    tree, images = cKDTree(along @ box), cKDTree((along[owner] + offset) @ box)
    pairs = tree.sparse_distance_matrix(images, r_max, output_type="coo_matrix")
    i, j = pairs.row, owner[pairs.col]
    shifts = offset[pairs.col] + home[i] - home[j]
    other = (i != j) | offset[pairs.col].any(axis=1)
    return i[other], j[other], shifts[other]
