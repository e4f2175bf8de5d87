"""Equivariant linear maps on features stored channels-last: one tensor (N, 2l+1, C) per irrep."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from e3nn import o3
from torch import Tensor

from toolkit.nn.scaling import scaled
from toolkit.nn.species import SpeciesFeatures, weighted_blocks


class EquivariantLinear(torch.nn.Module):
    """Mixes channels of equal (l, parity): out = x W / √C_in. Irreps absent from the input come out as zeros."""

    def __init__(self, irreps_in: o3.Irreps, irreps_out: o3.Irreps) -> None:
        super().__init__()
        position = {mul_ir.ir: index for index, mul_ir in enumerate(irreps_in)}
        self.irreps_out = irreps_out
        self.sources = [position.get(mul_ir.ir) for mul_ir in irreps_out]
        self._scales = [1.0 / math.sqrt(irreps_in[s].mul) if s is not None else 0.0 for s in self.sources]
        self.weights = torch.nn.ParameterList(
            torch.randn(irreps_in[source].mul if source is not None else 0, mul_ir.mul)
            for source, mul_ir in zip(self.sources, irreps_out, strict=True))

        self.folded: list[Tensor] | None = None

    def fold(self, factor: float = 1.0) -> None:
        """Work out the scaled matrices once; the weights must not change afterwards."""
        self.folded = self._matrices(factor)

    def _matrices(self, factor: float) -> list[Tensor]:
        return scaled(list(self.weights), [scale * factor for scale in self._scales])

    def forward(self, features: list[Tensor], factor: float = 1.0) -> list[Tensor]:
        """One (N, 2l+1, C_in) per irrep of irreps_in -> one (N, 2l+1, C_out) per irrep of irreps_out, times `factor`."""
        matrices = self.folded or self._matrices(factor)
        outputs = []
        for index, (mul, irrep) in enumerate(self.irreps_out):
            source = self.sources[index]
            if source is None:
                outputs.append(features[0].new_zeros(features[0].shape[0], irrep.dim, mul))
            else:
                outputs.append(features[source] @ matrices[index])
        return outputs


class SelfConnection(torch.nn.Module):
    """An equivariant linear map whose weights depend on the species: out = Σ_d z_d x W_d / √(C_in D).

    This is the fully connected tensor product of features with the D-dimensional species embedding z (node_attrs).
    """

    def __init__(self, irreps_in: o3.Irreps, embedding_dim: int, irreps_out: o3.Irreps) -> None:
        super().__init__()
        position = {mul_ir.ir: index for index, mul_ir in enumerate(irreps_in)}
        pairs = [(position[mul_ir.ir], index) for index, mul_ir in enumerate(irreps_out) if mul_ir.ir in position]
        self.irreps_out = irreps_out
        found = {target: source for source, target in pairs}
        self.sources = [found.get(index) for index in range(len(irreps_out))]
        self._slot = {target: slot for slot, (_, target) in enumerate(pairs)}
        self._scales = [1.0 / math.sqrt(irreps_in[source].mul * embedding_dim) for source, _ in pairs]
        self.weights = torch.nn.ParameterList(
            torch.randn(embedding_dim, irreps_in[source].mul, irreps_out[target].mul) for source, target in pairs)

        self.folded: list[Tensor] | None = None

    def fold(self, species_embedding: Tensor) -> None:
        """Work out the matrices of all species once; neither weights nor embedding may change afterwards."""
        self.folded = self._matrices(species_embedding)

    def by_species(self) -> list[Tensor | None]:
        """The folded matrices (num_species, C_in, C_out) of each output irrep; None where it has no source."""
        return [None if source is None else self.folded[self._slot[index]] for index, source in enumerate(self.sources)]

    def _matrices(self, species_embedding: Tensor) -> list[Tensor]:
        """Σ_d z_d W_d of each species: (num_species, D) × (D, C_in, C_out) -> (num_species, C_in, C_out)."""
        mixed = [torch.tensordot(species_embedding, weight, dims=1) for weight in self.weights]
        return scaled(mixed, self._scales)

    def forward(self, features: list[Tensor], species: SpeciesFeatures) -> list[Tensor]:
        """features as in EquivariantLinear."""
        mix = self._mixing(species)
        outputs = []
        for index, (mul, irrep) in enumerate(self.irreps_out):
            source = self.sources[index]
            if source is None:
                outputs.append(features[0].new_zeros(features[0].shape[0], irrep.dim, mul))
            else:
                outputs.append(mix(features[source], self._slot[index]))
        return outputs

    def _mixing(self, species: SpeciesFeatures) -> Callable[[Tensor, int], Tensor]:
        """The map of one irrep: by a matrix for each species or, where those are many, by z ⊗ x."""
        num_species, embedding_dim = species.embedding.shape
        if self.folded is not None or species.groups is not None or num_species <= embedding_dim:
            matrices = self.folded or self._matrices(species.embedding)
            return lambda x, slot: species.mix(x, matrices[slot])
        rows = species.embedding.index_select(0, species.index)  # (N, D)
        stacked = scaled([weight.flatten(0, 1) for weight in self.weights], self._scales)  # (D · C_in, C_out)
        return lambda x, slot: weighted_blocks(x, rows) @ stacked[slot]
