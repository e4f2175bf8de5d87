"""How alike frames are: grouping comparable frames, features that ignore rotation, and nearest images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

MAX_COMPARED = 1000
"""Frames whose features are compared at a time."""

MAX_CHECKED = 50
"""Close frames, nearest first, that are looked at atom by atom."""

NUM_BLOCKS = 12
"""Dimensions of the k-d tree that looks for close frames."""


def comparable_groups(structures: Sequence[Atoms], frames: Iterable[int], *, any_cell: bool = False) -> list[list[int]]:
    """The given frames grouped by atomic numbers (in order), periodicity and, unless `any_cell`, cell; largest group first."""
    groups: dict[tuple[bytes, bytes, bytes], list[int]] = defaultdict(list)
    for t in frames:
        atoms = structures[t]
        cell = atoms.cell.array.round(6).tobytes() if atoms.pbc.any() and not any_cell else b""
        groups[(atoms.numbers.tobytes(), atoms.pbc.tobytes(), cell)].append(t)
    return sorted(groups.values(), key=len, reverse=True)


def nearest_image(displacements: np.ndarray, atoms: Atoms) -> np.ndarray:
    """Displacements (…, 3) moved by lattice vectors of `atoms` to fractional parts in −½ … ½, same length unit."""
    cell = complete_cell(atoms.cell.array)
    shifts = np.rint(displacements @ np.linalg.inv(cell)) * atoms.pbc
    return displacements - shifts @ cell


def unwrapped_positions(structures: Sequence[Atoms]) -> np.ndarray:
    """Positions (T, N, 3) of comparable frames, each atom at the image whose fractional coordinates, in the frame's own
    cell, are nearest to those that the first frame has."""
    positions = np.array([atoms.positions for atoms in structures])
    if not structures[0].pbc.any():
        return positions
    cells = np.array([complete_cell(atoms.cell.array) for atoms in structures])
    fractional = positions @ np.linalg.inv(cells)
    return positions - np.rint(fractional - fractional[0]) * structures[0].pbc @ cells


def periodic_cells(structures: Sequence[Atoms]) -> np.ndarray:
    """Lattice vectors (T, 3, 3) of comparable frames, zero where they do not repeat."""
    return np.array([atoms.cell.array * atoms.pbc[:, None] for atoms in structures])


def largest_difference(a: Atoms, b: Atoms) -> float:
    """How far the atoms of comparable frames are apart, a length: the largest difference of any interatomic distance in
    molecules; in periodic frames the longest displacement less the mean of all, or the longest of a lattice vector."""
    if not a.pbc.any():
        return float(np.abs(pdist(a.positions) - pdist(b.positions)).max(initial=0.0))
    first, second = unwrapped_positions([a, b])
    moved, strained = second - first, np.subtract(*periodic_cells([a, b]))
    return float(np.linalg.norm(np.concatenate([moved - moved.mean(axis=0), strained]), axis=1).max())


def frame_features(structures: Sequence[Atoms], positions: np.ndarray, max_atoms: int) -> np.ndarray:
    """Vectors (T, D) whose root-mean-square difference tells how far comparable frames are apart, a length.

    positions : (T, N, 3) from `unwrapped_positions`;  max_atoms : use so many atoms at most, evenly spaced in the list
    Interatomic distances for molecules, which do not change when a molecule turns; coordinates relative to their mean
    for periodic frames.
    """
    num_atoms = positions.shape[1]
    kept = positions[:, np.linspace(0, num_atoms - 1, min(num_atoms, max_atoms)).astype(int)]
    if structures[0].pbc.any():
        return (kept - kept.mean(axis=1, keepdims=True)).reshape(len(kept), -1)
    return np.array([pdist(frame) for frame in kept])


def close_frames(known: np.ndarray, asked: np.ndarray, tolerance: float,
                 same: Callable[[int, int], bool] = lambda a, b: True, *, earlier: bool = False) -> np.ndarray:
    """Which of `asked`, (T2, D), have features that differ by less than `tolerance` (root mean square) from those of one
    of `known`, (T1, D), for which `same(known, asked)` holds too; without comparing all.

    known, asked : from `frame_features`;  same : asked for the nearest few;  earlier : compare with those of a lower number
    Sums over blocks of features, each over the root of its length, never lie further apart than the features do (Cauchy
    and Schwarz), so a k-d tree over a few such sums finds every candidate.
    """
    num_features = known.shape[1]
    starts = np.unique(np.linspace(0, num_features, min(NUM_BLOCKS, num_features), endpoint=False).astype(int))
    roots = np.sqrt(np.diff([*starts, num_features]))
    few, asked_few = (np.add.reduceat(features, starts, axis=1) / roots for features in (known, asked))
    tree, radius, found = cKDTree(few), tolerance * np.sqrt(num_features), []
    for b, place in enumerate(asked_few):
        candidates = np.array(tree.query_ball_point(place, radius), dtype=int)
        candidates = candidates[candidates < b] if earlier else candidates
        parts = np.array_split(candidates, -(-len(candidates) // MAX_COMPARED) or 1)
        distances = np.concatenate([np.sqrt(np.mean((known[part] - asked[b]) ** 2, axis=1)) for part in parts])
        nearest = np.argsort(distances, kind="stable")[:MAX_CHECKED]
        if any(same(int(candidates[k]), b) for k in nearest if distances[k] < tolerance):
            found.append(b)
    return np.array(found, dtype=int)
