"""NequIP: an E(3)-equivariant message-passing interatomic potential (Batzner et al., Nat. Commun. 13, 2453 (2022))."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from e3nn import o3
from torch import Tensor

from toolkit.config import ModelConfig
from toolkit.data.graph import AtomicGraph
from toolkit.models.base import ModelOutput
from toolkit.models.edge_network import EdgeNetwork
from toolkit.models.species import SpeciesTable
from toolkit.nn.angular import SphericalHarmonics
from toolkit.nn.charges import ChargeHead
from toolkit.nn.convolution import InteractionLayer
from toolkit.nn.irreps import feature_irreps
from toolkit.nn.mlp import ScalarMLP
from toolkit.nn.radial import BesselBasis
from toolkit.nn.species import SpeciesFeatures


class NequIP(EdgeNetwork):
    """Atomic energies from equivariant features; `config` holds every hyper-parameter, `backend` the convolution."""

    def __init__(self, config: ModelConfig, backend: str = "reference") -> None:
        super().__init__()
        self.r_max = config.r_max
        self.species = config.species
        channels = config.channels
        embedding_dim = config.type_embed_num_features or channels[0]
        # 1. species: embedding, energy scale and shift
        self.table = SpeciesTable(config)
        self.species_embedding = torch.nn.Parameter(torch.randn(len(config.species), embedding_dim))
        # 2. edges: radial basis and harmonics
        self.radial_basis = BesselBasis(config.r_max, config.num_bessels, config.polynomial_cutoff_p,
                                        config.bessel_trainable)
        self.harmonics = SphericalHarmonics(config.l_max)
        # 3. interaction layers; the last one keeps only even scalars
        radial_dims = [config.num_bessels, *[config.radial_mlp_width] * config.radial_mlp_depth]
        hidden = feature_irreps(channels, config.parity)
        irreps = o3.Irreps([(embedding_dim, "0e")])
        self.layers = torch.nn.ModuleList()
        for index in range(config.num_layers):
            last = index == config.num_layers - 1
            layer = InteractionLayer(irreps, o3.Irreps([(channels[0], "0e")]) if last else hidden, config.l_max,
                                     radial_dims, embedding_dim, config.avg_num_neighbors or 1.0,
                                     self_connection=index > 0, backend=backend)
            self.layers.append(layer)
            irreps = layer.irreps_out
        # 4. readout, and charges for a long range
        readout_width = config.readout_mlp_width or channels[0]
        self.readout = ScalarMLP([channels[0], *[readout_width] * config.readout_mlp_depth, 1])
        self.charges = ChargeHead(len(config.species), channels[0]) if config.predicts_charges else None

    @property
    def receptive_field(self) -> float:
        """Every layer carries messages over one cutoff, Å."""
        return len(self.layers) * self.r_max

    @torch.no_grad()
    def prepare_inference(self) -> None:
        """Fold constant factors into the weights; in float32 also replace the radial networks by tables."""
        for layer in self.layers:
            layer.fold(self.species_embedding)
        self.tabulate()

    def forward(self, graph: AtomicGraph, vectors: Tensor) -> ModelOutput:
        """Atomic energies, (N,) float64, eV, and charges, (N,), e, if asked for. vectors : (E, 3) float64, Å."""
        *_, (_, features) = self.layer_features(graph, vectors)
        index = self.table.index(graph.atomic_numbers)
        scalars = features[0].squeeze(1)  # (N, 1, C) -> (N, C)
        output = {"atomic_energies": self.table.scale_shift(self.readout(scalars).squeeze(1), index)}
        return output if self.charges is None else {**output, "charges": self.charges(scalars, index)}

    def layer_features(self, graph: AtomicGraph, vectors: Tensor) -> Iterator[tuple[o3.Irreps, list[Tensor]]]:
        """Irreps and features after the embedding and after each layer: one (N, 2l+1, C) per irrep.

        Under a rotation R of the structure a feature of degree l turns by the Wigner matrix D^l(R); under inversion it
        takes the sign of its parity.
        """
        dtype = self.species_embedding.dtype
        # 1. species
        index = self.table.index(graph.atomic_numbers)
        species = SpeciesFeatures.of(index, self.species_embedding)
        features = [self.species_embedding.index_select(0, index).unsqueeze(1)]  # (N, 1, D)
        yield o3.Irreps([(features[0].shape[2], "0e")]), features
        # 2. edges
        edges = self.edge_features(graph, vectors.to(dtype), index)
        # 3. message passing
        for layer in self.layers:
            features = layer(features, species, edges)
            yield layer.irreps_out, features
