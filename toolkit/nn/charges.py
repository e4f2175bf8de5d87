"""Latent charges of atoms: predicted from features, and made to add up."""

from __future__ import annotations

import torch
from torch import Tensor

from toolkit.nn.mlp import ScalarMLP

START_E = 0.1
"""Size of the charges of fresh weights, e: not zero, where the energy has no slope, and different for each species."""


class ChargeHead(torch.nn.Module):
    """q_i = q⁰(s_i) + w · x_i: what the species has, also without neighbours, and what the features add; e.

    num_species : rows of the table q⁰;  width : number of scalar features x
    """

    def __init__(self, num_species: int, width: int) -> None:
        super().__init__()
        self.species_charges = torch.nn.Parameter(torch.linspace(-START_E, START_E, num_species))
        self.linear = ScalarMLP([width, 1])

    def forward(self, features: Tensor, index: Tensor) -> Tensor:
        """features : (N, C);  index : (N,) int64, rows of the species -> charges (N,) float64, e, of any sum."""
        added = START_E * self.linear(features).squeeze(1)
        return (self.species_charges.index_select(0, index) + added).double()


def conserve_charge(charges: Tensor, total_charge: Tensor, batch: Tensor) -> Tensor:
    """q_i − (Σ_j q_j − Q)/N within each structure, (N,): what is too much is shared by all atoms alike.

    charges : (N,), e;  total_charge : (S,), Q, e;  batch : (N,) int64
    """
    counts = torch.zeros_like(total_charge).index_add(0, batch, torch.ones_like(charges))
    excess = torch.zeros_like(total_charge).index_add(0, batch, charges) - total_charge
    return charges - (excess / counts.clamp(min=1.0)).index_select(0, batch)
