"""The contract every model fulfils: a graph and its edge vectors in, a dictionary of named tensors out.

=====================  ================  ================================================================
output                 shape             meaning
=====================  ================  ================================================================
`atomic_energies`      (N,) float64      eV, shifts included; their sum per structure is the energy
`charges`              (N,) float64      e, latent; only of models with a long range (`models.long_range`)
=====================  ================  ================================================================

A model returns whichever outputs it has (later: dipoles, per-atom tensors, edge energies). It never differentiates:
forces, stress and Hessian are taken once, in `models.derivatives`. What is local sees positions only through `vectors`;
the long range reads `graph.positions` and `graph.cell`, which carry the same derivatives.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from toolkit.data.graph import AtomicGraph

ModelOutput = dict[str, Tensor]


class AtomisticModel(torch.nn.Module):
    """Base of all models. `r_max` is the cutoff in Å, `species` the elements it knows, in the order of its tables."""

    r_max: float
    species: tuple[str, ...]

    @property
    def receptive_field(self) -> float:
        """Distance, Å, beyond which nothing changes an atom's energy; `math.inf` where nothing is promised."""
        return self.r_max

    def prepare_inference(self) -> None:
        """Work out what depends on the weights alone. Called when they are final, on their device and in their precision;
        again after a change. Training never calls it. A model that has nothing to prepare prepares its parts."""
        for module in self.modules():
            if module is not self and isinstance(module, AtomisticModel):
                module.prepare_inference()

    @abstractmethod
    def forward(self, graph: AtomicGraph, vectors: Tensor) -> ModelOutput:
        """Evaluate; `vectors` (E, 3) float64, Å, are the edge vectors of the (perhaps strained) graph."""
