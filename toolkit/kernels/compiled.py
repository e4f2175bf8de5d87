"""The convolution compiled for the CPU with Numba: one pass over the edges, no message kept in memory.

Features are packed into one array, irrep after irrep, (N, 2l+1, C) each; the loops over channels, the contiguous axis,
become vector instructions. All indices are unsigned: Numba then leaves out the test for negative ones, which no vector
unit can do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from e3nn import o3
from torch import Tensor

from toolkit.kernels.edges import EdgeList
from toolkit.kernels.flat import flatten, shapes, size_per_atom, unflatten
from toolkit.kernels.paths import PathTable
from toolkit.kernels.trilinear import Operands, convolve


def compile_loops(function: Callable[..., Any]) -> Callable[..., Any]:
    """Numba's compiler, which keeps what it compiled for the next process where it finds a place to."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's nor the user's cache folder can be written
        return numba.njit(**options)(function)


class CompiledConvolution(torch.nn.Module):
    """`ReferenceConvolution`'s numbers, several times faster on a CPU."""

    def __init__(self, table: PathTable) -> None:
        super().__init__()
        self.kernels = NumbaKernels(table)

    def forward(self, features: list[Tensor], harmonics: Tensor, weights: Tensor, edges: EdgeList) -> list[Tensor]:
        """Convolve; shapes as in `ReferenceConvolution.forward`. CPU tensors only."""
        return convolve(self.kernels, Operands(harmonics, weights, tuple(features)), edges)


class NumbaKernels:
    """Both operations of `trilinear.TrilinearKernels` for the couplings of one table."""

    def __init__(self, table: PathTable) -> None:
        self._table = _build_table(table)
        self._shapes_in, self._shapes_out = shapes(table.irreps_in), shapes(table.irreps_out)

    def messages(self, operands: Operands, edges: EdgeList, tangent: Operands | None = None) -> tuple[Tensor, ...]:
        """See `TrilinearKernels`."""
        out = operands.weights.new_zeros(edges.num_atoms * size_per_atom(self._shapes_out))
        arguments = (_arrays(operands), None if tangent is None else _arrays(tangent), out.numpy())
        walk = _Walk(edges.center_start.numpy(), _unsigned(edges.neighbor))
        in_parallel(_messages, (self._table, walk), arguments)
        return unflatten(out, edges.num_atoms, self._shapes_out)

    def gradients(self, cotangent: tuple[Tensor, ...], operands: Operands, edges: EdgeList,
                  tangent: Operands | None = None) -> Operands:
        """See `TrilinearKernels`."""
        harmonics, weights = torch.zeros_like(operands.harmonics), torch.zeros_like(operands.weights)
        features = weights.new_zeros(edges.num_atoms * size_per_atom(self._shapes_in))
        arguments = (_unsigned(edges.by_neighbor), flatten(cotangent).numpy(), _arrays(operands),
                     None if tangent is None else _arrays(tangent),
                     (harmonics.numpy(), weights.numpy(), features.numpy()))
        walk = _Walk(edges.neighbor_start.numpy(), _unsigned(edges.center))
        in_parallel(_gradients, (self._table, walk), arguments)
        return Operands(harmonics, weights, unflatten(features, edges.num_atoms, self._shapes_in))


MIN_EDGES_PER_THREAD = 128
"""Below this the work is done before another thread has woken up."""


_Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
"""`Operands` as NumPy arrays, the features packed."""

_Range = tuple[np.uint64, np.uint64]
"""First atom, and one beyond the last."""


class _Table(NamedTuple):
    """The sparse couplings as arrays.

    A row is one component m3 of one path: channels; where its weights begin; first term, end; and its place in the
    outputs. A term is one component m1 that contributes to a row: its place in the features. The scalar that multiplies
    it is Σ value · Y[harmonic] over the term's entries (term, harmonic), value.
    A place is (start of the irrep in one atom's numbers, size of the irrep in one atom, offset in the irrep): atom n of N
    has it at N · start + n · size + offset.
    """

    rows: np.ndarray
    terms: np.ndarray
    entries: np.ndarray
    values: np.ndarray


