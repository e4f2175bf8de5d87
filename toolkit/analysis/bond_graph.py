"""Who is bonded to whom, and which bonds can turn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import networkx
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.neighborlist import natural_cutoffs, neighbor_list

from toolkit.analysis.internal_coordinates import AtomPaths, angles_deg, bond_lengths
from toolkit.errors import DataError

BOND_TOLERANCE = 1.25
"""Two atoms are bonded when closer than this times the sum of their covalent radii (`ase.data.covalent_radii`): wide
enough for a bond that a hot frame caught stretched, and short of any hydrogen bond."""
DOUBLE_BOND = 0.90
"""Bonds shorter than this times the sum of the radii do not turn: C=C has 0.88, an amide 0.92, a single bond 1.0."""
LINEAR_DEG = 170.0
"""An end whose neighbours lie in line with the bond (alkynes, nitriles) has no torsion angle."""


@dataclass(frozen=True)
class BondGraph:
    """Covalent bonds of N atoms, each in both directions.

    atomic_numbers : (N,);  i, j : (B,), B directed bonds;  offsets : (B, 3), Å, to be added to the position of j when
        the bond crosses the boundary of the cell
    """

    atomic_numbers: np.ndarray
    i: np.ndarray
    j: np.ndarray
    offsets: np.ndarray

    @cached_property
    def neighbors(self) -> list[list[tuple[int, np.ndarray]]]:
        """For each atom its bonded atoms and their offsets (3,), Å."""
        lists: list[list[tuple[int, np.ndarray]]] = [[] for _ in self.atomic_numbers]
        for i, j, offset in zip(self.i.tolist(), self.j.tolist(), self.offsets, strict=True):
            lists[i].append((j, offset))
        return lists

    def bonds(self) -> AtomPaths:
        """All bonds once (i ≤ j), as paths of two atoms."""
        half = np.array([tuple(offset) > (0.0, 0.0, 0.0) for offset in self.offsets], dtype=bool)
        once = (self.i < self.j) | ((self.i == self.j) & half)
        offsets = np.stack([np.zeros_like(self.offsets[once]), self.offsets[once]], axis=1)
        return AtomPaths(np.stack([self.i[once], self.j[once]], axis=1), offsets)

    def angles(self) -> AtomPaths:
        """All angles i–j–k between two bonds of an atom j, as paths of three atoms."""
        found = [((i, j, k), (first, np.zeros(3), second)) for j, around in enumerate(self.neighbors)
                 for (i, first), (k, second) in combinations(around, 2)]
        return AtomPaths.stack(found, length=3)

    def label(self, atoms: np.ndarray) -> str:
        """Atoms by element and index, such as "C0-C1-O4"."""
        return "-".join(f"{chemical_symbols[self.atomic_numbers[a]]}{a}" for a in atoms)


@dataclass(frozen=True)
class Torsions:
    """K rotatable bonds, each with the four atoms that measure it.

    names : such as "C0-C1-O4-H9";  paths : the four atoms;  is_methyl : (K,), whether one end is a CH₃ group, whose
        torsion has three equal wells
    """

    names: tuple[str, ...]
    paths: AtomPaths
    is_methyl: np.ndarray


def find_bonds(atomic_numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray | None = None) -> BondGraph:
    """Bonds from covalent radii in one frame.

    positions : (N, 3), Å;  cell : (3, 3), rows, Å, periodic along all non-zero rows, or None
    """
    atoms = Atoms(atomic_numbers, positions, cell=cell, pbc=False if cell is None else np.any(cell, axis=1))
    i, j, shifts = neighbor_list("ijS", atoms, natural_cutoffs(atoms, mult=BOND_TOLERANCE))
    return BondGraph(np.asarray(atomic_numbers), i, j, shifts @ atoms.cell.array)


def rotatable_torsions(graph: BondGraph, frames: np.ndarray) -> Torsions:
    """Torsions about all bonds that can turn: not in a ring, not to a terminal atom, not double, no end linear.

    The four atoms are the bond and, at each end, the heaviest other neighbour (of equal ones the first in the file). A
    chain that closes on itself through the periodic boundary counts as a ring.

    frames : (t, N, 3), Å, some frames over whose mean the bond lengths and angles are judged
    """
    network = networkx.MultiGraph()
    network.add_edges_from((i, j) for i, j in graph.bonds().atoms.tolist() if i != j)
    found, methyl = [], []
    for i, j in sorted(sorted(bond) for bond in networkx.bridges(network)):
        path = _torsion_path(graph, i, j)
        if path is not None and _can_turn(graph, path, frames):
            found.append(path)
            methyl.append(_is_methyl(graph, i, j) or _is_methyl(graph, j, i))
    paths = AtomPaths.stack(found, length=4)
    return Torsions(tuple(graph.label(atoms) for atoms in paths.atoms), paths, np.array(methyl, dtype=bool))


def neighboring_pairs(torsions: Torsions) -> list[tuple[int, int]]:
    """Pairs (k, l) of torsions without methyl groups whose bonds share an atom, like φ and ψ of a peptide."""
    axes = [set(atoms[1:3].tolist()) for atoms in torsions.paths.atoms]
    turning = np.flatnonzero(~torsions.is_methyl).tolist()
    return [(k, l) for k, l in combinations(turning, 2) if axes[k] & axes[l]]


def torsion_of(graph: BondGraph, atoms: tuple[int, int, int, int]) -> AtomPaths:
    """The torsion a–i–j–d given by four bonded atoms. Raises DataError when they do not form a chain of bonds."""
    offsets = [np.zeros(3)]
    for a, b in zip(atoms[:-1], atoms[1:], strict=True):
        step = dict(graph.neighbors[a]).get(b) if 0 <= a < len(graph.neighbors) else None
        if step is None:
            raise DataError(f"found the torsion {atoms}, but atoms {a} and {b} are not bonded",
                            "give four bonded atoms")
        offsets.append(offsets[-1] + step)
    places = {(atom, *np.round(offset, 6)) for atom, offset in zip(atoms, offsets, strict=True)}
    if len(places) < len(atoms):
        raise DataError(f"found the torsion {atoms}, which names an atom twice", "give four different bonded atoms")
    return AtomPaths(np.array([atoms]), np.array([offsets]))


def _torsion_path(graph: BondGraph, i: int, j: int) -> tuple[tuple[int, ...], tuple[np.ndarray, ...]] | None:
    across = next(offset for k, offset in graph.neighbors[i] if k == j)
    before, after = _heaviest(graph, i, but=j), _heaviest(graph, j, but=i)
    if before is None or after is None:
        return None
    return (before[0], i, j, after[0]), (before[1], np.zeros(3), across, across + after[1])


def _heaviest(graph: BondGraph, atom: int, but: int) -> tuple[int, np.ndarray] | None:
    others = [(-graph.atomic_numbers[k], k, offset) for k, offset in graph.neighbors[atom] if k != but]
    return min(others, key=lambda other: other[:2])[1:] if others else None


def _can_turn(graph: BondGraph, path: tuple[tuple[int, ...], tuple[np.ndarray, ...]], frames: np.ndarray) -> bool:
    points = AtomPaths.stack([path], length=4).points(frames)[:, 0]
    radii = covalent_radii[graph.atomic_numbers[list(path[0][1:3])]].sum()
    if bond_lengths(points[:, 1:3]).mean() < DOUBLE_BOND * radii:
        return False
    return max(angles_deg(points[:, :3]).mean(), angles_deg(points[:, 1:]).mean()) < LINEAR_DEG


def _is_methyl(graph: BondGraph, carbon: int, other: int) -> bool:
    around = [graph.atomic_numbers[k] for k, _ in graph.neighbors[carbon] if k != other]
    return graph.atomic_numbers[carbon] == 6 and around == [1, 1, 1]
