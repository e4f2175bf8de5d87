"""Allegro: a strictly local E(3)-equivariant interatomic potential (Musaelian et al., Nat. Commun. 14, 579 (2023))."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from toolkit.config import ModelConfig
from toolkit.data.graph import AtomicGraph
from toolkit.models.base import AtomisticModel, ModelOutput
from toolkit.models.species import SpeciesTable
from toolkit.nn.allegro import AllegroLayer, Pairs, TwoBody, tensor_irreps
from toolkit.nn.angular import SphericalHarmonics
from toolkit.nn.charges import ChargeHead
from toolkit.nn.mlp import ScalarMLP
from toolkit.nn.radial import BesselBasis, polynomial_envelope


class Allegro(AtomisticModel):
    """E_i = shift + scale · Σ_j E_ij / √avg_num_neighbors: energies of directed pairs, each of which sees only the
    neighbours of its centre within r_max, however many layers there are."""

    def __init__(self, config: ModelConfig, backend: str = "reference") -> None:
        super().__init__()
        self.r_max = config.r_max
        self.species = config.species
        self.p = config.polynomial_cutoff_p
        latent, channels = config.num_scalar_features, config.channels[0]
        avg_num_neighbors = config.avg_num_neighbors or 1.0
        # 1. species: energy scale and shift
        self.table = SpeciesTable(config)
        # 2. pairs: harmonics, scalars, and tensors that weigh the harmonics by the scalars
        self.harmonics = SphericalHarmonics(config.l_max)
        basis = BesselBasis(config.r_max, config.num_bessels, config.polynomial_cutoff_p, config.bessel_trainable)
        self.two_body = TwoBody(basis, len(config.species),
                                [latent, *[config.radial_mlp_width] * config.radial_mlp_depth, latent])
        irreps = tensor_irreps(channels, config.l_max, config.parity, config.num_layers)
        self._degrees = [mul_ir.ir.l for mul_ir in irreps[0]]
        self.tensor_weights = ScalarMLP([latent, len(self._degrees) * channels])
        # 3. layers
        latent_dims = [*[config.latent_mlp_width or latent] * config.latent_mlp_depth, latent]
        self.layers = torch.nn.ModuleList(
            AllegroLayer(stages, config.l_max, latent_dims, avg_num_neighbors, backend)
            for stages in zip(irreps[:-1], irreps[1:], strict=True))
        # 4. pair energies, and charges for a long range
        width = config.readout_mlp_width or latent
        self.readout = ScalarMLP([latent, *[width] * config.readout_mlp_depth, 1])
        self.charges = ChargeHead(len(config.species), latent) if config.predicts_charges else None
        self.norm = 1.0 / math.sqrt(avg_num_neighbors)

    @torch.no_grad()
    def prepare_inference(self) -> None:
        """Fold constant factors into the weights."""
        for layer in self.layers:
            layer.fold()

    def forward(self, graph: AtomicGraph, vectors: Tensor) -> ModelOutput:
        """Atomic energies, (N,) float64, eV, and charges, (N,), e, if asked for. vectors : (E, 3) float64, Å."""
        latent = self.edge_latents(graph, vectors)
        index = self.table.index(graph.atomic_numbers)
        energies = self._pair_energies(latent, index, graph)
        summed = energies.new_zeros(graph.num_atoms).index_add(0, graph.edge_index[0], energies)
        output = {"atomic_energies": summed + self.table.shifts.index_select(0, index)}
        if self.charges is None:
            return output
        scalars = latent.new_zeros(graph.num_atoms, latent.shape[1]).index_add(0, graph.edge_index[0], latent)
        return {**output, "charges": self.charges(scalars * self.norm, index)}

    def edge_energies(self, graph: AtomicGraph, vectors: Tensor) -> Tensor:
        """Energy of each directed pair, (E,) float64, eV: those of a centre, and its shift, are its atomic energy."""
        index = self.table.index(graph.atomic_numbers)
        return self._pair_energies(self.edge_latents(graph, vectors), index, graph)

    def edge_latents(self, graph: AtomicGraph, vectors: Tensor) -> Tensor:
        """Scalars of each directed pair after the last layer, (E, S); zero at the cutoff."""
        edges, dtype = graph.edges, self.two_body.center_embedding.dtype
        # 1. species
        index = self.table.index(graph.atomic_numbers)
        cutoffs = self.table.pair_cutoffs(index, graph.edge_index)
        # 2. pairs: latent (E, S) and tensors, one (2l+1, E, C) per irrep
        vectors = vectors.to(dtype)
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        envelope = polynomial_envelope(lengths / (self.r_max if cutoffs is None else cutoffs.to(dtype)), self.p)
        pairs = Pairs(edges, self.harmonics(vectors, lengths), envelope.unsqueeze(1))
        latent = self.two_body(index, edges, lengths, cutoffs, pairs.envelope)
        tensors = self._first_tensors(latent, pairs.edge_attrs)
        # 3. what the other pairs of the same centre say
        for layer in self.layers:
            latent, tensors = layer(latent, tensors, pairs)
        return latent

    def _pair_energies(self, latent: Tensor, index: Tensor, graph: AtomicGraph) -> Tensor:
        """Latents (E, S), rows of the species (N,) -> energies (E,) float64, eV."""
        raw = self.readout(latent).squeeze(1).double() * self.norm
        return self.table.scales.index_select(0, index.index_select(0, graph.edge_index[0])) * raw

    def _first_tensors(self, latent: Tensor, edge_attrs: Tensor) -> list[Tensor]:
        """V_ij^l = w_l(x_ij) Y_l(r̂_ij), one (2l+1, E, C) per irrep."""
        weights = self.tensor_weights(latent).chunk(len(self._degrees), dim=1)  # (E, C) each
        harmonics = edge_attrs.transpose(0, 1).unsqueeze(2)  # ((l_max+1)², E, 1)
        return [harmonics[degree**2:(degree + 1) ** 2] * weight
                for degree, weight in zip(self._degrees, weights, strict=True)]
