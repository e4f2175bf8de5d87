"""Energies and forces of many replicas in one model call, with neighbour lists that are reused."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from toolkit.data.graph import AtomicGraph, edge_vectors, total_charge
from toolkit.data.neighbors import MAX_EXTENT_A, neighbor_list

MAX_ALL_PAIRS = 64
"""Without periodicity and up to this many atoms, all pairs are candidates and no list is ever rebuilt."""

NO_EDGES = np.zeros((2, 0), dtype=np.int64), np.zeros((0, 3), dtype=np.int64)


class ForceField(Protocol):
    """All that MD needs of a potential; `toolkit.models.potential.Potential` fulfils it."""

    device: torch.device
    r_max: float

    def check_species(self, atomic_numbers: Tensor) -> None:
        """Raise DataError for elements it does not know."""

    def evaluate(self, graph: AtomicGraph, *, stress: bool = False) -> dict[str, Tensor]:
        """`energy` (S,), eV, `forces` (N, 3), eV/Å, and when asked for `stress` (S, 3, 3), eV/Å³; float64."""


class ReplicaForces:
    """Callable: positions (R, N, 3), cells (R, 3, 3), Å -> energies (R,), eV, forces (R, N, 3), eV/Å, stresses.

    rows : the structure of each replica, up to N atoms; smaller ones have padding at the end of their positions
    skin : Å;  stress : compute (R, 3, 3), eV/Å³, and follow the cells; else the cells stay those of the structures and
        the stresses are zero
    inner : the forces of the potential of the inner steps (`integrators.respa_step`), for the same replicas

    Candidate pairs within r_max + skin are kept until an atom has moved by half the skin (Verlet, Phys. Rev. 159, 98
    (1967)), for each replica by itself; every call selects from them those within r_max, so that the age of a list
    changes no bit of the result.
    """

    def __init__(self, pot: ForceField, rows: Sequence[Atoms], skin: float, *, stress: bool = False,
                 inner: ReplicaForces | None = None) -> None:
        self._pot = pot
        self.inner = inner
        self._skin = skin
        self._stress = stress
        self.rows = list(rows)
        self._width = max(len(atoms) for atoms in rows)
        self._begin()

    def _begin(self) -> None:
        """All that depends on which replicas there are, without lists."""
        device, rows = self._pot.device, self.rows
        sizes = torch.tensor([len(atoms) for atoms in rows], device=device)
        slots = torch.arange(self._width, device=device) < sizes[:, None]
        self._real = None if bool(slots.all()) else torch.nonzero(slots.flatten()).flatten()
        self._first = np.concatenate([[0], np.cumsum([len(atoms) for atoms in rows])])
        self._cells = torch.as_tensor(np.stack([atoms.cell.array for atoms in rows]), device=device)
        self._constants = {
            "atomic_numbers": torch.as_tensor(np.concatenate([atoms.numbers for atoms in rows]), device=device).long(),
            "pbc": torch.as_tensor(np.stack([atoms.pbc for atoms in rows]), device=device),
            "batch": torch.arange(len(rows), device=device).repeat_interleave(sizes),
            "total_charge": torch.tensor([total_charge(atoms) for atoms in rows], dtype=torch.float64, device=device),
        }
        self._zero_stress = torch.zeros(len(rows), 3, 3, dtype=torch.float64, device=device)
        self._lists: list[tuple[np.ndarray, np.ndarray]] = []

    @property
    def potentials(self) -> list[ForceField]:
        """The potential, and that of the inner steps when there is one."""
        return [self._pot] if self.inner is None else [self._pot, *self.inner.potentials]

    def describe(self) -> str:
        """The potentials in words."""
        return ", inner steps ".join(map(repr, self.potentials))

    def keep(self, kept: Tensor) -> None:
        """From now on compute only the replicas where `kept` (R,) is true."""
        chosen = torch.nonzero(kept).flatten().tolist()
        self.rows = [self.rows[r] for r in chosen]
        if self.rows:
            self._begin()
        if self.inner is not None:
            self.inner.keep(kept)

    def only(self, kept: Tensor) -> ReplicaForces:
        """The same for the replicas where `kept` (R,) is true, beside this one."""
        part = copy(self)
        part.inner = copy(self.inner)
        part.keep(kept)
        return part

    def __call__(self, positions: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.evaluate(self.graph(positions, cells), positions)

    def graph(self, positions: Tensor, cells: Tensor) -> AtomicGraph:
        """The batch of the structures at these positions and cells, with the edges within r_max."""
        graph = self.candidates(positions, cells)
        vectors = edge_vectors(graph, graph.positions, graph.cell)
        inside = torch.nonzero((vectors * vectors).sum(dim=1) < self._pot.r_max**2).flatten()
        return replace(graph, edge_index=graph.edge_index[:, inside], cell_shifts=graph.cell_shifts[inside])

    def candidates(self, positions: Tensor, cells: Tensor, reach: float = 1.0) -> AtomicGraph:
        """The same batch with all pairs of the lists, after rebuilding those older than `reach` times their reach."""
        if not self._lists:
            lost = (~(positions.abs().amax(dim=(1, 2)) <= MAX_EXTENT_A)).tolist()  # also what is not a number
            self._lists = [NO_EDGES if lost[r] else self._search(r, positions, cells) for r in range(len(self.rows))]
            self._reference = (positions.clone(), torch.linalg.inv(cells) if self._stress else cells)
            self._joined = self._join()
        elif not self.never_rebuilds:
            lost = positions.abs().amax(dim=(1, 2)) > MAX_EXTENT_A  # its guard will say so
            old = torch.nonzero(self.outdated(positions, cells, reach) & ~lost).flatten().tolist()
            for r in old:
                self._lists[r] = self._search(r, positions, cells)
                self._reference[0][r] = positions[r]
                if self._stress:
                    self._reference[1][r] = torch.linalg.inv(cells[r])
            if old:
                self._joined = self._join()
        return self.at(self._joined, positions, cells)

    @property
    def never_rebuilds(self) -> bool:
        """True when every pair is on the lists."""
        return all(_is_small(atoms) for atoms in self.rows)

    def outdated(self, positions: Tensor, cells: Tensor, reach: float = 1.0) -> Tensor:
        """Replicas of which a pair within r_max may be missing on its list, (R,) bool; decided on the device.

        A pair is at most r_max + skin apart in the list's structure as long as
        r_max + 2u ≤ (r_max + reach · skin)(1 − |F − 1|), with F the cell's deformation since and u the largest
        displacement beside it.
        """
        old_positions, old_inverse_cells = self._reference
        if self._stress:
            deformation = old_inverse_cells @ cells
            strain = torch.linalg.matrix_norm(deformation - torch.eye(3, dtype=cells.dtype, device=cells.device))
            old_positions = old_positions @ deformation
        else:
            strain = 0.0
        farthest = ((positions - old_positions) ** 2).sum(dim=2).amax(dim=1).sqrt()
        r_max = self._pot.r_max
        return r_max + 2.0 * farthest > (r_max + reach * self._skin) * (1.0 - strain)

    def at(self, graph: AtomicGraph, positions: Tensor, cells: Tensor) -> AtomicGraph:
        """The same edges at other positions (R, N, 3) and, when stress is asked for, in other cells."""
        flat = positions.reshape(-1, 3)
        return graph.with_positions(flat if self._real is None else flat[self._real], cells if self._stress else None)

    def evaluate(self, graph: AtomicGraph, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energies, forces and stresses of a batch, shaped as the positions (R, N, 3) are."""
        output = self._pot.evaluate(graph, stress=True) if self._stress else self._pot.evaluate(graph)
        forces = output["forces"]
        if self._real is not None:
            forces = torch.zeros_like(positions).view(-1, 3).index_copy(0, self._real, forces)
        return output["energy"], forces.view_as(positions), output["stress"] if self._stress else self._zero_stress

    def _search(self, row: int, positions: Tensor, cells: Tensor) -> tuple[np.ndarray, np.ndarray]:
        atoms = self.rows[row]
        if _is_small(atoms):
            edge_index = np.stack(np.nonzero(~np.eye(len(atoms), dtype=bool)))
            return edge_index, np.zeros((edge_index.shape[1], 3), dtype=np.int64)
        cell = cells[row].cpu().numpy() if self._stress else atoms.cell.array
        return neighbor_list(positions[row, :len(atoms)].cpu().numpy(), cell, atoms.pbc, self._pot.r_max + self._skin)

    def _join(self) -> AtomicGraph:
        """The replicas' lists as one batch, atoms numbered through."""
        device = self._pot.device
        numbered = [edges + first for first, (edges, _) in zip(self._first[:-1], self._lists, strict=True)]
        shifts = np.concatenate([shifts for _, shifts in self._lists])
        return AtomicGraph(positions=torch.zeros(int(self._first[-1]), 3, dtype=torch.float64, device=device),
                           edge_index=torch.as_tensor(np.concatenate(numbered, axis=1), device=device), cell=self._cells,
                           cell_shifts=torch.as_tensor(shifts, dtype=torch.float64, device=device), **self._constants)


def _is_small(atoms: Atoms) -> bool:
    return len(atoms) <= MAX_ALL_PAIRS and not atoms.pbc.any()
