"""Reading splines on the CPU, compiled with Numba."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from toolkit.kernels.compiled_loops import contract_rows, evaluate_rows
from toolkit.kernels.spline import pieces


class NumbaSpline:
    """`spline.SplineKernels` for CPU tensors."""

    def evaluate(self, coefficients: Tensor, p: Tensor, order: int) -> Tensor:
        """See `SplineKernels`."""
        out = torch.empty(len(p), coefficients.shape[1], dtype=p.dtype)
        evaluate_rows(coefficients.numpy(), p.numpy(), pieces(order), out.numpy())
        return out

    def contract(self, coefficients: Tensor, p: Tensor, cotangent: Tensor, order: int) -> Tensor:
        """See `SplineKernels`."""
        out = torch.empty_like(p)
        contract_rows(coefficients.numpy(), p.numpy(), pieces(order), cotangent.numpy(), out.numpy())
        return out
