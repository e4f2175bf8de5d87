"""Energies and forces of many replicas of one system in one model call, with neighbour lists that are reused."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from toolkit.data.graph import AtomicGraph
from toolkit.data.neighbors import neighbor_list

MAX_ALL_PAIRS = 64
"""Without periodicity and up to this many atoms, all pairs are candidates and no list is ever rebuilt."""


class ForceField(Protocol):
    """All that MD needs of a potential; `toolkit.models.potential.Potential` fulfils it."""

    device: torch.device
    r_max: float

    def check_species(self, atomic_numbers: Tensor) -> None:
        """Raise DataError for elements it does not know."""

    def evaluate(self, graph: AtomicGraph) -> dict[str, Tensor]:
        """`energy` (S,), eV, and `forces` (N, 3), eV/Å, of a batch; float64."""


class ReplicaForces:
    """Callable: positions (R, N, 3), Å -> potential energies (R,), eV, and forces (R, N, 3), eV/Å; float64.

    Candidate pairs within r_max + skin are kept until an atom has moved by half the skin (Verlet, Phys. Rev. 159, 98
    (1967)), for each replica by itself; every call selects from them those within r_max, so that the age of a list
    changes no bit of the result. The number of replicas may change from call to call.
    """

    def __init__(self, pot: ForceField, atoms: Atoms, skin: float) -> None:
        self._pot = pot
        self._skin = skin
        self._cell = atoms.cell.array.copy()
        self._pbc = atoms.pbc.copy()
        self._atomic_numbers = torch.as_tensor(atoms.numbers, dtype=torch.int64, device=pot.device)
        self._reference = torch.zeros(0)  # positions (R, N, 3) at which each replica's list was built
        self._lists: list[tuple[np.ndarray, np.ndarray]] = []
        self._constants: dict[str, Tensor] = {}
        self._candidates: tuple[Tensor, Tensor, Tensor]  # edge_index (2, E), shifts (E, 3), their Cartesian form (E, 3)

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        output = self._pot.evaluate(self.graph(positions))
        return output["energy"], output["forces"].view_as(positions)

    def graph(self, positions: Tensor) -> AtomicGraph:
        """The batch of R structures at these positions (R, N, 3), Å."""
        self._refresh(positions)
        flat = positions.reshape(-1, 3)
        edge_index, shifts, offsets = self._candidates
        vectors = flat[edge_index[1]] - flat[edge_index[0]] + offsets
        inside = torch.nonzero((vectors * vectors).sum(dim=1) < self._pot.r_max**2).flatten()
        return AtomicGraph(positions=flat, edge_index=edge_index[:, inside], cell_shifts=shifts[inside],
                           **self._constants)

    def _refresh(self, positions: Tensor) -> None:
        """Rebuild the lists of the replicas that moved too far since theirs was built."""
        if positions.shape != self._reference.shape:
            self._lists = [self._search(p) for p in positions.cpu().numpy()]
            self._reference = positions.clone()
            self._constants = self._batch_constants(len(positions))
        elif self._all_pairs:
            return
        else:
            moved = ((positions - self._reference) ** 2).sum(dim=2).amax(dim=1) > (0.5 * self._skin) ** 2
            if not bool(moved.any()):
                return
            for r in torch.nonzero(moved).flatten().tolist():
                self._lists[r] = self._search(positions[r].cpu().numpy())
            self._reference[moved] = positions[moved]
        self._join()

    @property
    def _all_pairs(self) -> bool:
        return not self._pbc.any() and len(self._atomic_numbers) <= MAX_ALL_PAIRS

    def _search(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self._all_pairs:
            edge_index = np.stack(np.nonzero(~np.eye(len(positions), dtype=bool)))
            return edge_index, np.zeros((edge_index.shape[1], 3), dtype=np.int64)
        return neighbor_list(positions, self._cell, self._pbc, self._pot.r_max + self._skin)

    def _join(self) -> None:
        """Concatenate the replicas' lists, atoms numbered through the batch."""
        device, n = self._pot.device, len(self._atomic_numbers)
        edges = np.concatenate([edge_index + r * n for r, (edge_index, _) in enumerate(self._lists)], axis=1)
        shifts = torch.as_tensor(np.concatenate([s for _, s in self._lists]), dtype=torch.float64, device=device)
        offsets = shifts @ torch.as_tensor(self._cell, dtype=torch.float64, device=device)
        self._candidates = (torch.as_tensor(edges, device=device), shifts, offsets)

    def _batch_constants(self, num_replicas: int) -> dict[str, Tensor]:
        device, n = self._pot.device, len(self._atomic_numbers)
        return {
            "atomic_numbers": self._atomic_numbers.repeat(num_replicas),
            "cell": torch.as_tensor(self._cell, dtype=torch.float64, device=device).repeat(num_replicas, 1, 1),
            "pbc": torch.as_tensor(self._pbc, device=device).repeat(num_replicas, 1),
            "batch": torch.arange(num_replicas, device=device).repeat_interleave(n),
        }
