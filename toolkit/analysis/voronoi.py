"""Voronoi statistics through freud: index, volume and number of faces of every cell, and its bond-orientational order.

The index ⟨n3 n4 n5 n6⟩ counts faces with three, four, five and six edges: bcc is ⟨0 6 0 8⟩, fcc ⟨0 12 0 0⟩, an
icosahedron ⟨0 0 12 0⟩ (Finney, Proc. R. Soc. A 319, 479 (1970)). Order q6 with neighbours weighted by the area of
their face: Mickel et al., J. Chem. Phys. 138, 044501 (2013).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Legendre

from toolkit.analysis.blocks import MIN_SAMPLES, block_mean, correlated_mean
from toolkit.errors import DataError

SMALL_FACE = 0.005
"""Where many corners meet, as in fcc, any small displacement opens faces below this share of the surface of a cell."""
SAME_CORNER = 1e-3
"""Corners nearer than this, in cube roots of the volume of their cell, are one: freud computes in float32."""
ICOSAHEDRON = (0, 0, 12, 0)
P6 = Legendre.basis(6)


@dataclass(frozen=True)
class VoronoiStatistics:
    """Means over atoms and frames with standard errors from the scatter of the frames (NaN for one frame), which allow
    for how long one frame remembers another from 4 frames on.

    indices : ⟨n3 n4 n5 n6⟩ -> share of the atoms, the most frequent first
    """

    indices: dict[tuple[int, int, int, int], float]
    faces: float
    faces_stderr: float
    q6: float
    q6_stderr: float
    icosahedral: float
    icosahedral_stderr: float
    num_cells: int


def voronoi_statistics(frames: Iterable[tuple[np.ndarray, np.ndarray]],
                       small_face: float = SMALL_FACE) -> VoronoiStatistics:
    """Statistics of the Voronoi cells of all atoms.

    frames : positions (N, 3), Å, and cell (3, 3), rows, Å, of each frame in order of time, periodic along all three
    small_face : share of the surface of a cell below which a face is not counted
    Raises DataError when there are no frames.
    """
    counts: Counter[tuple[int, int, int, int]] = Counter()
    rows = []
    for positions, cell in frames:
        indices, faces, q6 = _cells(np.asarray(positions, np.float64), np.asarray(cell, np.float64), small_face)
        counts.update(indices)
        rows.append([faces.mean(), q6.mean(), np.mean([index == ICOSAHEDRON for index in indices])])
    if not rows:
        raise DataError("found no frames, expected at least one")
    (faces, q6, icosahedral), errors = _mean(np.array(rows))
    shares = {index: count / counts.total() for index, count in counts.most_common()}
    return VoronoiStatistics(shares, float(faces), float(errors[0]), float(q6), float(errors[1]), float(icosahedral),
                             float(errors[2]), counts.total())


def _mean(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of the columns of a series (T, K) and their standard errors."""
    mean, errors = block_mean(rows)
    if len(rows) >= MIN_SAMPLES:
        errors = np.array([correlated_mean(column).stderr for column in rows.T])
    return mean, errors


def _cells(positions: np.ndarray, cell: np.ndarray,
           small_face: float) -> tuple[list[tuple[int, int, int, int]], np.ndarray, np.ndarray]:
    """Index, number of faces and q6 of the cell of each atom."""
    import freud  # here, because it brings matplotlib along: a second that nobody else should wait for

    turned, lower = np.linalg.qr(cell.T)  # freud wants the first vector along x, the second in the xy plane
    turned, lower = turned * np.sign(np.diag(lower)), lower * np.sign(np.diag(lower))[:, None]
    box = freud.box.Box.from_matrix(lower)
    points = box.wrap(positions @ turned)
    voronoi = freud.locality.Voronoi().compute((box, points))
    neighbors = voronoi.nlist
    surface = np.bincount(neighbors.query_point_indices, neighbors.weights, len(points))
    neighbors.filter(neighbors.weights > small_face * surface[neighbors.query_point_indices])
    ends = np.cumsum(neighbors.neighbor_counts)[:-1]
    vectors = np.split(np.asarray(neighbors.vectors, dtype=np.float64), ends)
    q6 = np.array([_q6(around, areas) for around, areas in zip(vectors, np.split(neighbors.weights, ends), strict=True)])
    corners = zip(voronoi.polytopes, voronoi.volumes, vectors, points, strict=True)
    indices = [_index(np.asarray(polytope, dtype=np.float64) - point, around, SAME_CORNER * volume ** (1.0 / 3.0))
               for polytope, volume, around, point in corners]
    return indices, np.asarray(neighbors.neighbor_counts), q6


def _q6(neighbors: np.ndarray, areas: np.ndarray) -> float:
    """√(4π/13 Σ_m |Σ w Y₆ₘ|²) of unit vectors with weights of sum 1, by the addition theorem Σ_ij w_i w_j P₆(u_i·u_j).

    freud's own wraps the vectors once more and is wrong in cells of few atoms. neighbors : (n, 3), Å;  areas : (n,)
    """
    units = neighbors / np.linalg.norm(neighbors, axis=1, keepdims=True)
    weights = np.asarray(areas, dtype=np.float64) / np.sum(areas, dtype=np.float64)
    return float(np.sqrt(max(weights @ P6(units @ units.T) @ weights, 0.0)))


def _index(corners: np.ndarray, neighbors: np.ndarray, tolerance: float) -> tuple[int, int, int, int]:
    """⟨n3 n4 n5 n6⟩: a face has as many edges as corners. corners (K, 3) and neighbours (n, 3) from the atom, Å."""
    near = np.linalg.norm(corners[:, None] - corners, axis=2) < tolerance
    corners = corners[~np.tril(near, -1).any(axis=1)]
    lengths = np.linalg.norm(neighbors, axis=1)
    heights = corners @ (neighbors / lengths[:, None]).T - 0.5 * lengths
    edges = (np.abs(heights) < tolerance).sum(axis=0)
    return tuple(int(np.count_nonzero(edges == n)) for n in (3, 4, 5, 6))
