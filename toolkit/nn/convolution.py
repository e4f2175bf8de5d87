"""The convolution over neighbours with radial weights, and NequIP's interaction layer around it."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple

import torch
from e3nn import o3
from torch import Tensor

from toolkit.kernels.dispatch import BACKENDS, convolution, spline_kernels
from toolkit.kernels.edges import EdgeList
from toolkit.kernels.paths import PathTable
from toolkit.kernels.spline import RadialTable
from toolkit.kernels.tabulated import convolve_from_table, should_read_edgewise
from toolkit.nn.gate import Gate
from toolkit.nn.linear import EquivariantLinear, SelfConnection
from toolkit.nn.mlp import ScalarMLP
from toolkit.nn.radial import BesselBasis
from toolkit.nn.species import SpeciesFeatures

if TYPE_CHECKING:
    from toolkit.nn.fused_layer import FusedNodes


def reachable_gate(irreps_in: o3.Irreps, irreps_target: o3.Irreps, l_max: int) -> Gate:
    """The gate onto those irreps of `irreps_target` that one convolution with harmonics up to l_max can reach."""
    reachable = {path.irrep_out for path in PathTable(irreps_in, l_max, irreps_target).paths}
    gate_is_reachable = o3.Irrep("0e") in reachable
    kept = [(m.mul, m.ir) for m in irreps_target if m.ir in reachable and (m.ir.l == 0 or gate_is_reachable)]
    return Gate(o3.Irreps(kept))


class EdgeFeatures(NamedTuple):
    """What a layer knows of the edges.

    edges : centres and neighbours;  lengths : (E,), Å;  edge_attrs : (E, (l_max+1)²)
    edge_embedding : (E, num_bessels), or None when every layer reads its weights from a table
    """

    edges: EdgeList
    lengths: Tensor
    edge_attrs: Tensor
    edge_embedding: Tensor | None


class NeighborConvolution(torch.nn.Module):
    """Base of layers with a sum Σ_j R(r_ij) · x_j ⊗ Y(r̂_ij), on any backend, R computed or read from a table.

    A subclass sets `table` and `radial_mlp` (num_bessels -> table.num_weights), then calls `use_backend`.
    """

    table: PathTable
    radial_mlp: ScalarMLP
    backend: str
    convolution: torch.nn.Module
    radial_table: RadialTable | None

    def use_backend(self, backend: str) -> None:
        """Compute the convolution with another backend of `kernels.dispatch`; the weights stay."""
        self.backend = backend
        self.convolution = convolution(self.table, backend)
        self.radial_table = None

    def tabulate(self, radial_basis: BesselBasis) -> bool:
        """Read the radial weights from a table from now on; False where the backend has no kernel for that."""
        kernels = spline_kernels(self.backend)
        if kernels is None:
            self.radial_table = None
            return False
        exact = deepcopy(torch.nn.Sequential(radial_basis, self.radial_mlp)).double().cpu()
        table = RadialTable(exact, radial_basis.r_max, kernels, len(radial_basis.roots), radial_basis.p)
        self.radial_table = table.to(self.radial_mlp.weights[0])
        return True

    def convolve(self, x: list[Tensor], edges: EdgeFeatures) -> list[Tensor]:
        """One (N, 2l+1, C) per irrep of table.irreps_in -> one per irrep of table.irreps_out."""
        table = self.radial_table
        if table is not None and should_read_edgewise(self.convolution.kernels, table, edges.lengths):
            return convolve_from_table(self.convolution.kernels, table, x, edges.edge_attrs, edges.lengths, edges.edges)
        # radial weights: (E, num_bessels) -> (E, num_weights)
        weights = self.radial_mlp(edges.edge_embedding) if table is None else table(edges.lengths)
        return self.convolution(x, edges.edge_attrs, weights, edges.edges)


class InteractionLayer(NeighborConvolution):
    """x' = gate( L₂[ Σ_j R(r_ij) · (L₁x)_j ⊗ Y(r̂_ij) / √avg_num_neighbors ] + self-connection(x, species) ).

    Batzner et al., Nat. Commun. 13, 2453 (2022), Fig. 1. The first layer has no self-connection, so that an atom
    without neighbours ends with zero features and its energy is exactly its shift.
    """

    def __init__(self, irreps_in: o3.Irreps, irreps_target: o3.Irreps, l_max: int, radial_dims: list[int],
                 embedding_dim: int, avg_num_neighbors: float, self_connection: bool, backend: str) -> None:
        super().__init__()
        self.gate = reachable_gate(irreps_in, irreps_target, l_max)
        self.irreps_out = self.gate.irreps_out
        self.table = table = PathTable(irreps_in, l_max, self.gate.irreps_in)
        self.linear_1 = EquivariantLinear(irreps_in, irreps_in)
        self.radial_mlp = ScalarMLP([*radial_dims, table.num_weights])
        self.nodes: FusedNodes | None = None
        self.use_backend(backend)
        self.linear_2 = EquivariantLinear(table.irreps_out, self.gate.irreps_in)
        self.self_connection = SelfConnection(irreps_in, embedding_dim, self.gate.irreps_in) if self_connection else None
        self.norm = 1.0 / math.sqrt(avg_num_neighbors)

    def use_backend(self, backend: str) -> None:
        """Compute the convolution with another backend of `kernels.dispatch`; the weights stay."""
        super().use_backend(backend)
        self.nodes = None
        self.gate.at_once = BACKENDS[backend].fuses_nodes

    def fold(self, species_embedding: Tensor) -> None:
        """Work out once what depends on the weights alone; they must not change afterwards."""
        self.linear_1.fold(self.norm)
        self.linear_2.fold()
        if self.self_connection is not None:
            self.self_connection.fold(species_embedding)
        if BACKENDS[self.backend].fuses_nodes and species_embedding.dtype == torch.float32:
            from toolkit.nn.fused_layer import FusedNodes  # needs Triton

            self.nodes = FusedNodes(self)

    def forward(self, features: list[Tensor], species: SpeciesFeatures, edges: EdgeFeatures) -> list[Tensor]:
        """One step of message passing. features : one (N, 2l+1, C) per irrep."""
        # 1. mix channels
        if self.nodes is None:
            x = self.linear_1(features, self.norm)
        else:
            flat, x = self.nodes.before(features)
        # 2. radial weights, tensor product with the harmonics, sum over neighbours: (N, 2l+1, C) -> (N, 2l+1, paths · C)
        x = self.convolve(x, edges)
        if self.nodes is not None:
            return self.nodes.after(x, flat, species.index)
        # 3. mix channels and paths
        x = self.linear_2(x)
        # 4. self-connection
        if self.self_connection is not None:
            x = [a + b for a, b in zip(x, self.self_connection(features, species), strict=True)]
        # 5. nonlinearity
        return self.gate(x)
