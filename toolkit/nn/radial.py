"""Radial functions: an orthogonal basis on [0, r_max] times an envelope that is twice continuously differentiable."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def polynomial_envelope(x: Tensor, p: int) -> Tensor:
    """C2 cutoff u(x) of x = r / r_max: 1 at 0; value, slope and curvature zero at 1; zero beyond.

    u = 1 − (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) − p(p+1)/2 x^(p+2); for p = 6: 1 − 28x⁶ + 48x⁷ − 21x⁸
    (Gasteiger et al., ICLR 2020, eq. 8). Any shape in, the same shape out.
    """
    x = x.clamp(max=1.0)  # far beyond, powers overflow, and the slope of what `where` leaves out would be 0 · ∞
    inside = 1.0 + x**p * (-(p + 1) * (p + 2) / 2 + x * (p * (p + 2) - x * (p * (p + 1) / 2)))
    return torch.where(x < 1.0, inside, torch.zeros_like(x))


class BesselBasis(torch.nn.Module):
    """b_n(r) = (2π/r_max²) · n sinc(n r/r_max) · u(r/r_max), n = 1 … num_bessels.

    Proportional to the spherical Bessel basis sin(nπr/r_max)/r (Gasteiger et al., ICLR 2020, eq. 7), finite at r = 0.
    With `trainable` the roots nπ may move.
    """

    def __init__(self, r_max: float, num_bessels: int, p: int, trainable: bool) -> None:
        super().__init__()
        self.r_max = r_max
        self.p = p
        self.prefactor = 2.0 * math.pi / r_max**2
        self.roots = torch.nn.Parameter(torch.arange(1.0, num_bessels + 1.0), requires_grad=trainable)

    def forward(self, lengths: Tensor, cutoffs: Tensor | None = None) -> Tensor:
        """Edge lengths (E,), Å, -> edge_embedding (E, num_bessels). `cutoffs` (E,), Å, replace r_max edge by edge."""
        x = (lengths / (self.r_max if cutoffs is None else cutoffs.to(lengths.dtype))).unsqueeze(-1)
        basis = torch.sinc(x * self.roots) * self.roots
        return self.prefactor * basis * polynomial_envelope(x, self.p)
