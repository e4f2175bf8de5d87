"""Weights times the constants of their initialisation, all of a layer at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def scaled(weights: Sequence[Tensor], scales: Sequence[float]) -> list[Tensor]:
    """w_k · s_k, differentiable any number of times; on a GPU in one kernel instead of one for each weight."""
    return list(_Scaled.apply(tuple(scales), *weights)) if weights else []


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scales: tuple[float, ...], *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.scales = scales
        return tuple(torch._foreach_mul(list(weights), list(scales)))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_Scaled.apply(ctx.scales, *gradients)
