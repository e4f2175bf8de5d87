"""Batches of one fixed shape, gathered by index without the host: what a recorded CUDA graph can read.

Every batch is filled up with a ghost structure: atoms in two places that are further apart than the cutoff, and edges
between the two. Such an edge has a direction, so that nothing divides by zero, and an envelope that is exactly zero,
so that it adds exactly nothing to any energy or derivative. The labels of a ghost are NaN: it does not count in a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from toolkit.data.graph import AtomicGraph, collate
from toolkit.errors import DataError

EDGES_PER_GHOST = 32
"""Padded edges per ghost atom: a kernel that walks over the edges of one atom must not wait for a ghost."""

ATOM_LABELS = ("forces",)
"""Labels with one row per atom; the others have one per structure."""


@dataclass(frozen=True)
class BatchShape:
    """Numbers of atoms, edges and structures of a padded batch, ghosts included."""

    num_atoms: int
    num_edges: int
    num_structures: int

    @classmethod
    def holding(cls, num_atoms: int, num_edges: int, num_structures: int, ghost_edges: int = 0) -> BatchShape:
        """Room for so many real atoms, edges and structures, of which about `ghost_edges` edges will be padding."""
        return cls(num_atoms + 2 + 2 * (ghost_edges // (2 * EDGES_PER_GHOST)), num_edges, num_structures + 1)


class PackedGraphs:
    """Labelled graphs laid end to end on one device; any few of them are gathered as one padded batch.

    graphs : of one or more structures each;  r_max : the model's cutoff, Å
    """

    def __init__(self, graphs: Sequence[AtomicGraph], r_max: float, device: torch.device | str = "cpu") -> None:
        units = [*graphs, _ghost(graphs[0], r_max)]
        self._joined = collate(units).to(device)
        self._atoms = _Extents([graph.num_atoms for graph in units], device)
        self._edges = _Extents([graph.num_edges for graph in units], device)
        self._structures = _Extents([graph.num_structures for graph in units], device)

    def gather(self, indices: Tensor, shape: BatchShape) -> AtomicGraph:
        """The batch of the graphs `indices` (B,), int64, −1 for none, filled up with ghosts; never waits for the host.

        The shape must hold these graphs, two atoms and one structure more (`BatchShape.holding`); nothing checks it.
        """
        joined = self._joined
        atoms = self._atoms.choose(indices, shape.num_atoms)
        edges = self._edges.choose(indices, shape.num_edges)
        structures = self._structures.choose(indices, shape.num_structures)
        # 1. ends of edges and structures of atoms, counted from where their graph begins in this batch
        ends = joined.edge_index.index_select(1, edges.source) - atoms.shift.index_select(0, edges.unit)
        batch = joined.batch.index_select(0, atoms.source) - structures.shift.index_select(0, atoms.unit)
        # 2. ghost edges shared evenly among the ghost atoms g, each to its partner g ± 1 in the other place
        num_ghosts = (shape.num_atoms - atoms.total) // 2 * 2
        ghost = edges.rank * num_ghosts // (shape.num_edges - edges.total).clamp(min=1)
        ghost_ends = atoms.total + torch.stack([ghost, ghost ^ 1])
        return AtomicGraph(
            positions=joined.positions.index_select(0, atoms.source),
            atomic_numbers=joined.atomic_numbers.index_select(0, atoms.source),
            cell=joined.cell.index_select(0, structures.source),
            pbc=joined.pbc.index_select(0, structures.source),
            edge_index=torch.where(edges.rank >= 0, ghost_ends, ends),
            cell_shifts=joined.cell_shifts.index_select(0, edges.source),
            batch=batch.masked_fill(atoms.rank >= 0, shape.num_structures - 1),
            total_charge=joined.total_charge.index_select(0, structures.source),
            labels={key: value.index_select(0, (atoms if key in ATOM_LABELS else structures).source)
                    for key, value in joined.labels.items()},
        )


def pad_graph(graph: AtomicGraph, shape: BatchShape, r_max: float) -> AtomicGraph:
    """The batch with a ghost structure that brings it to `shape`; what was there keeps its place. r_max : cutoff, Å.

    Raises DataError when the shape does not hold the batch, two atoms and one structure.
    """
    needed = BatchShape.holding(graph.num_atoms, graph.num_edges, graph.num_structures)
    if (shape.num_atoms < needed.num_atoms or shape.num_edges < needed.num_edges
            or shape.num_structures < needed.num_structures):
        raise DataError(f"found a batch that needs {needed} with its ghosts, expected one within {shape}",
                        "choose a larger shape")
    device = graph.positions.device
    return PackedGraphs([graph], r_max, device).gather(torch.zeros(1, dtype=torch.int64, device=device), shape)


@dataclass(frozen=True)
class _Choice:
    """Which rows of the store fill the slots of a batch (all (slots,), int64, but for the last two).

    source : row in the store;  unit : which of the B chosen graphs, B for ghosts;  rank : 0, 1, … for ghosts, else < 0
    shift : (B + 1,), where each graph begins in the store minus where it begins in the batch;  total : real rows, ()
    """

    source: Tensor
    unit: Tensor
    rank: Tensor
    shift: Tensor
    total: Tensor


class _Extents:
    """Where each graph's atoms (or edges, or structures) begin in the store, and their number; the ghost is last."""

    def __init__(self, counts: list[int], device: torch.device | str) -> None:
        self._counts = torch.tensor(counts, device=device)
        self._starts = self._counts.cumsum(0) - self._counts
        self._num_ghosts = counts[-1]

    def choose(self, indices: Tensor, num_slots: int) -> _Choice:
        present = indices >= 0
        row = indices.clamp(min=0)
        counts = self._counts.index_select(0, row) * present
        ends = counts.cumsum(0)
        shift = torch.nn.functional.pad(self._starts.index_select(0, row) - (ends - counts), (0, 1))
        slot = torch.arange(num_slots, device=indices.device)
        unit = torch.searchsorted(ends, slot, right=True)
        rank = slot - ends[-1]
        ghost = self._starts[-1] + rank % self._num_ghosts
        return _Choice(torch.where(rank >= 0, ghost, slot + shift.index_select(0, unit)), unit, rank, shift, ends[-1])


def _ghost(like: AtomicGraph, r_max: float) -> AtomicGraph:
    """Two atoms of an element that occurs, 1.5 r_max apart, in a cell, so that even a stress is defined."""
    positions = torch.zeros(2, 3, dtype=torch.float64)
    positions[1, 0] = 1.5 * r_max
    rows = {key: 2 if key in ATOM_LABELS else 1 for key in like.labels}
    ghost = AtomicGraph(
        positions=positions,
        atomic_numbers=like.atomic_numbers[:1].cpu().repeat(2),
        cell=4.0 * r_max * torch.eye(3, dtype=torch.float64)[None],
        pbc=torch.ones(1, 3, dtype=torch.bool),
        edge_index=torch.tensor([[0, 1], [1, 0]]),
        cell_shifts=torch.zeros(2, 3, dtype=torch.float64),
        batch=torch.zeros(2, dtype=torch.int64),
        total_charge=torch.zeros(1, dtype=torch.float64),
        labels={key: torch.full((rows[key], *value.shape[1:]), torch.nan, dtype=value.dtype)
                for key, value in like.labels.items()},
    )
    return ghost.to(like.positions.device)
