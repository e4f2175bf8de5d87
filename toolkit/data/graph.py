"""The one container that models read: a structure, or a batch of structures, as tensors. Conventions live here only.

Letters: N atoms, E directed edges, S structures. Units: Å, eV.

=====================  ==============  ===========  ==========================================================
field                  shape           dtype        meaning
=====================  ==============  ===========  ==========================================================
`positions`            (N, 3)          float64      Cartesian, Å
`atomic_numbers`       (N,)            int64
`cell`                 (S, 3, 3)       float64      rows are lattice vectors, Å; zeros when there is none
`pbc`                  (S, 3)          bool         periodic along each lattice vector
`edge_index`           (2, E)          int64        row 0 = centre i (receives), row 1 = neighbour j (ASE "ij")
`cell_shifts`          (E, 3)          float64      integer lattice shift of j (ASE "S")
`batch`                (N,)            int64        structure each atom belongs to, ascending
`total_charge`         (S,)            float64      e, from `atoms.info["charge"]`; 0 where nothing is said
`labels`               dict            float64      `energy` (S,), `forces` (N, 3), `stress` (S, 3, 3); NaN = absent
=====================  ==============  ===========  ==========================================================

`edge_vectors = positions[j] − positions[i] + cell_shifts @ cell`, shape (E, 3). Edges are sorted by (i, j, shift), so a
list built at another time, or with another skin, gives the same sums bit for bit. `stress = +(1/V) dE/dε`,
V = |det cell|, symmetric, eV/Å³.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import compare_atoms
from ase.stress import voigt_6_to_full_3x3_stress
from torch import Tensor

from toolkit.data.neighbors import neighbor_list
from toolkit.errors import DataError
from toolkit.kernels.edges import EdgeList

SAME_PLACE_A = 1e-6
"""Atoms nearer to each other than this are one atom that was written twice."""


@dataclass(frozen=True)
class AtomicGraph:
    """One structure or a batch; see the module's table. Immutable: `with_positions` and `to` return new graphs."""

    positions: Tensor
    atomic_numbers: Tensor
    cell: Tensor
    pbc: Tensor
    edge_index: Tensor
    cell_shifts: Tensor
    batch: Tensor
    total_charge: Tensor
    labels: dict[str, Tensor] = field(default_factory=dict)

    @property
    def num_atoms(self) -> int:
        """N."""
        return self.positions.shape[0]

    @property
    def num_structures(self) -> int:
        """S."""
        return self.cell.shape[0]

    @property
    def num_edges(self) -> int:
        """E."""
        return self.edge_index.shape[1]

    @property
    def periodic(self) -> bool:
        """True when every structure is periodic along all three lattice vectors, so that a stress exists."""
        return bool(self.pbc.all())

    def atoms_per_structure(self) -> Tensor:
        """Number of atoms of each structure, (S,), int64."""
        counts = self.batch.new_zeros(self.num_structures)
        return counts.index_add(0, self.batch, torch.ones_like(self.batch))  # bincount would wait for the host

    @cached_property
    def edges(self) -> EdgeList:
        """The edges with the orders in which kernels walk over them, worked out once."""
        return EdgeList(self.edge_index, self.num_atoms)

    def with_positions(self, positions: Tensor, cell: Tensor | None = None) -> AtomicGraph:
        """The same graph at other positions (N, 3), Å, and perhaps in other cells (S, 3, 3); the edges are kept."""
        moved = replace(self, positions=positions, cell=self.cell if cell is None else cell)
        moved.__dict__["edges"] = self.edges  # where cached_property keeps it
        return moved

    def to(self, device: torch.device | str) -> AtomicGraph:
        """The same graph on another device."""
        return self._with_tensors(lambda tensor: tensor.to(device))

    def cloned(self) -> AtomicGraph:
        """The same graph in tensors of its own."""
        return self._with_tensors(torch.clone)

    def _with_tensors(self, change: Callable[[Tensor], Tensor]) -> AtomicGraph:
        changed = {name: change(getattr(self, name)) for name in
                   ("positions", "atomic_numbers", "cell", "pbc", "edge_index", "cell_shifts", "batch", "total_charge")}
        return AtomicGraph(**changed, labels={key: change(value) for key, value in self.labels.items()})


def edge_vectors(graph: AtomicGraph, positions: Tensor, cell: Tensor) -> Tensor:
    """Vectors from centre i to neighbour j, (E, 3), Å, for (possibly strained) positions (N, 3) and cells (S, 3, 3)."""
    center, neighbor = graph.edge_index[0], graph.edge_index[1]
    vectors = positions.index_select(0, neighbor) - positions.index_select(0, center)
    cells = cell.index_select(0, graph.batch.index_select(0, center))
    return vectors + torch.einsum("ea,eab->eb", graph.cell_shifts, cells)


def graph_from_atoms(atoms: Atoms, r_max: float) -> AtomicGraph:
    """The graph of one structure within the cutoff r_max (Å), with its labels when a calculator holds results of it.

    Raises DataError for a structure that cannot have a neighbour list, for atoms in one place, for a charge that is not a
    number, and for labels of another shape.
    """
    edge_index, shifts = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, r_max)
    _require_apart(atoms, edge_index, shifts)
    return AtomicGraph(
        positions=torch.as_tensor(atoms.positions, dtype=torch.float64),
        atomic_numbers=torch.as_tensor(atoms.numbers, dtype=torch.int64),
        cell=torch.as_tensor(atoms.cell.array, dtype=torch.float64)[None],
        pbc=torch.as_tensor(atoms.pbc, dtype=torch.bool)[None],
        edge_index=torch.as_tensor(edge_index),
        cell_shifts=torch.as_tensor(shifts, dtype=torch.float64),
        batch=torch.zeros(len(atoms), dtype=torch.int64),
        total_charge=torch.tensor([total_charge(atoms)], dtype=torch.float64),
        labels=_labels(atoms),
    )


