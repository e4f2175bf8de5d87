"""Neighbour lists: vesin does the search; here are the cases it does not take, the ordering, and skin reuse for MD."""

from __future__ import annotations

import numpy as np
import vesin
from ase.geometry import complete_cell

from toolkit.errors import DataError

MAX_EXTENT_A = 1e6


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
    box = _checked_cell(positions, cell, pbc)
    if len(positions) == 0 or (len(positions) == 1 and not pbc.any()):  # vesin divides by zero on empty input
        return np.zeros((2, 0), dtype=np.int64), np.zeros((0, 3), dtype=np.int64)
    search = vesin.NeighborList(cutoff=float(r_max), full_list=True, n_threads=1)
    i, j, shifts = search.compute(points=positions, box=box, periodic=pbc, quantities="ijS")
    edge_index = np.stack([i, j]).astype(np.int64)
    shifts = shifts.astype(np.int64)
    order = np.lexsort((shifts[:, 2], shifts[:, 1], shifts[:, 0], edge_index[1], edge_index[0]))
    return np.ascontiguousarray(edge_index[:, order]), np.ascontiguousarray(shifts[order])


def _checked_cell(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    if not np.isfinite(positions).all():
        raise DataError("found positions that are NaN or infinite, expected finite coordinates in Å",
                        "look at the frame: a simulation that blew up or a damaged file")
    if positions.size and np.abs(positions).max() > MAX_EXTENT_A:
        raise DataError(f"found a coordinate of {np.abs(positions).max():.3g} Å, expected at most {MAX_EXTENT_A:.0e} Å",
                        "an atom has flown away or the length unit is wrong")
    if not pbc.any():
        return np.zeros((3, 3))
    cell = np.asarray(cell, dtype=np.float64).reshape(3, 3)
    if not np.isfinite(cell).all() or (np.linalg.norm(cell[pbc], axis=1) < 1e-6).any():
        raise DataError(f"found pbc {pbc.tolist()} with the cell {cell.tolist()}, expected a non-zero vector along "
                        "each periodic direction", "set the cell or switch pbc off")
    usable = np.where(pbc[:, None], cell, _open_rows(cell, pbc))
    box = complete_cell(usable)
    if abs(np.linalg.det(box)) < 1e-9 * np.prod(np.linalg.norm(box, axis=1)):
        raise DataError(f"found linearly dependent cell vectors {cell.tolist()}", "correct the cell")
    return np.ascontiguousarray(box)


def _open_rows(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Non-periodic cell rows, zeroed (for completion) when they do not span space together with the others."""
    spans = abs(np.linalg.det(cell)) > 1e-9 * max(np.prod(np.linalg.norm(cell, axis=1)), 1e-300)
    return cell if spans else np.zeros((3, 3))


class SkinNeighborList:
    """A list built with r_max + skin and reused until some atom has moved by half the skin (Verlet 1967).

    `update` returns exactly what `neighbor_list(…, r_max)` would, in the same order, so reuse changes no result.
    """

    def __init__(self, cell: np.ndarray, pbc: np.ndarray, r_max: float, skin: float) -> None:
        self._cell = np.asarray(cell, dtype=np.float64)
        self._pbc = np.asarray(pbc, dtype=bool)
        self._r_max = float(r_max)
        self._skin = float(skin)
        self._reference: np.ndarray | None = None
        self._edges = np.zeros((2, 0), dtype=np.int64)
        self._shifts = np.zeros((0, 3), dtype=np.int64)
        self.num_builds = 0

    def update(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The list (edge_index, shifts) at these positions (N, 3), Å."""
        if self._reference is None or self._moved(positions):
            self._edges, self._shifts = neighbor_list(positions, self._cell, self._pbc, self._r_max + self._skin)
            self._reference = positions.copy()
            self.num_builds += 1
        vectors = positions[self._edges[1]] - positions[self._edges[0]] + self._shifts @ self._cell
        inside = np.einsum("ea,ea->e", vectors, vectors) < self._r_max**2
        return self._edges[:, inside], self._shifts[inside]

    def _moved(self, positions: np.ndarray) -> bool:
        step = positions - self._reference
        return not float(np.einsum("na,na->n", step, step).max()) <= (0.5 * self._skin) ** 2
