"""The convolution as an operation with first and second derivatives, for any set of kernels.

T(g; x, Y, w) = Σ_edges Σ_paths g_i · w · (x_j ⊗ Y) is linear in each of its four arguments. The convolution is
∂T/∂g, the gradients of a loss are ∂T/∂x, ∂T/∂Y, ∂T/∂w, and the derivatives of those gradients are again sums of
such products with one argument exchanged for its tangent. Two operations, each with an optional tangent, are
therefore all that forces, their parameter gradients and Hessians need.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from toolkit.kernels.edges import EdgeList


class Operands(NamedTuple):
    """What is multiplied, or a tangent to it.

    harmonics : (E, (l_max+1)²);  weights : (E, num_weights);  features : one (N, 2l+1, C) per input irrep
    """

    harmonics: Tensor
    weights: Tensor
    features: tuple[Tensor, ...]


class TrilinearKernels(Protocol):
    """The two operations; `operands` and `tangent` are contiguous and of one dtype and device."""

    def messages(self, operands: Operands, edges: EdgeList, tangent: Operands | None = None) -> tuple[Tensor, ...]:
        """The convolution, one (N, 2l+1, C') per output irrep; with a tangent, its directional derivative along it."""

    def gradients(self, cotangent: tuple[Tensor, ...], operands: Operands, edges: EdgeList,
                  tangent: Operands | None = None) -> Operands:
        """∂T/∂(Y, w, x) for g = cotangent; with a tangent, the directional derivative of those along it at fixed g."""


def convolve(kernels: TrilinearKernels, operands: Operands, edges: EdgeList) -> list[Tensor]:
    """The convolution, twice differentiable."""
    return list(_Messages.apply(kernels, edges, operands.harmonics, operands.weights, *operands.features))


def _pack(tensors: tuple[Tensor, ...]) -> Operands:
    harmonics, weights, *features = (x.contiguous() for x in tensors)
    return Operands(harmonics, weights, tuple(features))


class _Messages(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: TrilinearKernels, edges: EdgeList, *operands: Tensor) -> tuple[Tensor, ...]:
        ctx.kernels, ctx.edges = kernels, edges
        ctx.save_for_backward(*operands)
        return kernels.messages(_pack(operands), edges)

    @staticmethod
    def backward(ctx: Any, *cotangent: Tensor) -> tuple[Tensor | None, ...]:
        gradients = _Gradients.apply(ctx.kernels, ctx.edges, len(cotangent), *cotangent, *ctx.saved_tensors)
        return None, None, *gradients


class _Gradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: TrilinearKernels, edges: EdgeList, num_outputs: int,
                *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.kernels, ctx.edges, ctx.num_outputs = kernels, edges, num_outputs
        ctx.save_for_backward(*tensors)
        cotangent = tuple(g.contiguous() for g in tensors[:num_outputs])
        harmonics, weights, features = kernels.gradients(cotangent, _pack(tensors[num_outputs:]), edges)
        return harmonics, weights, *features

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *tangent: Tensor) -> tuple[Tensor | None, ...]:
        cotangent = tuple(g.contiguous() for g in ctx.saved_tensors[:ctx.num_outputs])
        operands, direction = _pack(ctx.saved_tensors[ctx.num_outputs:]), _pack(tangent)
        messages = ctx.kernels.messages(operands, ctx.edges, direction)
        harmonics, weights, features = ctx.kernels.gradients(cotangent, operands, ctx.edges, direction)
        return None, None, None, *messages, harmonics, weights, *features