def _build_table(table: PathTable) -> _Table:
    starts_in = _starts(table.irreps_in)
    starts_out = {m.ir: start for m, start in zip(table.irreps_out, _starts(table.irreps_out), strict=True)}
    width = {m.ir: m.mul for m in table.irreps_out}
    used = dict.fromkeys(width, 0)
    rows, terms, entries, values, weight = [], [], [], [], 0
    for path in table.paths:
        for m3 in range(path.irrep_out.dim):
            first, source = len(terms), None
            for m2, _, m1, value in (entry for entry in path.entries if entry[1] == m3):
                if m1 != source:
                    source = m1
                    terms.append((starts_in[path.index_in], path.irrep_in.dim * path.channels, m1 * path.channels))
                entries.append((len(terms) - 1, path.l_sh**2 + m2))
                values.append(value)
            place = (starts_out[path.irrep_out], path.irrep_out.dim * width[path.irrep_out],
                     m3 * width[path.irrep_out] + used[path.irrep_out])
            rows.append((path.channels, weight, first, len(terms), *place))
        used[path.irrep_out] += path.channels
        weight += path.channels
    return _Table(np.array(rows, np.uint64).reshape(-1, 7), np.array(terms, np.uint64).reshape(-1, 3),
                  np.array(entries, np.uint64).reshape(-1, 2), np.array(values, np.float64))


def _starts(irreps: o3.Irreps) -> list[int]:
    return [size_per_atom(shapes(irreps)[:index]) for index in range(len(irreps))]


class _Walk(NamedTuple):
    """Edges atom by atom: where each atom's begin, (N + 1,), and the atom at the other end of each edge, (E,)."""

    start: np.ndarray
    other: np.ndarray


