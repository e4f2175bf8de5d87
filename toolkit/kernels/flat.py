"""Features of all irreps in one array: irrep after irrep, (N, 2l+1, C) each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from e3nn import o3
from torch import Tensor

Shape = tuple[int, int]
"""(2l+1, channels) of an irrep."""


def shapes(irreps: o3.Irreps) -> list[Shape]:
    """(2l+1, channels) of each irrep."""
    return [(mul_ir.ir.dim, mul_ir.mul) for mul_ir in irreps]


def size_per_atom(irreps: Sequence[Shape]) -> int:
    """Numbers of one atom, D."""
    return sum(dim * channels for dim, channels in irreps)


def flatten(features: Sequence[Tensor]) -> Tensor:
    """One (N, 2l+1, C) per irrep -> (N · D,)."""
    return torch.cat([x.flatten() for x in features])


def unflatten(flat: Tensor, num_atoms: int, irreps: Sequence[Shape]) -> tuple[Tensor, ...]:
    """(N · D,) -> one (N, 2l+1, C) per irrep, views."""
    parts = flat.split([num_atoms * dim * channels for dim, channels in irreps])
    return tuple(part.view(num_atoms, *shape) for part, shape in zip(parts, irreps, strict=True))