def total_charge(atoms: Atoms) -> float:
    """The charge of a structure, e: `atoms.info["charge"]`, else 0. Raises DataError when that is no finite number."""
    charge = np.asarray(atoms.info.get("charge", 0.0))
    if charge.size != 1 or charge.dtype.kind not in "iuf" or not np.isfinite(charge).all():
        raise DataError(f"found the charge {atoms.info['charge']!r}, expected one number, in units of e",
                        "correct or remove the entry 'charge' of the structure")
    return float(charge.reshape(()))


def require_unconstrained(atoms: Atoms, who: str) -> None:
    """Raise DataError for a structure with fixed atoms, or the like, where `who` moves all of them."""
    if atoms.constraints:
        names = [type(constraint).__name__ for constraint in atoms.constraints]
        raise DataError(f"found constraints {names}, {who} moves all atoms", "remove them with atoms.set_constraint()")


def charge_info(atoms: Atoms) -> dict[str, float]:
    """The entry of `atoms.info` that says the total charge, where there is one: what a copy of a structure must keep."""
    return {"charge": atoms.info["charge"]} if "charge" in atoms.info else {}


def _require_apart(atoms: Atoms, edge_index: np.ndarray, shifts: np.ndarray) -> None:
    """Raise DataError for two atoms in one place, whose direction from each other nobody knows."""
    first, second = edge_index
    vectors = atoms.positions[second] - atoms.positions[first] + shifts @ atoms.cell.array
    together = np.flatnonzero(np.einsum("ek,ek->e", vectors, vectors) < SAME_PLACE_A**2)
    if together.size:
        a, b = edge_index[:, together[0]]
        image = "" if not shifts[together[0]].any() else f", of the latter its image along {shifts[together[0]].astype(int).tolist()}"
        raise DataError(f"found atoms {a} ({atoms.symbols[a]}) and {b} ({atoms.symbols[b]}) in the same place{image}",
                        "remove one of the two: files of crystals often repeat the atoms on the boundary")


def _own_results(atoms: Atoms) -> dict[str, Any]:
    """What a calculator holds of this very structure; one that has computed another since, or before it moved, holds nothing."""
    if atoms.calc is None:
        return {}
    known = getattr(atoms.calc, "atoms", None)
    if known is not None and set(compare_atoms(known, atoms)) & {"positions", "numbers", "cell", "pbc"}:
        return {}
    return {name: value for name, value in atoms.calc.results.items() if value is not None}


def _labels(atoms: Atoms) -> dict[str, Tensor]:
    results = _own_results(atoms)
    energy = np.asarray([results.get("energy", np.nan)], dtype=np.float64)
    forces = np.asarray(results.get("forces", np.full((len(atoms), 3), np.nan)), dtype=np.float64)
    stress = np.asarray(results.get("stress", np.full(6, np.nan)), dtype=np.float64)
    if energy.shape != (1,) or forces.shape != (len(atoms), 3) or stress.size not in (6, 9):
        raise DataError(f"found labels of shapes {energy.shape[1:]}, {forces.shape} and {stress.shape}, expected a number, "
                        f"({len(atoms)}, 3) and (6,) or (3, 3)", "correct the energy, forces and stress of the calculator")
    if not atoms.pbc.all():  # there is no volume to divide by
        stress = np.full(6, np.nan)
    stress = voigt_6_to_full_3x3_stress(stress) if stress.size == 6 else stress.reshape(3, 3)
    return {"energy": torch.as_tensor(energy), "forces": torch.as_tensor(forces),
            "stress": torch.as_tensor(stress)[None]}


def collate(graphs: Sequence[AtomicGraph]) -> AtomicGraph:
    """Join graphs into one batch; atoms, edges and labels keep their order. Needs at least one graph."""
    counts = [g.num_atoms for g in graphs]
    offsets = np.concatenate([[0], np.cumsum(counts)[:-1]]).tolist()
    structures = np.concatenate([[0], np.cumsum([g.num_structures for g in graphs])[:-1]]).tolist()
    shared = set.intersection(*(set(g.labels) for g in graphs))
    return AtomicGraph(
        positions=torch.cat([g.positions for g in graphs]),
        atomic_numbers=torch.cat([g.atomic_numbers for g in graphs]),
        cell=torch.cat([g.cell for g in graphs]),
        pbc=torch.cat([g.pbc for g in graphs]),
        edge_index=torch.cat([g.edge_index + offset for g, offset in zip(graphs, offsets, strict=True)], dim=1),
        cell_shifts=torch.cat([g.cell_shifts for g in graphs]),
        batch=torch.cat([g.batch + first for g, first in zip(graphs, structures, strict=True)]),
        total_charge=torch.cat([g.total_charge for g in graphs]),
        labels={key: torch.cat([g.labels[key] for g in graphs]) for key in sorted(shared)},
    )
