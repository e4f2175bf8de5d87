"""The convolution compiled for the CPU with Numba: one pass over the edges, no message kept in memory.

Features are packed into one array, irrep after irrep, (N, 2l+1, C) each; channels, the contiguous axis, go through vector
registers (`compiled_loops`). All indices are unsigned: Numba then leaves out the test for negative ones.
"""

from __future__ import annotations

import numpy as np
import torch
from e3nn import o3
from torch import Tensor

from toolkit.errors import ConfigError
from toolkit.kernels.compiled_loops import DIMS, Arrays, Radial, Table, Walk, gradients, messages
from toolkit.kernels.edges import EdgeList
from toolkit.kernels.flat import flatten, shapes, size_per_atom, unflatten
from toolkit.kernels.loops import in_parallel
from toolkit.kernels.paths import PathTable
from toolkit.kernels.spline import pieces
from toolkit.kernels.trilinear import Operands, convolve


class CompiledConvolution(torch.nn.Module):
    """`ReferenceConvolution`'s numbers, several times faster on a CPU."""

    def __init__(self, table: PathTable) -> None:
        super().__init__()
        self.kernels = NumbaKernels(table)

    def forward(self, features: list[Tensor], harmonics: Tensor, weights: Tensor, edges: EdgeList) -> list[Tensor]:
        """Convolve; shapes as in `ReferenceConvolution.forward`. CPU tensors only."""
        return convolve(self.kernels, Operands(harmonics, weights, tuple(features)), edges)


class NumbaKernels:
    """Both operations of `trilinear.TrilinearKernels` for the couplings of one table. Raises ConfigError for l > 6."""

    def __init__(self, table: PathTable) -> None:
        if any(path.irrep_in.dim not in DIMS for path in table.paths):
            raise ConfigError(f"found features {table.irreps_in}, the compiled backend knows l ≤ {DIMS[-1] // 2}",
                              "choose backend 'reference'")
        double = _build_table(table)
        self._tables = {torch.float64: double, torch.float32: double._replace(values=double.values.astype(np.float32))}
        self._shapes_in, self._shapes_out = shapes(table.irreps_in), shapes(table.irreps_out)

    def messages(self, operands: Operands, edges: EdgeList, tangent: Operands | None = None) -> tuple[Tensor, ...]:
        """See `TrilinearKernels`."""
        return self._messages(operands, None, edges, tangent)

    def gradients(self, cotangent: tuple[Tensor, ...], operands: Operands, edges: EdgeList,
                  tangent: Operands | None = None) -> Operands:
        """See `TrilinearKernels`."""
        return self._gradients(cotangent, operands, None, edges, torch.empty_like(operands.weights), tangent)

    def messages_from_table(self, operands: Operands, p: Tensor, edges: EdgeList) -> tuple[Tensor, ...]:
        """See `tabulated.TableKernels`."""
        return self._messages(operands, p, edges)

    def gradients_from_table(self, cotangent: tuple[Tensor, ...], operands: Operands, p: Tensor,
                             edges: EdgeList) -> Operands:
        """See `tabulated.TableKernels`."""
        found = self._gradients(cotangent, operands, p, edges, torch.empty_like(p)[None])
        return found._replace(weights=found.weights[0])

    def _messages(self, operands: Operands, p: Tensor | None, edges: EdgeList,
                  tangent: Operands | None = None) -> tuple[Tensor, ...]:
        out = operands.weights.new_zeros(edges.num_atoms * size_per_atom(self._shapes_out))
        arguments = (_arrays(operands), _radial(p), None if tangent is None else _arrays(tangent), out.numpy())
        walk = Walk(edges.center_start.numpy(), _unsigned(edges.neighbor))
        in_parallel(messages, (self._tables[out.dtype], walk), arguments)
        return unflatten(out, edges.num_atoms, self._shapes_out)

    def _gradients(self, cotangent: tuple[Tensor, ...], operands: Operands, p: Tensor | None, edges: EdgeList,
                   weights: Tensor, tangent: Operands | None = None) -> Operands:
        """weights : takes the derivatives by the weights, or by p"""
        harmonics = torch.empty_like(operands.harmonics)
        features = weights.new_zeros(edges.num_atoms * size_per_atom(self._shapes_in))
        arguments = (_unsigned(edges.by_neighbor), flatten(cotangent).numpy(), _arrays(operands), _radial(p),
                     None if tangent is None else _arrays(tangent),
                     (harmonics.numpy(), weights.numpy(), features.numpy()))
        walk = Walk(edges.neighbor_start.numpy(), _unsigned(edges.center))
        in_parallel(gradients, (self._tables[weights.dtype], walk), arguments)
        return Operands(harmonics, weights, unflatten(features, edges.num_atoms, self._shapes_in))


def _build_table(table: PathTable) -> Table:
    starts_in = _starts(table.irreps_in)
    starts_out = {m.ir: start for m, start in zip(table.irreps_out, _starts(table.irreps_out), strict=True)}
    width = {m.ir: m.mul for m in table.irreps_out}
    used = dict.fromkeys(width, 0)
    paths, entries, values, weight, matrix = [], [], [], 0, 0
    for path in table.paths:
        dim_in, dim_out, channels = path.irrep_in.dim, path.irrep_out.dim, width[path.irrep_out]
        first = len(entries)
        for m2, m3, m1, value in path.entries:
            entries.append((matrix + m3 * dim_in + m1, path.l_sh**2 + m2))
            values.append(value)
        paths.append((starts_in[path.index_in], dim_in * path.channels, starts_out[path.irrep_out], dim_out * channels,
                      used[path.irrep_out], weight, matrix, path.channels, channels, dim_in, dim_out, first, len(entries)))
        used[path.irrep_out] += path.channels
        weight += path.channels
        matrix += dim_in * dim_out
    return Table(np.array(paths, np.uint64).reshape(-1, 13), np.array(entries, np.uint64).reshape(-1, 2),
                  np.array(values, np.float64), np.uint64(matrix))


def _starts(irreps: o3.Irreps) -> list[int]:
    return [size_per_atom(shapes(irreps)[:index]) for index in range(len(irreps))]


def _unsigned(indices: Tensor) -> np.ndarray:
    return indices.numpy().view(np.uint64)


def _radial(p: Tensor | None) -> Radial | None:
    return None if p is None else Radial(p.numpy(), pieces(0), pieces(1))


def _arrays(operands: Operands) -> Arrays:
    return operands.harmonics.numpy(), operands.weights.numpy(), flatten(operands.features).numpy()
