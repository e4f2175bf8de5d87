"""How many edges fit into memory at once, predicted from small parts of the data before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from scipy.optimize import nnls
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order
from torch import Tensor

from toolkit.data.graph import AtomicGraph, collate
from toolkit.data.graph_store import graph_sizes
from toolkit.errors import DeviceError
from toolkit.training.step import TrainStep

USABLE_FRACTION = 0.8
"""Share of the free memory that a step may take."""
PEAK_OVER_SAVED = 1.5
"""The backward pass holds its gradients beside what was saved for it: 1.1 to 1.4 times as much was measured."""
PROBE_ATOMS = 96
"""Atoms of the largest probe: enough for a linear law, few enough to cost nothing."""
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryModel:
    """Peak of a training step, bytes = base + per_edge · edges + per_atom · atoms."""

    base: float
    per_edge: float
    per_atom: float

    def predict(self, num_atoms: float, num_edges: float) -> float:
        """Peak bytes of a step on so many atoms and edges."""
        return self.base + self.per_edge * num_edges + self.per_atom * num_atoms

    def max_edges(self, num_bytes: float, atoms_per_edge: float) -> int:
        """The edges, with their share of atoms, that fit into so many bytes."""
        return max(int((num_bytes - self.base) / max(self.per_edge + self.per_atom * atoms_per_edge, 1.0)), 1)


def fit_memory(step: TrainStep, graphs: Sequence[AtomicGraph]) -> MemoryModel:
    """The law of this model, fitted to energies and forces of four small parts of the largest graphs.

    Counts the tensors that autograd keeps for the backward pass, which are the same on every device.
    """
    num_atoms, num_edges = graph_sizes(graphs)
    largest = np.argsort(-num_edges, kind="stable")
    needed = int(np.searchsorted(np.cumsum(num_atoms[largest]), PROBE_ATOMS)) + 1
    sample = collate([graphs[t] for t in largest[:needed]])
    order = _neighbors_first(sample)
    probes = [_probe(sample, order[:num_atoms], share) for num_atoms in (PROBE_ATOMS, PROBE_ATOMS // 2) for share in (1.0, 0.5)]
    rows = np.array([[1.0, probe.num_edges, probe.num_atoms] for probe in probes])
    scale = rows.max(axis=0).clip(min=1.0)
    peaks = np.array([PEAK_OVER_SAVED * saved_bytes(step, probe) for probe in probes])
    coefficients, _ = nnls(rows / scale, peaks)
    return MemoryModel(*(coefficients / scale).tolist())


def plan_max_edges(step: TrainStep, graphs: Sequence[AtomicGraph]) -> int:
    """How many edges may be computed at once in the memory that is free now.

    Raises DeviceError when the largest graph alone does not fit.
    """
    law, room = fit_memory(step, graphs), USABLE_FRACTION * available_bytes(step.device)
    num_atoms, num_edges = graph_sizes(graphs)
    largest = int(num_edges.argmax())
    needed = law.predict(num_atoms[largest], num_edges[largest])
    if needed > room:
        raise DeviceError(f"one frame of {num_atoms[largest]} atoms and {num_edges[largest]} edges needs about "
                          f"{needed / 1e9:.1f} GB to train on, {step.device} has {room / 1e9:.1f} GB to spare",
                          "use fewer channels or layers, a smaller r_max or l_max, or smaller structures")
    return law.max_edges(room, int(num_atoms.sum()) / max(int(num_edges.sum()), 1))


def saved_bytes(step: TrainStep, graph: AtomicGraph) -> int:
    """Bytes of the tensors kept for the backward pass of the loss, weights not counted."""
    weights = {p.untyped_storage().data_ptr() for p in step.model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    graph = graph.to(step.device)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step.outputs(graph)
    return sum(kept.values())


def available_bytes(device: torch.device) -> int:
    """Memory that is free for this process: of the GPU, or of the machine within the limit of its container."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = psutil.virtual_memory().available
    limit, used = (_read_number(CGROUP / name) for name in ("memory.max", "memory.current"))
    return free if limit is None or used is None else min(free, max(limit - used + _file_cache(), 0))


def _file_cache() -> int:
    """Bytes of files that a container keeps in memory: counted as used, and given back when they are asked for."""
    try:
        lines = (CGROUP / "memory.stat").read_text().splitlines()
        return sum(int(value) for name, value in map(str.split, lines) if name in ("inactive_file", "active_file"))
    except (OSError, ValueError):
        return 0


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no container, or "max"
        return None


def _probe(graph: AtomicGraph, atoms: Tensor, edge_share: float) -> AtomicGraph:
    """Some atoms of a graph with a share of the edges between them."""
    chosen = atoms.sort().values
    place = torch.full((graph.num_atoms,), -1).index_copy(0, chosen, torch.arange(len(chosen)))
    edge_index = place[graph.edge_index]
    inside = torch.nonzero((edge_index >= 0).all(dim=0)).flatten()
    kept = inside[:int(edge_share * len(inside))]
    return AtomicGraph(graph.positions[chosen], graph.atomic_numbers[chosen], graph.cell, graph.pbc, edge_index[:, kept],
                       graph.cell_shifts[kept], graph.batch[chosen], graph.total_charge)


def _neighbors_first(graph: AtomicGraph) -> Tensor:
    """All atoms (N,), those around the one with most neighbours first: whatever their order in the file, they have edges."""
    center, neighbor = graph.edge_index.numpy()
    size = graph.num_atoms
    bonds = csr_matrix((np.ones(len(center)), (center, neighbor)), (size, size))
    start = int(np.bincount(center, minlength=size).argmax())
    near = breadth_first_order(bonds, start, directed=False, return_predecessors=False).astype(np.int64)
    return torch.from_numpy(np.concatenate([near, np.setdiff1d(np.arange(size), near)]))
