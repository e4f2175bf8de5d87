"""AtomMLP: one network per atom on invariants of its neighbourhood (Behler and Parrinello, PRL 98, 146401 (2007))."""

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
from toolkit.nn.linear import EquivariantLinear
from toolkit.nn.mlp import ScalarMLP
from toolkit.nn.radial import BesselBasis


class Environment(NeighborConvolution):
    """Invariants of the neighbour density A_i^lk = Σ_j R_lk(r_ij) z_k(s_j) Y_l(r̂_ij): A^0k and |(M A)^lk|²/(2l+1).

    z : learned species vectors;  M mixes channels k, so that the norms hold products of different radial functions.
    This is the power spectrum of Bartók et al., Phys. Rev. B 87, 184115 (2013), eq. 38, in learned channels: distances
    and, from l = 1 on, angles, at a cost linear in the number of neighbours.
    """

    def __init__(self, channels: tuple[int, ...], radial_dims: list[int], avg_num_neighbors: float,
                 backend: str) -> None:
        super().__init__()
        scalars = o3.Irreps([(channels[0], "0e")])
        harmonics = o3.Irreps.spherical_harmonics(len(channels) - 1)
        density = o3.Irreps([(channels[0], harmonic.ir) for harmonic in harmonics])
        self.table = PathTable(scalars, len(channels) - 1, density)
        self.radial_mlp = ScalarMLP([*radial_dims, self.table.num_weights])
        mixed = [(count, irrep) for count, (_, irrep) in zip(channels, self.table.irreps_out, strict=True)]
        self.linear = EquivariantLinear(self.table.irreps_out, o3.Irreps(mixed))
        self.norm = 1.0 / math.sqrt(avg_num_neighbors)
        self.use_backend(backend)

    def forward(self, species: Tensor, edges: EdgeFeatures) -> Tensor:
        """Species vectors (N, 1, C) -> invariants (N, sum of channels); zero without neighbours."""
        scalars, *tensors = self.linear(self.convolve([species], edges), self.norm)  # one (N, 2l+1, channels[l]) per l
        return torch.cat([scalars.squeeze(1), *(a.square().mean(dim=1) for a in tensors)], dim=1)


class AtomMLP(EdgeNetwork):
    """E_i = scale · MLP(g(s_i) ∘ invariants of neighbours within r_max) + shift; g : factors learned per species."""

    def __init__(self, config: ModelConfig, backend: str = "reference") -> None:
        super().__init__()
        self.r_max = config.r_max
        self.species = config.species
        num_species, num_invariants = len(config.species), sum(config.channels)
        # 1. species: vectors of neighbours, factors of centres, energy scale and shift
        self.table = SpeciesTable(config)
        self.neighbor_embedding = torch.nn.Parameter(torch.randn(num_species, config.channels[0]))
        self.center_factors = torch.nn.Parameter(torch.randn(num_species, num_invariants))
        # 2. edges: radial basis and harmonics
        self.radial_basis = BesselBasis(config.r_max, config.num_bessels, config.polynomial_cutoff_p,
                                        config.bessel_trainable)
        self.harmonics = SphericalHarmonics(config.l_max)
        # 3. invariants of the environment
        radial_dims = [config.num_bessels, *[config.radial_mlp_width] * config.radial_mlp_depth]
        self.environment = Environment(config.channels, radial_dims, config.avg_num_neighbors or 1.0, backend)
        # 4. atomic energy, and charges for a long range
        width = config.readout_mlp_width or num_invariants
        self.readout = ScalarMLP([num_invariants, *[width] * config.readout_mlp_depth, 1])
        self.charges = ChargeHead(len(config.species), num_invariants) if config.predicts_charges else None

    @torch.no_grad()
    def prepare_inference(self) -> None:
        """In float32 replace the radial network by a table."""
        self.tabulate()

    def forward(self, graph: AtomicGraph, vectors: Tensor) -> ModelOutput:
        """Atomic energies, (N,) float64, eV, and charges, (N,), e, if asked for. vectors : (E, 3) float64, Å."""
        # 1. species
        index = self.table.index(graph.atomic_numbers)
        species = self.neighbor_embedding.index_select(0, index).unsqueeze(1)  # (N, 1, C)
        # 2. edges
        edges = self.edge_features(graph, vectors.to(species.dtype), index)
        # 3. invariants of the environment, weighed by the species of the centre: (N, sum of channels)
        invariants = self.environment(species, edges) * self.center_factors.index_select(0, index)
        # 4. atomic energy: (N, sum of channels) -> (N,)
        raw = self.readout(invariants).squeeze(1)
        output = {"atomic_energies": self.table.scale_shift(raw, index)}
        return output if self.charges is None else {**output, "charges": self.charges(invariants, index)}
