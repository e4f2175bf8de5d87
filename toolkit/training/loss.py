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
    total = output["energy"].new_zeros(())
    if config.energy_weight:
        per_atom = (output["energy"] - graph.labels["energy"]) / graph.atoms_per_structure()
        total = total + config.energy_weight * _mean_error(per_atom, config)
    if config.forces_weight:
        total = total + config.forces_weight * _mean_error(output["forces"] - graph.labels["forces"], config)
    if config.stress_weight:
        total = total + config.stress_weight * _mean_error(output["stress"] - graph.labels["stress"], config)
    return total


def _mean_error(difference: Tensor, config: LossConfig) -> Tensor:
    known = ~difference.isnan()
    clean = torch.where(known, difference, torch.zeros_like(difference))
    if config.kind == "mse":
        errors = clean.square()
    elif config.kind == "mae":
        errors = clean.abs()
    else:
        errors = torch.nn.functional.huber_loss(clean, torch.zeros_like(clean), reduction="none", delta=config.huber_delta)
    return errors.sum() / known.sum().clamp(min=1)
