"""A convolution that reads its weights from a table twice instead of keeping them: a fifth of the memory in large boxes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from toolkit.kernels.edges import EdgeList
from toolkit.kernels.spline import RadialTable, SplineKernels
from toolkit.kernels.trilinear import Operands, TrilinearKernels

KEEP_BYTES = 1 << 27
"""Weights of one layer up to this size (128 MiB) are kept from the forward to the backward pass."""


def worth_rereading(table: RadialTable, lengths: Tensor) -> bool:
    """True when the weights of these edges would take too much memory to be kept."""
    return len(lengths) * table.width * lengths.element_size() > KEEP_BYTES


def convolve_from_table(kernels: TrilinearKernels, table: RadialTable, features: list[Tensor], harmonics: Tensor,
                        lengths: Tensor, edges: EdgeList) -> list[Tensor]:
    """The convolution with weights table(lengths), once differentiable.

    features, harmonics : as in `trilinear.Operands`;  lengths : (E,), Å
    """
    place = (kernels, table.kernels, table.coefficients, edges)
    return list(_Convolve.apply(place, table.position(lengths), harmonics, *features))


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, place: tuple[TrilinearKernels, SplineKernels, Tensor, EdgeList], p: Tensor, harmonics: Tensor,
                *features: Tensor) -> tuple[Tensor, ...]:
        ctx.place = place
        ctx.save_for_backward(p, harmonics, *features)
        kernels, _, _, edges = place
        return kernels.messages(_operands(place, p, harmonics, features), edges)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *cotangent: Tensor) -> tuple[Tensor | None, ...]:
        kernels, spline, coefficients, edges = ctx.place
        p, harmonics, *features = ctx.saved_tensors
        gradients = kernels.gradients(tuple(g.contiguous() for g in cotangent),
                                      _operands(ctx.place, p, harmonics, tuple(features)), edges)
        by_p = spline.contract(coefficients, p, gradients.weights, 1)
        return None, by_p, gradients.harmonics, *gradients.features


def _operands(place: tuple[TrilinearKernels, SplineKernels, Tensor, EdgeList], p: Tensor, harmonics: Tensor,
              features: tuple[Tensor, ...]) -> Operands:
    weights = place[1].evaluate(place[2], p.contiguous(), 0)
    return Operands(harmonics.contiguous(), weights, tuple(x.contiguous() for x in features))
