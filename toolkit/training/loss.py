"""The training loss: weighted means over energies per atom, force components and stress components."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from toolkit.config import LossConfig
from toolkit.data.graph import AtomicGraph
from toolkit.models.base import ModelOutput


LABELS = ("energy", "forces", "stress")


def training_loss(output: ModelOutput, graph: AtomicGraph, config: LossConfig,
                  counts: Mapping[str, int] | None = None) -> Tensor:
    """w_E ⟨ℓ((E − Ê)/N)⟩ + w_F ⟨ℓ(F − F̂)⟩ + w_σ ⟨ℓ(σ − σ̂)⟩, ℓ = square, absolute value or Huber; eV, Å.

    Labels that are NaN (absent) do not count. With `counts`, the known labels of a whole batch (`count_labels`), the
    graph is a part of that batch, and the losses of all parts add up to the loss of the batch.
    """
    total = output["energy"].new_zeros(())
    for name, (errors, known) in error_sums(output, graph, config).items():
        total = total + getattr(config, f"{name}_weight") * errors / (
            known.clamp(min=1) if counts is None else max(counts[name], 1))
    return total


def error_sums(output: ModelOutput, graph: AtomicGraph, config: LossConfig) -> dict[str, tuple[Tensor, Tensor]]:
    """Σ ℓ over the known labels, and how many they are, of each kind of label that the loss weighs."""
    sizes = graph.atoms_per_structure().clamp(min=1)  # ghosts may have no atoms
    return {name: _error_sum(output[name] / divisor, graph.labels[name] / divisor, config)
            for name, divisor in (("energy", sizes), ("forces", 1), ("stress", 1)) if getattr(config, f"{name}_weight")}


def count_labels(graphs: Iterable[AtomicGraph]) -> dict[str, int]:
    """How many energies, force components and stress components are known."""
    graphs = list(graphs)
    return {name: sum(int((~graph.labels[name].isnan()).sum()) for graph in graphs) for name in LABELS}


def _error_sum(predicted: Tensor, label: Tensor, config: LossConfig) -> tuple[Tensor, Tensor]:
    known = ~label.isnan()
    difference = torch.where(known, predicted - label, torch.zeros_like(predicted))
    if config.kind == "mse":
        errors = difference.square()
    elif config.kind == "mae":
        errors = difference.abs()
    else:
        errors = torch.nn.functional.huber_loss(difference, torch.zeros_like(difference), reduction="none",
                                                delta=config.huber_delta)
    return errors.sum(), known.sum()