def in_parallel(kernel: Callable[..., None], shared: tuple[Any, Any], arguments: tuple[Any, ...]) -> None:
    """Run a kernel on ranges of atoms with about as many edges each, one per thread that torch may use.

    shared : tables, and an object whose `start`, (N + 1,), says where each atom's edges begin

    Every sum belongs to one atom and keeps its order, so the numbers do not depend on the number of threads.
    """
    start = shared[1].start
    threads = max(1, min(torch.get_num_threads(), int(start[-1]) // MIN_EDGES_PER_THREAD))
    inner = [np.searchsorted(start, start[-1] * k // threads) for k in range(1, threads)]
    bounds = np.array([0, *inner, len(start) - 1], dtype=np.uint64)
    ranges = [(bounds[k], bounds[k + 1]) for k in range(threads)]
    others = [_pool().submit(kernel, *shared, atoms, *arguments) for atoms in ranges[1:]]
    kernel(*shared, ranges[0], *arguments)
    for other in others:
        other.result()


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads that sleep while they have nothing to do (OpenMP's spin, and slow down whatever else runs)."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="convolution")


def _unsigned(indices: Tensor) -> np.ndarray:
    return indices.numpy().view(np.uint64)


def _arrays(operands: Operands) -> _Arrays:
    return operands.harmonics.numpy(), operands.weights.numpy(), flatten(operands.features).numpy()


@compile_loops
def _couple(table: _Table, harmonics: np.ndarray, couplings: np.ndarray) -> None:
    """couplings[term] = Σ value · harmonics[entry] over the term's entries."""
    couplings[:] = 0
    for n in range(np.uint64(len(table.values))):
        couplings[table.entries[n, 0]] += table.values[n] * harmonics[table.entries[n, 1]]


@compile_loops
def _place(entry: np.ndarray, num_atoms: np.uint64, atom: np.uint64) -> np.uint64:
    return num_atoms * entry[0] + atom * entry[1] + entry[2]


@compile_loops
def _messages(table: _Table, walk: _Walk, atoms: _Range, operands: _Arrays, tangent: _Arrays | None, out: np.ndarray) -> None:
    """out: Σ over edges of weight · coupling · feature, or its derivative along the tangent, for a range of centres."""
    num_atoms = np.uint64(len(walk.start) - 1)
    harmonics, weights, features = operands[0], operands[1].ravel(), operands[2]
    coupling, coupling_t = np.empty(len(table.terms), out.dtype), np.empty(len(table.terms), out.dtype)
    width = np.uint64(operands[1].shape[1])
    message, message_t = np.empty(width, out.dtype), np.empty(width, out.dtype)
    if tangent is not None:
        weights_t, features_t = tangent[1].ravel(), tangent[2]
    for atom in range(atoms[0], atoms[1]):
        for position in range(np.uint64(walk.start[atom]), np.uint64(walk.start[atom + np.uint64(1)])):
            e, center, neighbor = position, atom, walk.other[position]
            _couple(table, harmonics[e], coupling)
            if tangent is not None:
                _couple(table, tangent[0][e], coupling_t)
            for r in range(np.uint64(len(table.rows))):
                row = table.rows[r]
                channels, w, o = row[0], e * width + row[1], _place(row[4:], num_atoms, center)
                message[:channels] = 0
                for k in range(row[2], row[3]):
                    a, x = coupling[k], _place(table.terms[k], num_atoms, neighbor)
                    for c in range(channels):
                        message[c] += a * features[x + c]
                if tangent is None:
                    for c in range(channels):
                        out[o + c] += weights[w + c] * message[c]
                    continue
                message_t[:channels] = 0
                for k in range(row[2], row[3]):
                    a, a_t, x = coupling[k], coupling_t[k], _place(table.terms[k], num_atoms, neighbor)
                    for c in range(channels):
                        message_t[c] += a_t * features[x + c] + a * features_t[x + c]
                for c in range(channels):
                    out[o + c] += weights_t[w + c] * message[c] + weights[w + c] * message_t[c]


@compile_loops
def _gradients(table: _Table, walk: _Walk, atoms: _Range, by_neighbor: np.ndarray, g: np.ndarray, operands: _Arrays,
               tangent: _Arrays | None, out: _Arrays) -> None:
    """out: derivatives of Σ g · messages by harmonics, weights and features, or theirs along the tangent, for a range
    of neighbours; `by_neighbor` are the edges in their order."""
    num_atoms = np.uint64(len(walk.start) - 1)
    harmonics, weights, features = operands[0], operands[1].ravel(), operands[2]
    d_harmonics, d_weights, d_features = out[0], out[1].ravel(), out[2]
    coupling, coupling_t = np.empty(len(table.terms), g.dtype), np.empty(len(table.terms), g.dtype)
    d_coupling, width = np.empty(len(table.terms), g.dtype), np.uint64(operands[1].shape[1])
    message = np.empty(width, g.dtype)
    weighted, weighted_t = np.empty(width, g.dtype), np.empty(width, g.dtype)
    if tangent is not None:
        weights_t, features_t = tangent[1].ravel(), tangent[2]
    for atom in range(atoms[0], atoms[1]):
        for position in range(np.uint64(walk.start[atom]), np.uint64(walk.start[atom + np.uint64(1)])):
            e = by_neighbor[position]
            center, neighbor = walk.other[e], atom
            _couple(table, harmonics[e], coupling)
            if tangent is not None:
                _couple(table, tangent[0][e], coupling_t)
            for r in range(np.uint64(len(table.rows))):
                row = table.rows[r]
                channels, w, o = row[0], e * width + row[1], _place(row[4:], num_atoms, center)
                message[:channels] = 0
                for c in range(channels):
                    weighted[c] = weights[w + c] * g[o + c]
                if tangent is not None:
                    for c in range(channels):
                        weighted_t[c] = weights_t[w + c] * g[o + c]
                for k in range(row[2], row[3]):
                    a, x = coupling[k], _place(table.terms[k], num_atoms, neighbor)
                    total = a * 0
                    if tangent is None:
                        for c in range(channels):
                            d_features[x + c] += a * weighted[c]
                            message[c] += a * features[x + c]
                            total += weighted[c] * features[x + c]
                    else:
                        a_t = coupling_t[k]
                        for c in range(channels):
                            d_features[x + c] += a_t * weighted[c] + a * weighted_t[c]
                            total += weighted_t[c] * features[x + c] + weighted[c] * features_t[x + c]
                        for c in range(channels):
                            message[c] += a_t * features[x + c] + a * features_t[x + c]
                    d_coupling[k] = total
                for c in range(channels):
                    d_weights[w + c] += g[o + c] * message[c]
            for n in range(np.uint64(len(table.values))):
                d_harmonics[e, table.entries[n, 1]] += table.values[n] * d_coupling[table.entries[n, 0]]
