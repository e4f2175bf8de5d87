"""A convolution that reads its weights from a table twice instead of keeping them: a fifth of the memory in large boxes.

Kernels that read the table themselves, edge by edge, are faster so too; others do it where memory asks for it.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from toolkit.kernels.edges import EdgeList
from toolkit.kernels.spline import RadialTable, SplineKernels, evaluate_spline
from toolkit.kernels.trilinear import Operands, TrilinearKernels, convolve

KEEP_BYTES = 1 << 27
"""Weights of one layer up to this size (128 MiB) are kept from the forward to the backward pass."""


@runtime_checkable
class TableKernels(Protocol):
    """Both operations of `TrilinearKernels` with weights that are splines at p, (E,); `operands.weights` is their table, as
    in `SplineKernels`. Of the gradients, those "by weights" are by p, (E,)."""

    def messages_from_table(self, operands: Operands, p: Tensor, edges: EdgeList) -> tuple[Tensor, ...]:
        """The convolution, one (N, 2l+1, C') per output irrep."""

    def gradients_from_table(self, cotangent: tuple[Tensor, ...], operands: Operands, p: Tensor,
                             edges: EdgeList) -> Operands:
        """∂T/∂(Y, p, x) for g = cotangent."""


class WeightsInMemory:
    """`TableKernels` of a convolution and a spline that know nothing of each other."""

    def __init__(self, kernels: TrilinearKernels, spline: SplineKernels) -> None:
        self._kernels, self._spline = kernels, spline

    def messages_from_table(self, operands: Operands, p: Tensor, edges: EdgeList) -> tuple[Tensor, ...]:
        """See `TableKernels`."""
        return self._kernels.messages(self._read(operands, p), edges)

    def gradients_from_table(self, cotangent: tuple[Tensor, ...], operands: Operands, p: Tensor,
                             edges: EdgeList) -> Operands:
        """See `TableKernels`."""
        found = self._kernels.gradients(cotangent, self._read(operands, p), edges)
        return found._replace(weights=self._spline.contract(operands.weights, p, found.weights, 1))

    def _read(self, operands: Operands, p: Tensor) -> Operands:
        return operands._replace(weights=self._spline.evaluate(operands.weights, p, 0))


def should_read_edgewise(kernels: TrilinearKernels, table: RadialTable, lengths: Tensor) -> bool:
    """True when the kernels read the table themselves, or the weights of these edges would take too much memory."""
    return isinstance(kernels, TableKernels) or len(lengths) * table.width * lengths.element_size() > KEEP_BYTES


def convolve_from_table(kernels: TrilinearKernels, table: RadialTable, features: list[Tensor], harmonics: Tensor,
                        lengths: Tensor, edges: EdgeList) -> list[Tensor]:
    """The convolution with weights table(lengths). For derivatives beyond the first the weights are kept after all.

    features, harmonics : as in `trilinear.Operands`;  lengths : (E,), Å
    """
    return list(_Convolve.apply((kernels, table, edges), table.position(lengths), harmonics, *features))


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, place: tuple[TrilinearKernels, RadialTable, EdgeList], p: Tensor, harmonics: Tensor,
                *features: Tensor) -> tuple[Tensor, ...]:
        ctx.place = place
        ctx.save_for_backward(p, harmonics, *features)
        kernels, table, edges = place
        operands = _operands(table, harmonics, features)
        return _reading(kernels, table).messages_from_table(operands, p.contiguous(), edges)

    @staticmethod
    def backward(ctx: Any, *cotangent: Tensor) -> tuple[Tensor | None, ...]:
        kernels, table, edges = ctx.place
        if torch.is_grad_enabled():  # somebody wants derivatives of these gradients
            return None, *_differentiable_gradients(ctx.place, cotangent, ctx.saved_tensors)
        p, harmonics, *features = ctx.saved_tensors
        found = _reading(kernels, table).gradients_from_table(
            tuple(g.contiguous() for g in cotangent), _operands(table, harmonics, tuple(features)), p.contiguous(), edges)
        return None, found.weights, found.harmonics, *found.features


def _differentiable_gradients(place: tuple[TrilinearKernels, RadialTable, EdgeList], cotangent: tuple[Tensor, ...],
                              inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    kernels, table, edges = place
    p, harmonics, *features = inputs
    weights = evaluate_spline(table.kernels, table.coefficients, p)
    outputs = convolve(kernels, Operands(harmonics, weights, tuple(features)), edges)
    return torch.autograd.grad(outputs, inputs, cotangent, create_graph=True, materialize_grads=True)


def _reading(kernels: TrilinearKernels, table: RadialTable) -> TableKernels:
    return kernels if isinstance(kernels, TableKernels) else WeightsInMemory(kernels, table.kernels)


def _operands(table: RadialTable, harmonics: Tensor, features: tuple[Tensor, ...]) -> Operands:
    return Operands(harmonics.contiguous(), table.coefficients, tuple(x.contiguous() for x in features))
