"""Graphs of very many frames: kept while there is room, built anew where there is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from toolkit.data.graph import AtomicGraph, graph_from_atoms
from toolkit.progress import Reporter, SilentReporter

KEEP_BYTES = 1 << 30
"""What the graphs of one set may take: 1 GiB, about 90,000 molecules of QM9."""
BYTES_PER_GRAPH, BYTES_PER_ATOM, BYTES_PER_EDGE = 6000, 72, 40
"""Of Python and PyTorch for the ten tensors; of positions, numbers, batch and forces; of indices and shifts."""


class GraphStore(Sequence[AtomicGraph]):
    """The labelled graphs of frames within r_max (Å), in their order.

    All are built once, to be counted and checked; those that fit into `keep_bytes` stay, the others are built again
    whenever asked for (about 0.2 ms for a molecule). num_atoms, num_edges : (T,) int64
    """

    def __init__(self, frames: Sequence[Atoms], r_max: float, reporter: Reporter | None = None, *,
                 keep_bytes: int = KEEP_BYTES) -> None:
        reporter = reporter or SilentReporter()
        self._r_max = r_max
        self._kept: list[AtomicGraph] = []
        self.num_atoms = np.zeros(len(frames), dtype=np.int64)
        self.num_edges = np.zeros(len(frames), dtype=np.int64)
        room = keep_bytes
        for t in range(len(frames)):
            graph = graph_from_atoms(frames[t], r_max)
            self.num_atoms[t], self.num_edges[t] = graph.num_atoms, graph.num_edges
            room -= BYTES_PER_GRAPH + BYTES_PER_ATOM * graph.num_atoms + BYTES_PER_EDGE * graph.num_edges
            if room >= 0:
                self._kept.append(graph)
            if t % 100 == 99 or t == len(frames) - 1:
                reporter.update(t + 1, len(frames), "neighbour lists")
        self._later = frames[len(self._kept):]

    def __len__(self) -> int:
        return len(self.num_atoms)

    def __getitem__(self, index: int | slice) -> AtomicGraph | list[AtomicGraph]:
        if isinstance(index, slice):
            return [self[t] for t in range(*index.indices(len(self)))]
        t = range(len(self))[index]
        kept = len(self._kept)
        return self._kept[t] if t < kept else graph_from_atoms(self._later[t - kept], self._r_max)


def graph_sizes(graphs: Sequence[AtomicGraph]) -> tuple[np.ndarray, np.ndarray]:
    """Atoms and edges of each graph, (T,) int64 each, without building any that a store does not keep."""
    if isinstance(graphs, GraphStore):
        return graphs.num_atoms, graphs.num_edges
    return np.array([graph.num_atoms for graph in graphs]), np.array([graph.num_edges for graph in graphs])
