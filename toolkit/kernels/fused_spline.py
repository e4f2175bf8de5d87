"""Reading splines on the GPU, with Triton."""

from __future__ import annotations

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from toolkit.kernels.spline import pieces

BLOCK = 256


class TritonSpline:
    """`spline.SplineKernels` for CUDA tensors."""

    def evaluate(self, coefficients: Tensor, p: Tensor, order: int) -> Tensor:
        """See `SplineKernels`."""
        num_rows, width = coefficients.shape
        out = p.new_empty(len(p), width)
        if len(p):
            grid = (len(p), triton.cdiv(width, BLOCK))
            _evaluate[grid](coefficients, p, _polynomials(order, p.dtype, p.device), out, num_rows, width, BLOCK=BLOCK)
        return out

    def contract(self, coefficients: Tensor, p: Tensor, cotangent: Tensor, order: int) -> Tensor:
        """See `SplineKernels`."""
        num_rows, width = coefficients.shape
        out = torch.empty_like(p)
        if len(p):
            _contract[(len(p),)](coefficients, p, _polynomials(order, p.dtype, p.device), cotangent, out, num_rows, width,
                                 BLOCK=BLOCK)
        return out


@cache
def _polynomials(order: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.as_tensor(pieces(order), dtype=dtype, device=device).contiguous()


@triton.jit
def _polynomial(polynomials, q, t):
    value = tl.load(polynomials + 6 * q + 5)
    for power in tl.static_range(5):
        value = value * t + tl.load(polynomials + 6 * q + 4 - power)
    return value


@triton.jit
def _row(coefficients, position, polynomials, num_rows, width, columns):
    """Σ_q B_q(t) · coefficients[row + q] on some columns."""
    row = tl.minimum(position.to(tl.int32), num_rows - 6)
    t = tl.minimum(position - row, 1.0)
    total = tl.zeros(columns.shape, position.dtype)
    for q in tl.static_range(6):
        values = tl.load(coefficients + (row + q) * width + columns, mask=columns < width, other=0.0)
        total += _polynomial(polynomials, q, t) * values
    return total


@triton.jit
def _evaluate(coefficients, p, polynomials, out, num_rows, width, BLOCK: tl.constexpr):
    e = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    values = _row(coefficients, tl.load(p + e), polynomials, num_rows, width, columns)
    tl.store(out + e * width + columns, values, mask=columns < width)


@triton.jit
def _contract(coefficients, p, polynomials, cotangent, out, num_rows, width, BLOCK: tl.constexpr):
    e = tl.program_id(0).to(tl.int64)
    position = tl.load(p + e)
    total = tl.zeros((BLOCK,), position.dtype)
    for first in range(0, width, BLOCK):
        columns = first + tl.arange(0, BLOCK)
        g = tl.load(cotangent + e * width + columns, mask=columns < width, other=0.0)
        total += g * _row(coefficients, position, polynomials, num_rows, width, columns)
    tl.store(out + e, tl.sum(total, axis=0))
