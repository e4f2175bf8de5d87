"""Spherical harmonics of edge directions, as products of the direction with itself."""

from __future__ import annotations

import math
from functools import cache

import torch
from e3nn import o3
from torch import Tensor


class SphericalHarmonics(torch.nn.Module):
    """Real Y_lm of directions, l = 0 … l_max, in e3nn's (y, z, x) order and "component" normalisation, |Y_l|² = 2l + 1.

    Y_l(u) = Q_l · (u ⊗ u ⊗ … ⊗ u) with l factors: a homogeneous polynomial, so two matrix products per degree, and as
    many for a derivative.
    """

    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.l_max = l_max
        for degree in range(1, l_max + 1):
            self.register_buffer(f"polynomial_{degree}", polynomial(degree).clone(), persistent=False)

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """vectors : (E, 3);  lengths : (E,), their norms, not zero. Returns edge_attrs (E, (l_max+1)²)."""
        directions = vectors / lengths.unsqueeze(1)
        parts = [torch.ones_like(lengths).unsqueeze(1)]
        power = directions
        for degree in range(1, self.l_max + 1):
            if degree > 1:
                power = (power.unsqueeze(2) * directions.unsqueeze(1)).flatten(1)  # (E, 3^degree)
            parts.append(power @ getattr(self, f"polynomial_{degree}"))
        return torch.cat(parts, dim=1)


@cache
def polynomial(degree: int) -> Tensor:
    """Q_l transposed, (3^l, 2l + 1), float64: Y_{l-1} ⊗ Y_1 coupled to l by a Wigner 3j symbol, scaled to |Y_l|² = 2l + 1."""
    if degree == 1:
        return math.sqrt(3.0) * torch.eye(3, dtype=torch.float64)
    wigner = o3.wigner_3j(degree - 1, 1, degree, dtype=torch.float64)
    coupled = torch.einsum("pa,abc->pbc", polynomial(degree - 1), wigner).flatten(0, 1)
    pole = torch.zeros(3, dtype=torch.float64)
    pole[1] = 1.0
    at_pole = _power(pole, degree) @ coupled
    sign = torch.sign(at_pole[degree])  # e3nn's harmonics are positive along the axis of m = 0
    return coupled * sign * math.sqrt(2 * degree + 1) / at_pole.norm()


def _power(direction: Tensor, degree: int) -> Tensor:
    power = direction
    for _ in range(degree - 1):
        power = torch.outer(power, direction).flatten()
    return power
