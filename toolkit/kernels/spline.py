"""Functions of one distance as a table: a spline with its exact derivatives of any order.

The per-edge weights of a trained convolution depend on nothing but r. Reading them from a uniform quintic B-spline
replaces the radial network at each step; the spline is four times continuously differentiable and exactly zero from
r_max on, and forces are the exact derivatives of the splined energy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from scipy.linalg import solve_banded
from torch import Tensor

MIN_INTERVALS, INTERVALS_PER_HALF_WAVE, INTERVALS_PER_POWER = 256, 16, 32
"""r_max/256 ≈ 0.02 Å up to 16 half waves: in float32 values and slopes are then as near to the network as its own
rounding, a few 1e-7; curvatures reach 1e-5, and finer tables lose there, and in slopes, again by cancellation. So
tables serve forces, not Hessians. An envelope of a power p above 8 falls to zero so steeply that it takes finer ones."""

PIECES = np.array([[1, -5, 10, -10, 5, -1], [26, -50, 20, 20, -20, 5], [66, 0, -60, 0, 30, -10],
                   [26, 50, 20, -20, -20, 10], [1, 5, 10, 10, 5, -5], [0, 0, 0, 0, 0, 1]]) / 120.0
"""The six pieces of the quintic B-spline (rows) as polynomials in t, 0 ≤ t < 1 (columns: t⁰ … t⁵)."""


class SplineKernels(Protocol):
    """Σ_q B_q^(order)(t) · coefficients[i + q], q = 0 … 5, at p = i + t; B_q is row q of `pieces(order)`.

    coefficients : (n + 6, W), the last six rows zero;  p : (E,), r over the width of an interval, ≥ 0
    """

    def evaluate(self, coefficients: Tensor, p: Tensor, order: int) -> Tensor:
        """Derivative of this order by p, (E, W)."""

    def contract(self, coefficients: Tensor, p: Tensor, cotangent: Tensor, order: int) -> Tensor:
        """Σ_W cotangent · derivative, (E,). cotangent : (E, W)"""


class RadialTable(torch.nn.Module):
    """Table of a function that is even in r and vanishes with slope and curvature at r_max."""

    def __init__(self, function: Callable[[Tensor], Tensor], r_max: float, kernels: SplineKernels,
                 half_waves: int, power: int = 6) -> None:
        """function : distances (n,) float64, Å -> values (n, W);  half_waves : up to r_max, of its fastest part
        power : p of the `nn.radial.polynomial_envelope` that it holds
        """
        super().__init__()
        self.kernels = kernels
        intervals = max(MIN_INTERVALS, INTERVALS_PER_HALF_WAVE * half_waves, INTERVALS_PER_POWER * power)
        self._intervals_per_A = intervals / r_max
        knots = torch.arange(intervals + 1, dtype=torch.float64) / self._intervals_per_A
        with torch.no_grad():
            values = function(knots).cpu().numpy()
        self.register_buffer("coefficients", torch.as_tensor(spline_coefficients(values)), persistent=False)

    @property
    def width(self) -> int:
        """Number of values W."""
        return self.coefficients.shape[1]

    def position(self, lengths: Tensor) -> Tensor:
        """Distances (E,), Å, as places p in the table."""
        return lengths * self._intervals_per_A

    def forward(self, lengths: Tensor) -> Tensor:
        """Distances (E,), Å -> values (E, W)."""
        return evaluate_spline(self.kernels, self.coefficients, self.position(lengths))


def evaluate_spline(kernels: SplineKernels, coefficients: Tensor, p: Tensor) -> Tensor:
    """The splines at p, (E, W), as often differentiable by p as they are."""
    return _Evaluate.apply(kernels, coefficients, p, 0)


@cache
def pieces(order: int) -> np.ndarray:
    """The derivatives of this order of the six pieces, polynomials in t, (6, 6)."""
    result = PIECES
    for _ in range(order):
        result = np.hstack([result[:, 1:] * np.arange(1, 6), np.zeros((6, 1))])
    return result


def spline_coefficients(values: np.ndarray) -> np.ndarray:
    """Coefficients (n + 6, W) of the uniform quintic B-spline through values (n + 1, W) at p = 0 … n.

    (c_{i-2} + 26 c_{i-1} + 66 c_i + 26 c_{i+1} + c_{i+2})/120 = f_i, mirrored at p = 0. The splines that reach beyond
    p = n are left out; their coefficients are tiny for a function that vanishes there to third order.
    """
    size = len(values) - 3  # c_0 … c_{n-3}; the spline of c_i ends at p = i + 3
    banded = np.repeat([[1.0], [26.0], [66.0], [26.0], [1.0]], size, axis=1)
    banded[1, 1] += 26.0  # c_{-1} = c_1 in the equation of f_0
    banded[0, 2] += 1.0  # c_{-2} = c_2 in the equation of f_0
    banded[2, 1] += 1.0  # c_{-1} = c_1 in the equation of f_1
    inner = solve_banded((2, 2), banded, 120.0 * values[:size])
    return np.concatenate([inner[2:0:-1], inner, np.zeros((6, values.shape[1]))])


class _Evaluate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: SplineKernels, coefficients: Tensor, p: Tensor, order: int) -> Tensor:
        ctx.kernels, ctx.order = kernels, order
        ctx.save_for_backward(coefficients, p)
        return kernels.evaluate(coefficients, p.contiguous(), order)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        coefficients, p = ctx.saved_tensors
        return None, None, _Contract.apply(ctx.kernels, coefficients, p, cotangent, ctx.order + 1), None


class _Contract(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: SplineKernels, coefficients: Tensor, p: Tensor, cotangent: Tensor, order: int) -> Tensor:
        ctx.kernels, ctx.order = kernels, order
        ctx.save_for_backward(coefficients, p, cotangent)
        return kernels.contract(coefficients, p.contiguous(), cotangent.contiguous(), order)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor) -> tuple[Tensor | None, ...]:
        coefficients, p, cotangent = ctx.saved_tensors
        by_p = tangent * _Contract.apply(ctx.kernels, coefficients, p, cotangent, ctx.order + 1)
        by_cotangent = tangent[:, None] * _Evaluate.apply(ctx.kernels, coefficients, p, ctx.order)
        return None, None, by_p, by_cotangent, None
