"""AtomGNN: message passing with continuous filters, after SchNet (Schütt et al., J. Chem. Phys. 148, 241722 (2018))."""

from __future__ import annotations

import math

import torch
from e3nn import o3
from torch import Tensor

from toolkit.config import ModelConfig
from toolkit.data.graph import AtomicGraph
from toolkit.kernels.paths import PathTable
from toolkit.models.base import ModelOutput
from toolkit.models.edge_network import EdgeNetwork
from toolkit.models.species import SpeciesTable
from toolkit.nn.angular import SphericalHarmonics
from toolkit.nn.charges import ChargeHead
from toolkit.nn.convolution import EdgeFeatures, NeighborConvolution
from toolkit.nn.mlp import ScalarMLP
from toolkit.nn.radial import BesselBasis


class FilterLayer(NeighborConvolution):
    """x_i' = x_i + U( Σ_j W(r_ij) ∘ (L x)_j / √avg_num_neighbors ): filters W and update U are networks without bias.

    Schütt et al. (2018), eq. 4 and Fig. 2; the Bessel basis takes the place of their Gaussians.
    """

    def __init__(self, channels: int, radial_dims: list[int], avg_num_neighbors: float, backend: str) -> None:
        super().__init__()
        scalars = o3.Irreps([(channels, "0e")])
        self.table = PathTable(scalars, 0, scalars)
        self.linear = ScalarMLP([channels, channels])
        self.radial_mlp = ScalarMLP([*radial_dims, self.table.num_weights])
        self.update = ScalarMLP([channels, channels, channels])
        self.norm = 1.0 / math.sqrt(avg_num_neighbors)
        self.use_backend(backend)

    def forward(self, x: Tensor, edges: EdgeFeatures) -> Tensor:
        """Node features (N, 1, C) after one exchange with the neighbours."""
        messages, = self.convolve([self.linear(x)], edges)
        return x + self.update(messages * self.norm)


class AtomGNN(EdgeNetwork):
    """E_i = scale · [f(x_i) − f(x_i⁰)] + shift: x⁰ embeds the species, x is what `num_layers` exchanges make of it.

    The difference makes an atom without neighbours exactly its shift.
    """

    def __init__(self, config: ModelConfig, backend: str = "reference") -> None:
        super().__init__()
        self.r_max = config.r_max
        self.species = config.species
        channels = config.channels[0]
        # 1. species: embedding, energy scale and shift
        self.table = SpeciesTable(config)
        self.species_embedding = torch.nn.Parameter(torch.randn(len(config.species), channels))
        # 2. edges: radial basis; harmonics of degree 0 are ones
        self.radial_basis = BesselBasis(config.r_max, config.num_bessels, config.polynomial_cutoff_p,
                                        config.bessel_trainable)
        self.harmonics = SphericalHarmonics(0)
        # 3. message passing
        radial_dims = [config.num_bessels, *[config.radial_mlp_width] * config.radial_mlp_depth]
        self.layers = torch.nn.ModuleList(FilterLayer(channels, radial_dims, config.avg_num_neighbors or 1.0, backend)
                                          for _ in range(config.num_layers))
        # 4. atomic energy, and charges for a long range
        width = config.readout_mlp_width or channels
        self.readout = ScalarMLP([channels, *[width] * config.readout_mlp_depth, 1])
        self.charges = ChargeHead(len(config.species), channels) if config.predicts_charges else None

    @property
    def receptive_field(self) -> float:
        """Every layer carries messages over one cutoff, Å."""
        return len(self.layers) * self.r_max

    @torch.no_grad()
    def prepare_inference(self) -> None:
        """In float32 replace the filter networks by tables."""
        self.tabulate()

    def forward(self, graph: AtomicGraph, vectors: Tensor) -> ModelOutput:
        """Atomic energies, (N,) float64, eV, and charges, (N,), e, if asked for. vectors : (E, 3) float64, Å."""
        # 1. species
        index = self.table.index(graph.atomic_numbers)
        start = self.species_embedding.index_select(0, index).unsqueeze(1)  # (N, 1, C)
        # 2. edges
        edges = self.edge_features(graph, vectors.to(start.dtype), index)
        # 3. message passing
        x = start
        for layer in self.layers:
            x = layer(x, edges)
        # 4. atomic energy: (N, 1, C) -> (N,)
        raw = (self.readout(x) - self.readout(start)).flatten()
        output = {"atomic_energies": self.table.scale_shift(raw, index)}
        return output if self.charges is None else {**output, "charges": self.charges(x.squeeze(1), index)}
