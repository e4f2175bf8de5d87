"""The two parts of Allegro: what a pair of atoms is by itself, and how it learns from the other pairs of its centre.

Both live on directed edges (i, j), centre first. Nothing is ever sent from one centre to another.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from e3nn import o3
from torch import Tensor

from toolkit.kernels.dispatch import convolution, edge_product
from toolkit.kernels.edges import EdgeList
from toolkit.kernels.paths import PathTable
from toolkit.nn.irreps import feature_irreps
from toolkit.nn.linear import EquivariantLinear
from toolkit.nn.mlp import ScalarMLP
from toolkit.nn.radial import BesselBasis

RESIDUAL = 0.5
"""Weight of a layer's update beside the latent it updates, before both are divided by √(1 + RESIDUAL²)."""


class Pairs(NamedTuple):
    """What a layer knows of the edges.

    edges : centres and neighbours;  edge_attrs : (E, (l_max+1)²);  envelope : u(r/r_max), (E, 1)
    """

    edges: EdgeList
    edge_attrs: Tensor
    envelope: Tensor


def tensor_irreps(channels: int, l_max: int, parity: bool, num_layers: int) -> list[o3.Irreps]:
    """Irreps of the tensor features before the first layer and after each, without those that no longer matter.

    The first are harmonics; the last are even scalars; between them stay those irreps that products with harmonics
    reach from the first and from which they reach the last. Without `parity` only the natural ones, (−1)^l, are kept.
    """
    allowed = feature_irreps((channels,) * (l_max + 1), parity)
    stages = [feature_irreps((channels,) * (l_max + 1), False)]
    for _ in range(num_layers - 1):
        reached = {path.irrep_out for path in PathTable(stages[-1], l_max, allowed).paths}
        stages.append(o3.Irreps([m for m in allowed if m.ir in reached]))
    stages.append(o3.Irreps([(channels, "0e")]))
    for k in reversed(range(num_layers)):
        needed = {path.irrep_in for path in PathTable(stages[k], l_max, stages[k + 1]).paths}
        stages[k] = o3.Irreps([m for m in stages[k] if m.ir in needed])
    return stages


class TwoBody(torch.nn.Module):
    """x_ij = u(r_ij) · MLP( z(s_i, s_j) ∘ W B(r_ij) ): scalars of a pair from its distance and its two species.

    z : half of the channels belong to the centre's species, half to the neighbour's.
    Musaelian et al. (2023), eq. 10, whose one-hot vectors beside the basis are here factors of it.
    """

    def __init__(self, basis: BesselBasis, num_species: int, dims: list[int]) -> None:
        """dims : widths of the MLP; the first is that of the pair embedding, the last that of the latent"""
        super().__init__()
        self.center_embedding = torch.nn.Parameter(torch.randn(num_species, dims[0] // 2))
        self.neighbor_embedding = torch.nn.Parameter(torch.randn(num_species, dims[0] - dims[0] // 2))
        self.radial_basis = basis
        self.radial_linear = ScalarMLP([len(basis.roots), dims[0]])
        self.mlp = ScalarMLP(dims)
        with torch.no_grad():
            self._norm = 1.0 / float(basis(torch.linspace(0.0, basis.r_max, 1001)).square().mean().sqrt())

    def forward(self, index: Tensor, edges: EdgeList, lengths: Tensor, cutoffs: Tensor | None,
                envelope: Tensor) -> Tensor:
        """Latent (E, S). index : species (N,);  lengths : (E,), Å;  cutoffs : (E,), Å, or None;  envelope : (E, 1)"""
        species = torch.cat([self.center_embedding.index_select(0, index.index_select(0, edges.center)),
                             self.neighbor_embedding.index_select(0, index.index_select(0, edges.neighbor))], dim=1)
        radial = self.radial_linear(self.radial_basis(lengths, cutoffs) * self._norm)
        return self.mlp(species * radial) * envelope


class AllegroLayer(torch.nn.Module):
    """The environment of each centre, its product with each of the centre's pairs, and what their scalars say.

    Γ_i = Σ_k w(x_ik) Y(r̂_ik) / √avg_num_neighbors;  V'_ij = L[V_ij ⊗ Γ_i];  x'_ij ∝ x_ij + ½ u · MLP(x_ij ∥ V'_ij^0e)
    (Musaelian et al. (2023), eq. 6–9 and 11–13).
    """

    def __init__(self, irreps: tuple[o3.Irreps, o3.Irreps], l_max: int, latent_dims: list[int],
                 avg_num_neighbors: float, backend: str) -> None:
        """irreps : of the tensors before and after;  latent_dims : hidden widths of the latent MLP, then the latent's"""
        super().__init__()
        irreps_in, irreps_out = irreps
        self._channels = irreps_in[0].mul
        ones = o3.Irreps([(self._channels, "0e")])
        self.environment_table = PathTable(ones, l_max, o3.Irreps.spherical_harmonics(l_max))
        self.environment_weights = ScalarMLP([latent_dims[-1], self.environment_table.num_weights])
        self.product_table = PathTable(irreps_in, l_max, irreps_out)
        self.linear = EquivariantLinear(self.product_table.irreps_out, irreps_out)
        self.latent_mlp = ScalarMLP([latent_dims[-1] + self._channels, *latent_dims])
        self.norm = 1.0 / math.sqrt(avg_num_neighbors)
        self._scalars = [mul_ir.ir for mul_ir in irreps_out].index(o3.Irrep("0e"))
        self.use_backend(backend)

    def use_backend(self, backend: str) -> None:
        """Compute sums over neighbours and products with another backend of `kernels.dispatch`; the weights stay."""
        self.convolution = convolution(self.environment_table, backend)
        self.product = edge_product(self.product_table, backend)

    def fold(self) -> None:
        """Work out once what depends on the weights alone; they must not change afterwards."""
        self.linear.fold()

    def environment(self, latent: Tensor, pairs: Pairs) -> list[Tensor]:
        """Γ_i, one (2l+1, N, C) per l = 0 … l_max: the convolution of ones."""
        weights = self.environment_weights(latent) * self.norm  # (E, (l_max+1) · C)
        ones = latent.new_ones(pairs.edges.num_atoms, 1, self._channels)
        summed = self.convolution([ones], pairs.edge_attrs, weights, pairs.edges)
        return [x.transpose(0, 1).contiguous() for x in summed]

    def forward(self, latent: Tensor, tensors: list[Tensor], pairs: Pairs) -> tuple[Tensor, list[Tensor]]:
        """Update the latent (E, S) and the tensors, one (2l+1, E, C) per irrep."""
        # 1. environments, and their products with each pair: (2l+1, E, C) -> (2l+1, E, paths · C)
        tensors = self.product(tensors, self.environment(latent, pairs), pairs.edges)
        # 2. mix channels and paths: -> (2l+1, E, C)
        tensors = self.linear(tensors)
        # 3. scalars into the latent: (E, S + C) -> (E, S)
        scalars = tensors[self._scalars].squeeze(0)
        update = self.latent_mlp(torch.cat([latent, scalars], dim=1)) * pairs.envelope
        return (latent + RESIDUAL * update) / math.sqrt(1.0 + RESIDUAL**2), tensors
