"""What networks with radial functions of edges have in common: NequIP, AtomGNN and AtomMLP."""

from __future__ import annotations

import torch
from torch import Tensor

from toolkit.data.graph import AtomicGraph
from toolkit.models.base import AtomisticModel
from toolkit.models.species import SpeciesTable
from toolkit.nn.angular import SphericalHarmonics
from toolkit.nn.convolution import EdgeFeatures, NeighborConvolution
from toolkit.nn.radial import BesselBasis


class EdgeNetwork(AtomisticModel):
    """A model that reads edges as radial functions times harmonics; `tabulated` says that it does without the basis."""

    table: SpeciesTable
    radial_basis: BesselBasis
    harmonics: SphericalHarmonics
    tabulated: bool = False

    def tabulate(self) -> None:
        """Let all layers read their radial functions from tables: in float32, without cutoffs by pair, and where the
        backend can."""
        layers = [module for module in self.modules() if isinstance(module, NeighborConvolution)]
        possible = layers[0].radial_mlp.weights[0].dtype == torch.float32 and self.table.cutoffs is None
        self.tabulated = possible and all([layer.tabulate(self.radial_basis) for layer in layers])

    def edge_features(self, graph: AtomicGraph, vectors: Tensor, index: Tensor) -> EdgeFeatures:
        """What layers know of the edges. vectors : (E, 3), Å, in the precision of the weights;  index : (N,) species"""
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        edge_embedding = None  # (E, num_bessels)
        if not self.tabulated:
            edge_embedding = self.radial_basis(lengths, self.table.pair_cutoffs(index, graph.edge_index))
        return EdgeFeatures(graph.edges, lengths, self.harmonics(vectors, lengths), edge_embedding)
