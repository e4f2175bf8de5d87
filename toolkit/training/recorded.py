"""Training steps as one recorded CUDA graph, fed with the indices of frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from toolkit.data.graph import AtomicGraph
from toolkit.data.graph_store import graph_sizes
from toolkit.data.padding import BatchShape, PackedGraphs
from toolkit.kernels.capture import CapturedCall
from toolkit.training.step import TrainStep

GRAPH_FIELDS = ("positions", "atomic_numbers", "cell", "pbc", "edge_index", "cell_shifts", "batch", "total_charge")


class RecordedSteps:
    """Batch gather, forward, forces, loss, backward, clipping, optimiser and average, launched at once.

    With `resident` the graphs lie on the device and a batch is gathered there; otherwise each batch is put together on
    the host while the device works on the one before.
    Elsewhere than on CUDA the same functions are called one by one, with the same numbers.
    """

    def __init__(self, step: TrainStep, graphs: Sequence[AtomicGraph], shape: BatchShape, *, resident: bool) -> None:
        self._step = step
        self._graphs = graphs
        self._shape = shape
        self._r_max = step.model.r_max
        self._store = PackedGraphs(graphs, self._r_max, step.device) if resident else None
        self._call: CapturedCall | None = None

    @property
    def replayed(self) -> bool:
        """True once steps are replayed from a recording."""
        return self._call is not None and self._call.recorded

    def holds(self, indices: Tensor) -> bool:
        """True when the batch of these graphs fits into the recorded shape."""
        chosen = [self._graphs[k] for k in indices.tolist()]
        least = BatchShape.holding(sum(graph.num_atoms for graph in chosen), sum(graph.num_edges for graph in chosen),
                                   sum(graph.num_structures for graph in chosen))
        shape = self._shape
        return (least.num_atoms <= shape.num_atoms and least.num_edges <= shape.num_edges
                and least.num_structures <= shape.num_structures)

    def __call__(self, indices: Tensor) -> Tensor:
        """One step on the graphs `indices`, (B,), int64; loss and gradient norm, (2,), on the device."""
        inputs = self._inputs(indices)
        self._record_once(inputs)
        return self._call(*inputs)[0].clone()

    def record(self, indices: Tensor) -> None:
        """Record a step on these graphs without doing it; weights and averages stay as they are."""
        self._record_once(self._inputs(indices))

    def _record_once(self, inputs: tuple[Tensor, ...]) -> None:
        if self._call is None:
            self._call = self._record(inputs)

    def _record(self, inputs: tuple[Tensor, ...]) -> CapturedCall:
        put_back = self._step.remember()
        try:
            return CapturedCall(self._run, inputs, undo=put_back)
        except torch.OutOfMemoryError:
            put_back()
            raise

    def _run(self, *inputs: Tensor) -> tuple[Tensor]:
        if self._store is not None:
            return (self._step([self._store.gather(inputs[0], self._shape)]),)
        labels = dict(zip(sorted(self._graphs[0].labels), inputs[len(GRAPH_FIELDS):], strict=True))
        fields = dict(zip(GRAPH_FIELDS, inputs, strict=False))
        return (self._step([AtomicGraph(**fields, labels=labels)]),)

    def _inputs(self, indices: Tensor) -> tuple[Tensor, ...]:
        if self._store is not None:
            room = self._shape.num_structures - 1 - len(indices)
            return (torch.nn.functional.pad(indices, (0, room), value=-1).to(self._step.device, non_blocking=True),)
        packed = PackedGraphs([self._graphs[k] for k in indices.tolist()], self._r_max)
        batch = packed.gather(torch.arange(len(indices)), self._shape)
        tensors = [getattr(batch, name) for name in GRAPH_FIELDS] + [batch.labels[key] for key in sorted(batch.labels)]
        return tuple(tensor.to(self._step.device, non_blocking=True) for tensor in tensors)


def usual_shape(graphs: Sequence[AtomicGraph], orders: Iterable[Sequence[Tensor]]) -> BatchShape:
    """The shape that holds every batch of some epochs. orders : for each epoch its batches as indices."""
    atoms, edges = map(torch.from_numpy, graph_sizes(graphs))
    sums = torch.tensor([[int(atoms[batch].sum()), int(edges[batch].sum()), len(batch)]
                         for order in orders for batch in order])
    most_atoms, most_edges, most_structures = sums.amax(dim=0).tolist()
    return BatchShape.holding(most_atoms, most_edges, most_structures, int(most_edges - sums[:, 1].median()))


def store_bytes(graphs: Sequence[AtomicGraph]) -> int:
    """Size of the graphs on a device, bytes."""
    first = graphs[0]
    per_edge = 2 * first.edge_index.element_size() + 3 * first.cell_shifts.element_size()
    per_atom = 6 * first.positions.element_size() + 2 * first.batch.element_size()
    num_atoms, num_edges = graph_sizes(graphs)
    return int(per_edge * num_edges.sum() + per_atom * num_atoms.sum())
