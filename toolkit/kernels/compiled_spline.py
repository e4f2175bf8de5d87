"""Reading splines on the CPU, compiled with Numba."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from toolkit.kernels.loops import compile_loops
from toolkit.kernels.spline import pieces


class NumbaSpline:
    """`spline.SplineKernels` for CPU tensors."""

    def evaluate(self, coefficients: Tensor, p: Tensor, order: int) -> Tensor:
        """See `SplineKernels`."""
        out = torch.empty(len(p), coefficients.shape[1], dtype=p.dtype)
        _evaluate(coefficients.numpy(), p.numpy(), pieces(order), out.numpy())
        return out

    def contract(self, coefficients: Tensor, p: Tensor, cotangent: Tensor, order: int) -> Tensor:
        """See `SplineKernels`."""
        out = torch.empty_like(p)
        _contract(coefficients.numpy(), p.numpy(), pieces(order), cotangent.numpy(), out.numpy())
        return out


@compile_loops
def _locate(p: float, num_rows: int, polynomials: np.ndarray, basis: np.ndarray) -> np.uint64:
    """The six B-splines (or derivatives) at p; returns the first of the six rows that they multiply."""
    row = min(int(p), num_rows - 6)
    t = min(p - row, 1.0)
    for q in range(6):
        value = polynomials[q, 5]
        for power in range(4, -1, -1):
            value = value * t + polynomials[q, power]
        basis[q] = value
    return np.uint64(row)


@compile_loops
def _combine(table: np.ndarray, start: np.uint64, width: np.uint64, basis: np.ndarray, row: np.ndarray) -> None:
    """row[c] = Σ_q basis[q] · table[start + q · width + c]."""
    b0, b1, b2, b3, b4, b5 = basis[0], basis[1], basis[2], basis[3], basis[4], basis[5]
    s1, s2 = start + width, start + width + width
    s3, s4 = s2 + width, s2 + width + width
    s5 = s4 + width
    for c in range(width):
        row[c] = (b0 * table[start + c] + b1 * table[s1 + c] + b2 * table[s2 + c] + b3 * table[s3 + c]
                  + b4 * table[s4 + c] + b5 * table[s5 + c])


@compile_loops
def _evaluate(coefficients: np.ndarray, p: np.ndarray, polynomials: np.ndarray, out: np.ndarray) -> None:
    width, basis = np.uint64(out.shape[1]), np.empty(6, out.dtype)
    for e in range(len(p)):
        start = _locate(p[e], len(coefficients), polynomials, basis) * width
        _combine(coefficients.ravel(), start, width, basis, out[e])


@compile_loops
def _contract(coefficients: np.ndarray, p: np.ndarray, polynomials: np.ndarray, cotangent: np.ndarray,
              out: np.ndarray) -> None:
    width, basis, row = np.uint64(cotangent.shape[1]), np.empty(6, out.dtype), np.empty(cotangent.shape[1], out.dtype)
    flat = cotangent.ravel()
    for e in range(np.uint64(len(p))):
        start = _locate(p[e], len(coefficients), polynomials, basis) * width
        _combine(coefficients.ravel(), start, width, basis, row)
        total, source = row[0] * 0, e * width
        for c in range(width):
            total += flat[source + c] * row[c]
        out[e] = total
