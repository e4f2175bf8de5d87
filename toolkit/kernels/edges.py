"""The edges of a batch and the orders in which kernels walk over them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class EdgeList:
    """Directed edges sorted by centre, and, worked out when first asked for, the same edges sorted by neighbour.

    With both orders every sum over edges has one owner, so kernels need no atomic additions and repeat bit for bit.

    edge_index : (2, E) int64, row 0 the centre (ascending), row 1 the neighbour;  num_atoms : N
    """

    edge_index: Tensor
    num_atoms: int

    @property
    def center(self) -> Tensor:
        """(E,) int64."""
        return self.edge_index[0]

    @property
    def neighbor(self) -> Tensor:
        """(E,) int64."""
        return self.edge_index[1]

    @cached_property
    def center_start(self) -> Tensor:
        """(N + 1,) int64: the edges of centre i are center_start[i] … center_start[i + 1] − 1."""
        return self._starts(self.center)

    @cached_property
    def by_neighbor(self) -> Tensor:
        """(E,) int64: edge numbers in ascending order of their neighbour."""
        return torch.argsort(self.neighbor, stable=True)

    @cached_property
    def neighbor_start(self) -> Tensor:
        """(N + 1,) int64: positions in `by_neighbor` at which each neighbour's edges begin."""
        return self._starts(self.neighbor.index_select(0, self.by_neighbor))

    def _starts(self, ascending: Tensor) -> Tensor:
        atoms = torch.arange(self.num_atoms + 1, device=ascending.device)
        return torch.searchsorted(ascending.contiguous(), atoms)
