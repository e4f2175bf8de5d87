"""What layers know of the elements, and matrix products whose matrix depends on the element."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

GROUPS_PAY = 256
"""Atoms × species from which sorting the atoms by species is faster than the copies `SpeciesFeatures.mix` makes else
(one thread: half the time at 1,300 atoms of 3 species, a twentieth at 500 of 89)."""


class SpeciesGroups(NamedTuple):
    """The atoms sorted by species.

    order : (N,) int64;  inverse : (N,) int64, each atom's place in it;  counts : atoms of each species
    """

    order: Tensor
    inverse: Tensor
    counts: list[int]


class SpeciesFeatures(NamedTuple):
    """The elements of N atoms.

    index : (N,) int64;  embedding : the table (num_species, D);  one_hot : (N, num_species), or None where `groups` serve
    """

    index: Tensor
    embedding: Tensor
    one_hot: Tensor | None
    groups: SpeciesGroups | None

    @classmethod
    def of(cls, index: Tensor, embedding: Tensor) -> SpeciesFeatures:
        """Sorts the atoms when they are many and on the CPU: from a GPU the counts would have to be waited for, and in what is
        traced for any number of atoms there are none."""
        num_species, num_atoms = len(embedding), index.shape[0]
        if isinstance(num_atoms, int) and index.device.type == "cpu" and num_atoms * num_species >= GROUPS_PAY:
            return cls(index, embedding, None, group_by_species(index, num_species))
        return cls(index, embedding, torch.nn.functional.one_hot(index, num_species).to(embedding.dtype), None)

    def mix(self, x: Tensor, matrices: Tensor) -> Tensor:
        """x_i W_z(i).  x : (N, 2l+1, C_in);  matrices : (num_species, C_in, C_out). Returns (N, 2l+1, C_out)."""
        if self.groups is None:
            return weighted_blocks(x, self.one_hot) @ matrices.flatten(0, 1)
        order, inverse, counts = self.groups
        rows = permuted(x, order, inverse).split(counts)
        mixed = [part @ matrix for part, matrix in zip(rows, matrices.unbind(), strict=True) if len(part)]
        return permuted(torch.cat(mixed), inverse, order)


def group_by_species(index: Tensor, num_species: int) -> SpeciesGroups:
    """index : (N,) int64."""
    order = torch.argsort(index, stable=True)
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    return SpeciesGroups(order, inverse, torch.bincount(index, minlength=num_species).tolist())


def weighted_blocks(x: Tensor, weights: Tensor) -> Tensor:
    """x ⊗ weights: (N, 2l+1, C) and (N, D) -> (N, 2l+1, D · C)."""
    return (x.unsqueeze(2) * weights[:, None, :, None]).flatten(2)


def permuted(x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """x[order], differentiable any number of times. Knowing the inverse, gradients are read, not added up."""
    return _Permuted.apply(x, order, inverse)


class _Permuted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(order, inverse)
        return x.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        order, inverse = ctx.saved_tensors
        return _Permuted.apply(gradient, inverse, order), None, None
