"""The training loss: weighted means over energies per atom, force components and stress components."""

from __future__ import annotations

import torch
from torch import Tensor

from toolkit.config import LossConfig
from toolkit.data.graph import AtomicGraph
from toolkit.models.base import ModelOutput


def training_loss(output: ModelOutput, graph: AtomicGraph, config: LossConfig) -> Tensor:
    """w_E ⟨ℓ((E − Ê)/N)⟩ + w_F ⟨ℓ(F − F̂)⟩ + w_σ ⟨ℓ(σ − σ̂)⟩, ℓ = square, absolute value or Huber; eV, Å.

    Labels that are NaN (absent) do not count.
    """
    labels = graph.labels
    total = output["energy"].new_zeros(())
    if config.energy_weight:
        sizes = graph.atoms_per_structure().clamp(min=1)  # ghosts may have no atoms
        total = total + config.energy_weight * _mean_error(output["energy"] / sizes, labels["energy"] / sizes, config)
    if config.forces_weight:
        total = total + config.forces_weight * _mean_error(output["forces"], labels["forces"], config)
    if config.stress_weight:
        total = total + config.stress_weight * _mean_error(output["stress"], labels["stress"], config)
    return total


def _mean_error(predicted: Tensor, label: Tensor, config: LossConfig) -> Tensor:
    known = ~label.isnan()
    difference = torch.where(known, predicted - label, torch.zeros_like(predicted))
    if config.kind == "mse":
        errors = difference.square()
    elif config.kind == "mae":
        errors = difference.abs()
    else:
        errors = torch.nn.functional.huber_loss(difference, torch.zeros_like(difference), reduction="none",
                                                delta=config.huber_delta)
    return errors.sum() / known.sum().clamp(min=1)
