"""The convolution as generated Triton kernels: gather, product and sum in one pass, no message ever in memory."""

from __future__ import annotations

import hashlib
from functools import cache
from types import ModuleType

import torch
import triton
from torch import Tensor

from toolkit.kernels.edges import EdgeList
from toolkit.kernels.generator import fused_source, load_source, path_groups
from toolkit.kernels.paths import PathTable
from toolkit.kernels.trilinear import Operands, convolve

LANES_PER_WARP = 64
"""Two channels per thread: the couplings of an edge, the same for all channels, are worked out half as often."""


class FusedConvolution(torch.nn.Module):
    """`ReferenceConvolution`'s numbers on a GPU. With TRITON_INTERPRET=1 also, very slowly, on a CPU."""

    def __init__(self, table: PathTable) -> None:
        super().__init__()
        self.kernels = TritonKernels(table)

    def forward(self, features: list[Tensor], harmonics: Tensor, weights: Tensor, edges: EdgeList) -> list[Tensor]:
        """Convolve; shapes as in `ReferenceConvolution.forward`."""
        return convolve(self.kernels, Operands(harmonics, weights, tuple(features)), edges)


class TritonKernels:
    """Both operations of `trilinear.TrilinearKernels` for the couplings of one table."""

    def __init__(self, table: PathTable) -> None:
        self._table = table
        self._num_groups = len(path_groups(table))
        self._lanes = triton.next_power_of_2(max(mul_ir.mul for mul_ir in table.irreps_in))
        self._num_warps = max(1, min(8, self._lanes // LANES_PER_WARP))

    def messages(self, operands: Operands, edges: EdgeList, tangent: Operands | None = None) -> tuple[Tensor, ...]:
        """See `TrilinearKernels`."""
        like = operands.weights
        out = [like.new_empty(edges.num_atoms, m.ir.dim, m.mul) for m in self._table.irreps_out]
        arguments = (edges.center_start, edges.neighbor.contiguous(), *_flat(operands), *_flat(tangent or operands), *out)
        for group in range(self._num_groups):
            self._launch(f"messages_{group}", edges.num_atoms, arguments, tangent is not None)
        return tuple(out)

    def gradients(self, cotangent: tuple[Tensor, ...], operands: Operands, edges: EdgeList,
                  tangent: Operands | None = None) -> Operands:
        """See `TrilinearKernels`."""
        out = Operands(torch.empty_like(operands.harmonics), torch.empty_like(operands.weights),
                       tuple(torch.empty_like(x) for x in operands.features))
        arguments = (edges.neighbor_start, edges.by_neighbor, edges.center.contiguous(), *_flat(operands),
                     *_flat(tangent or operands), *cotangent, *_flat(out))
        for group in range(self._num_groups):
            self._launch(f"gradients_{group}", edges.num_atoms, arguments, tangent is not None)
        return out

    def _launch(self, name: str, num_programs: int, arguments: tuple[Tensor, ...], with_tangent: bool) -> None:
        if num_programs:
            kernel = getattr(_module(self._table), name)
            kernel[(num_programs,)](*arguments, TANGENT=with_tangent, LANES=self._lanes, num_warps=self._num_warps)


def _flat(operands: Operands) -> tuple[Tensor, ...]:
    return operands.harmonics, operands.weights, *operands.features


@cache
def _module(table: PathTable) -> ModuleType:
    """The kernels of a table, written once per process."""
    source = fused_source(table)
    return load_source(f"toolkit_fused_{hashlib.sha256(source.encode()).hexdigest()[:12]}", source)
