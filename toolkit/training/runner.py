"""Chooses how an optimiser step is computed: recorded, at once, or in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from toolkit.data.datasets import split_by_edges
from toolkit.data.graph import AtomicGraph, collate
from toolkit.errors import DeviceError
from toolkit.training.loss import count_labels
from toolkit.training.recorded import RecordedSteps
from toolkit.training.step import TrainStep


class BatchRunner:
    """Runs optimiser steps on chosen graphs, at most `max_edges` edges at once (single graphs excepted).

    When memory runs out after all, `max_edges` is halved and the step begins again: the gradients of the parts add up
    to that of the whole batch, so the optimiser sees the same step. `note` is told.
    """

    def __init__(self, step: TrainStep, graphs: Sequence[AtomicGraph], max_edges: int, *,
                 recorded: RecordedSteps | None = None, note: Callable[[str], None]) -> None:
        self.max_edges = max_edges
        self._step = step
        self._graphs = graphs
        self._recorded = recorded
        self._note = note

    def __call__(self, indices: Tensor) -> Tensor:
        """One step on the graphs `indices`, (B,), int64; loss and gradient norm, (2,), on the device.

        Raises DeviceError when a single graph does not fit.
        """
        while True:
            outcome = self._try(indices)
            if outcome is not None:
                return outcome
            self._halve(self._parts(indices))

    def record(self, indices: Tensor) -> None:
        """Record the steps, where they can be, on the graphs `indices`, (B,), int64, before the first is done."""
        if self._recorded is not None and len(self._parts(indices)) == 1 and self._recorded.holds(indices):
            self._recorded.record(indices)

    def _try(self, indices: Tensor) -> Tensor | None:
        """The step, or None when memory ran out."""
        parts = self._parts(indices)
        try:
            if len(parts) > 1:
                return self._step(map(collate, parts), count_labels(graph for part in parts for graph in part))
            if self._recorded is not None and self._recorded.holds(indices):
                return self._recorded(indices)
            return self._step([collate(parts[0])])
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
        return None

    def _parts(self, indices: Tensor) -> list[list[AtomicGraph]]:
        return list(split_by_edges((self._graphs[k] for k in indices.tolist()), len(indices), self.max_edges))

    def _halve(self, parts: list[list[AtomicGraph]]) -> None:
        largest = max(parts, key=lambda part: sum(graph.num_edges for graph in part))
        num_edges = sum(graph.num_edges for graph in largest)
        if len(largest) == 1:
            raise DeviceError(f"{self._step.device} ran out of memory on one frame of {largest[0].num_atoms} atoms and "
                              f"{num_edges} edges", "use fewer channels or layers, a smaller r_max or l_max, or "
                              "smaller structures")
        self.max_edges = max(num_edges // 2, 1)
        self._step.optimizer.zero_grad(set_to_none=True)
        if self._step.device.type == "cuda":
            self._recorded = None
            torch.cuda.empty_cache()
        self._note(f"{self._step.device} ran out of memory on {num_edges} edges: from now on at most {self.max_edges} "
                   "at once, the same steps in parts")


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)
