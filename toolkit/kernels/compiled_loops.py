"""The loops of the compiled backend; in them the arithmetic of a path on an edge, written as vector instructions.

A path multiplies d1 components of a neighbour's features by a small matrix A, (d3, d1), of harmonics and Wigner entries, and
each channel by its weight w. With channels side by side in registers

    message:    out_m3 += w Σ_m1 A_m3m1 x_m1
    gradients:  u_m1 = Σ_m3 A_m3m1 g_m3,   dx_m1 += w u_m1,   dw = Σ_m1 u_m1 x_m1,   dA_m3m1 += g_m3 w x_m1

and along a tangent each product in turn has one of its factors exchanged. LLVM makes vectors of innermost loops alone, whose
sums over anything else than channels then go through memory; so the instructions are written here, for Numba to call.

All of it lies in this one file, because Numba takes a loop from its cache for as long as the loop's own file is the same.
Weights are given, or read from splines (`spline`) edge by edge: then they are never in memory all at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from toolkit.kernels.loops import Range, compile_loops

LANES = 16
"""Channels side by side. In the last blocks of a path some lanes may be empty: loaded as zero, not stored."""
HALF = LANES // 2
DIMS = tuple(range(1, 14, 2))
"""Numbers of components d1 that there is code for: l ≤ 6."""
_FAST = ("contract", "reassoc", "nsz", "arcp")
_INDEX = ir.IntType(64)
_COUNT = ir.VectorType(ir.IntType(32), LANES)


class _Block:
    """Writes instructions on LANES numbers side by side.

    first : their first channel;  used : so many lanes have one, LANES or HALF;  mask : which do, (LANES,) bits, when it is
    another number (processors take long to read again what they stored with a mask)
    """

    def __init__(self, builder: ir.IRBuilder, number: ir.Type, first: ir.Value, used: int = LANES,
                 mask: ir.Value | None = None) -> None:
        self.builder, self.number, self.first, self._used, self._mask = builder, number, first, used, mask
        self.kind = ir.VectorType(number, LANES)
        self.zero = ir.Constant(self.kind, None)
        self._bytes = 4 if isinstance(number, ir.FloatType) else 8

    def load(self, array: ir.Value, index: ir.Value) -> ir.Value:
        """Channels of an array; zero on empty lanes."""
        if self._mask is not None:
            return self._masked("load", self.kind, [self._at(array, index), *self._alignment, self._mask, self.zero])
        if self._used == LANES:
            return self.load_all(array, index)
        half = self.builder.load(self._at(array, index, HALF), align=self._bytes)
        return self.builder.shuffle_vector(half, ir.Constant(half.type, None), ir.Constant(_COUNT, list(range(LANES))))

    def store(self, array: ir.Value, index: ir.Value, value: ir.Value) -> None:
        """Put channels into an array, except from empty lanes."""
        if self._mask is not None:
            self._masked("store", ir.VoidType(), [value, self._at(array, index), *self._alignment, self._mask])
        elif self._used == LANES:
            self.store_all(array, index, value)
        else:
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), HALF), list(range(HALF)))
            half = self.builder.shuffle_vector(value, self.zero, lanes)
            self.builder.store(half, self._at(array, index, HALF), align=self._bytes)

    def load_all(self, array: ir.Value, index: ir.Value) -> ir.Value:
        """LANES numbers of an array."""
        return self.builder.load(self._at(array, index), align=self._bytes)

    def store_all(self, array: ir.Value, index: ir.Value, value: ir.Value) -> None:
        """Put LANES numbers into an array."""
        self.builder.store(value, self._at(array, index), align=self._bytes)

    def spread(self, array: ir.Value, index: ir.Value) -> ir.Value:
        """One number of an array on all lanes."""
        return _spread(self.builder, self.builder.load(self.builder.gep(array, [index])), self.kind)

    def times(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """a · b"""
        return self.builder.fmul(a, b, flags=_FAST)

    def dot(self, left: Iterable[ir.Value], right: Sequence[ir.Value], start: ir.Value | None = None) -> ir.Value:
        """start + Σ left · right"""
        total = start
        for a, b in zip(left, right, strict=True):
            total = self.times(a, b) if total is None else self.builder.fadd(total, self.times(a, b), flags=_FAST)
        return total

    def sums(self, count: int) -> list[ir.Value]:
        """Places of sums that begin at zero; LLVM keeps them in registers."""
        return [cgutils.alloca_once_value(self.builder, self.zero) for _ in range(count)]

    def add_to(self, place: ir.Value, a: ir.Value, b: ir.Value) -> None:
        """*place += a · b"""
        self.builder.store(self.dot([a], [b], self.builder.load(place)), place)

    @property
    def _alignment(self) -> list[ir.Value]:
        return [ir.Constant(ir.IntType(32), self._bytes)]

    def _masked(self, what: str, returned: ir.Type, arguments: Sequence[ir.Value]) -> ir.Value:
        name = f"llvm.masked.{what}.v{LANES}f{8 * self._bytes}.p0"
        kind = ir.FunctionType(returned, [argument.type for argument in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)

    def _at(self, array: ir.Value, index: ir.Value, lanes: int = LANES) -> ir.Value:
        return self.builder.bitcast(self.builder.gep(array, [index]), ir.VectorType(self.number, lanes).as_pointer())


def _spread(builder: ir.IRBuilder, number: ir.Value, kind: ir.VectorType) -> ir.Value:
    nothing = ir.Constant(kind, ir.Undefined)
    single = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(single, nothing, ir.Constant(_COUNT, None))


Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
"""`Operands` as NumPy arrays, the features packed."""


class Table(NamedTuple):
    """The couplings as arrays.

    Each path has a matrix, (2l3+1, 2l1+1), whose numbers are sums of value · Y[harmonic] over entries (place among the
    numbers of all matrices, harmonic), value. A row of `paths`: start and size of the input irrep; start and size of the
    output irrep, and the path's offset in it; start of the weights; start of the matrix; channels; distance of the output
    components; 2l1+1; 2l3+1; first entry, end. Atom n of N has an irrep at N · start + n · size.
    """

    paths: np.ndarray
    entries: np.ndarray
    values: np.ndarray
    matrices_size: np.uint64


class Walk(NamedTuple):
    """Edges atom by atom: where each atom's begin, (N + 1,), and the atom at the other end of each edge, (E,)."""

    start: np.ndarray
    other: np.ndarray


@dataclass(frozen=True)
class _Path:
    """Where one path of one edge lies in the arrays, as `_places` says; all are numbers of type i64."""

    features: ir.Value
    weights: ir.Value
    outputs: ir.Value
    matrix: ir.Value
    channels: ir.Value
    output_stride: ir.Value
    dim_in: ir.Value
    dim_out: ir.Value


@intrinsic
def message_path(context: Any, out: Any, operands: Any, matrices: Any, tangent: Any, matrices_t: Any, path: Any) -> Any:
    """Add a path's message to `out`, or with a tangent its derivative along it.

    operands, tangent : harmonics, weights and features; tangent may be None;  matrices, matrices_t : made of the harmonics;
    path : the numbers of `_Path`
    """
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        (to,), (_, w, x), (a,), along, (a_t,), _ = _arrays(context, builder, signature, arguments)
        for place, dim in _branches(builder, arguments[-1]):
            for block in _blocks(builder, context.get_value_type(out.dtype), place):
                weights = [block.load(array, _index(builder, place.weights, block.first)) for array in (w, *along[1:2])]
                features = [_components(block, array, place, dim) for array in (x, *along[2:])]
                with cgutils.for_range(builder, place.dim_out, intp=_INDEX) as loop:
                    rows = [_row(block, matrix, place, dim, loop.index) for matrix, _ in zip((a, a_t), weights, strict=False)]
                    by_weight = [block.dot(sum(reversed(rows), []), sum(features, []))]
                    if along:
                        by_weight.append(block.dot(rows[0], features[0]))
                    output = _output(builder, place, loop.index, block.first)
                    block.store(to, output, block.dot(weights, by_weight, start=block.load(to, output)))
        return context.get_dummy_value()

    return types.void(out, operands, matrices, tangent, matrices_t, path), generate


@intrinsic
def gradient_path(context: Any, out: Any, by_matrix: Any, cotangent: Any, operands: Any, matrices: Any, tangent: Any,
                  matrices_t: Any, path: Any) -> Any:
    """Gradients of cotangent · message, or with a tangent their derivatives along it.

    out : those by harmonics, left alone; by weights, which are set; and by features, which are added to
    by_matrix : those by the path's matrix, which are set, LANES partial sums of each number side by side
    the rest : as in `message_path`
    """
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        (_, to_w, to_x), (to_a,), (g,), (_, w, x), (a,), along, (a_t,), _ = _arrays(context, builder, signature, arguments)
        for place, dim in _branches(builder, arguments[-1]):
            for block in _blocks(builder, context.get_value_type(cotangent.dtype), place):
                weights = [block.load(array, _index(builder, place.weights, block.first)) for array in (w, *along[1:2])]
                features = [_components(block, array, place, dim) for array in (x, *along[2:])]
                weighted = [block.dot(reversed(weights), [values[m] for values in features]) for m in range(dim)]
                pulls = [block.sums(dim) for _ in weights]
                is_first = builder.icmp_unsigned("==", block.first, ir.Constant(_INDEX, 0))
                with cgutils.for_range(builder, place.dim_out, intp=_INDEX) as loop:
                    pull = block.load(g, _output(builder, place, loop.index, block.first))
                    for sums, matrix in zip(pulls, (a, a_t), strict=False):
                        for m, number in enumerate(_row(block, matrix, place, dim, loop.index)):
                            block.add_to(sums[m], number, pull)
                    start = builder.mul(loop.index, ir.Constant(_INDEX, dim * LANES))
                    for m in range(dim):
                        partial = _index(builder, start, m * LANES)
                        earlier = builder.select(is_first, block.zero, block.load_all(to_a, partial))
                        block.store_all(to_a, partial, block.dot([pull], [weighted[m]], start=earlier))
                pulled = [[builder.load(pull) for pull in sums] for sums in pulls]
                by_weight = block.dot(sum(reversed(pulled), []), sum(features, []))
                block.store(to_w, _index(builder, place.weights, block.first), by_weight)
                for m, index in enumerate(_component_indices(block, place, dim)):
                    terms = [sums[m] for sums in reversed(pulled)]
                    block.store(to_x, index, block.dot(weights, terms, start=block.load(to_x, index)))
        return context.get_dummy_value()

    return types.void(out, by_matrix, cotangent, operands, matrices, tangent, matrices_t, path), generate


@intrinsic
def collect(context: Any, by_harmonic: Any, by_matrix: Any, harmonic: Any, number: Any, value: Any) -> Any:
    """by_harmonic[harmonic] += value · by_matrix[number], for LANES partial sums side by side."""
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        (to,), (partial,), *_ = _arrays(context, builder, signature, arguments)
        block = _Block(builder, context.get_value_type(by_harmonic.dtype), ir.Constant(_INDEX, 0))
        at, start = (builder.mul(index, ir.Constant(_INDEX, LANES)) for index in arguments[2:4])
        factor = _spread(builder, arguments[4], block.kind)
        block.store_all(to, at, block.dot([factor], [block.load_all(partial, start)], start=block.load_all(to, at)))
        return context.get_dummy_value()

    return types.void(by_harmonic, by_matrix, harmonic, number, value), generate


@intrinsic
def drain(context: Any, by_harmonic: Any, harmonic: Any) -> Any:
    """The sum of by_harmonic[harmonic], LANES partial sums, which are zero then."""
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        (partial,), _ = _arrays(context, builder, signature, arguments)
        block = _Block(builder, context.get_value_type(by_harmonic.dtype), ir.Constant(_INDEX, 0))
        at = builder.mul(arguments[1], ir.Constant(_INDEX, LANES))
        found = block.load_all(partial, at)
        block.store_all(partial, at, block.zero)
        name = f"llvm.vector.reduce.fadd.v{LANES}f{by_harmonic.dtype.bitwidth}"
        kind = ir.FunctionType(block.number, [block.number, block.kind])
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(function, [ir.Constant(block.number, -0.0), found], fastmath=_FAST)

    return by_harmonic.dtype(by_harmonic, harmonic), generate


def _data(context: Any, builder: ir.IRBuilder, kind: Any, value: ir.Value) -> ir.Value:
    return context.make_array(kind)(context, builder, value=value).data


def _arrays(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]) -> Iterator[list[ir.Value]]:
    """Pointers to the numbers of arguments that are arrays or tuples of them; nothing of others."""
    for kind, value in zip(signature.args, arguments, strict=True):
        kinds, values = [kind], [value]
        if isinstance(kind, types.BaseTuple):
            kinds, values = list(kind), cgutils.unpack_tuple(builder, value, len(kind))
        yield [_data(context, builder, kind, value) for kind, value in zip(kinds, values, strict=True)
               if isinstance(kind, types.Array)]


def _branches(builder: ir.IRBuilder, numbers: ir.Value) -> Iterator[tuple[_Path, int]]:
    """Opens a branch for each number of components d1; what is written comes into each of them."""
    place = _Path(*cgutils.unpack_tuple(builder, numbers, len(_Path.__dataclass_fields__)))
    end = builder.append_basic_block("path_end")
    branches = {dim: builder.append_basic_block(f"dim_{dim}") for dim in DIMS}
    switch = builder.switch(place.dim_in, end)
    for dim, branch in branches.items():
        switch.add_case(ir.Constant(_INDEX, dim), branch)
        builder.position_at_end(branch)
        yield place, dim
        builder.branch(end)
    builder.position_at_end(end)


def _blocks(builder: ir.IRBuilder, number: ir.Type, place: _Path) -> Iterator[_Block]:
    """Opens a loop over whole blocks of channels, and branches for what is left; what is written comes into each."""
    lanes = ir.Constant(_INDEX, LANES)
    whole = builder.udiv(place.channels, lanes)
    with cgutils.for_range(builder, whole, intp=_INDEX) as loop:
        yield _Block(builder, number, builder.mul(loop.index, lanes))
    first = builder.mul(whole, lanes)
    left = builder.sub(place.channels, first)
    with builder.if_then(_is_set(builder, left, HALF)):
        yield _Block(builder, number, first, HALF)
    first = builder.add(first, builder.and_(left, ir.Constant(_INDEX, HALF)))
    with builder.if_then(_is_set(builder, left, HALF - 1)):
        count = builder.trunc(builder.and_(left, ir.Constant(_INDEX, HALF - 1)), ir.IntType(32))
        mask = builder.icmp_unsigned("<", ir.Constant(_COUNT, list(range(LANES))), _spread(builder, count, _COUNT))
        yield _Block(builder, number, first, mask=mask)


def _is_set(builder: ir.IRBuilder, number: ir.Value, bits: int) -> ir.Value:
    return builder.icmp_unsigned("!=", builder.and_(number, ir.Constant(_INDEX, bits)), ir.Constant(_INDEX, 0))


def _index(builder: ir.IRBuilder, start: ir.Value, *offsets: ir.Value | int) -> ir.Value:
    for offset in offsets:
        start = builder.add(start, ir.Constant(_INDEX, offset) if isinstance(offset, int) else offset)
    return start


def _component_indices(block: _Block, place: _Path, dim: int) -> list[ir.Value]:
    builder = block.builder
    return [_index(builder, place.features, block.first, builder.mul(place.channels, ir.Constant(_INDEX, m)))
            for m in range(dim)]


def _components(block: _Block, features: ir.Value, place: _Path, dim: int) -> list[ir.Value]:
    return [block.load(features, index) for index in _component_indices(block, place, dim)]


def _row(block: _Block, matrices: ir.Value, place: _Path, dim: int, row: ir.Value) -> list[ir.Value]:
    start = _index(block.builder, place.matrix, block.builder.mul(row, ir.Constant(_INDEX, dim)))
    return [block.spread(matrices, _index(block.builder, start, m)) for m in range(dim)]


def _output(builder: ir.IRBuilder, place: _Path, row: ir.Value, channel: ir.Value) -> ir.Value:
    return _index(builder, place.outputs, builder.mul(row, place.output_stride), channel)


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
def evaluate_rows(coefficients: np.ndarray, p: np.ndarray, polynomials: np.ndarray, out: np.ndarray) -> None:
    """See `SplineKernels.evaluate`; polynomials : `pieces` of the order."""
    width, basis = np.uint64(out.shape[1]), np.empty(6, out.dtype)
    for e in range(len(p)):
        start = _locate(p[e], len(coefficients), polynomials, basis) * width
        _combine(coefficients.ravel(), start, width, basis, out[e])


@compile_loops
def contract_rows(coefficients: np.ndarray, p: np.ndarray, polynomials: np.ndarray, cotangent: np.ndarray,
                  out: np.ndarray) -> None:
    """See `SplineKernels.contract`; polynomials : `pieces` of the order."""
    width, basis, row = np.uint64(cotangent.shape[1]), np.empty(6, out.dtype), np.empty(cotangent.shape[1], out.dtype)
    flat = cotangent.ravel()
    for e in range(np.uint64(len(p))):
        start = _locate(p[e], len(coefficients), polynomials, basis) * width
        _combine(coefficients.ravel(), start, width, basis, row)
        total, source = row[0] * 0, e * width
        for c in range(width):
            total += flat[source + c] * row[c]
        out[e] = total


class Radial(NamedTuple):
    """Weights as splines of p, (E,); the table itself stands in the place of the weights.

    values, slopes : `spline.pieces` of order 0 and 1, (6, 6)
    """

    p: np.ndarray
    values: np.ndarray
    slopes: np.ndarray


@compile_loops
def _multiply_out(table: Table, harmonics: np.ndarray, matrices: np.ndarray) -> None:
    """The matrices of all paths on one edge."""
    matrices[:] = 0
    for n in range(np.uint64(len(table.values))):
        matrices[table.entries[n, 0]] += table.values[n] * harmonics[table.entries[n, 1]]


@compile_loops
def _places(path: np.ndarray, num_atoms: np.uint64, neighbor: np.uint64, center: np.uint64,
            weights: np.uint64) -> tuple[np.uint64, ...]:
    """What `_Path` holds of a path on one edge, whose weights begin at `weights`."""
    return (num_atoms * path[0] + neighbor * path[1], weights + path[5],
            num_atoms * path[2] + center * path[3] + path[4], path[6], path[7], path[8], path[9], path[10])


@compile_loops
def messages(table: Table, walk: Walk, atoms: Range, operands: Arrays, radial: Radial | None, tangent: Arrays | None,
             out: np.ndarray) -> None:
    """out: Σ over edges of weight · coupling · feature, or its derivative along the tangent, for a range of centres."""
    num_atoms, width = np.uint64(len(walk.start) - 1), np.uint64(operands[1].shape[1])
    matrices, matrices_t = np.empty(table.matrices_size, out.dtype), np.empty(table.matrices_size, out.dtype)
    basis, weights, knots = np.empty(6, out.dtype), np.empty((1, width), out.dtype), operands[1].ravel()
    factors = operands if radial is None else (operands[0], weights, operands[2])
    for atom in range(atoms[0], atoms[1]):
        for e in range(np.uint64(walk.start[atom]), np.uint64(walk.start[atom + np.uint64(1)])):
            first = e * width
            if radial is not None:
                first = np.uint64(0)
                row = _locate(radial.p[e], len(operands[1]), radial.values, basis)
                _combine(knots, row * width, width, basis, weights[0])
            _multiply_out(table, operands[0][e], matrices)
            if tangent is not None:
                _multiply_out(table, tangent[0][e], matrices_t)
            for p in range(np.uint64(len(table.paths))):
                place = _places(table.paths[p], num_atoms, walk.other[e], atom, first)
                message_path(out, factors, matrices, tangent, matrices_t, place)


@compile_loops
def gradients(table: Table, walk: Walk, atoms: Range, by_neighbor: np.ndarray, g: np.ndarray, operands: Arrays,
              radial: Radial | None, tangent: Arrays | None, out: Arrays) -> None:
    """out: derivatives of Σ g · messages by harmonics, weights (or, if these are splines, by p, (1, E)) and features, or
    theirs along the tangent, for a range of neighbours; `by_neighbor` are the edges in their order."""
    num_atoms, width = np.uint64(len(walk.start) - 1), np.uint64(operands[1].shape[1])
    matrices, matrices_t = np.empty(table.matrices_size, g.dtype), np.empty(table.matrices_size, g.dtype)
    by_matrix = np.empty(table.matrices_size * np.uint64(LANES), g.dtype)
    by_harmonic = np.zeros(np.uint64(out[0].shape[1]) * np.uint64(LANES), g.dtype)
    basis, knots = np.empty(6, g.dtype), operands[1].ravel()
    weights, slopes, by_weight = np.empty((1, width), g.dtype), np.empty(width, g.dtype), np.empty((1, width), g.dtype)
    factors = operands if radial is None else (operands[0], weights, operands[2])
    found = out if radial is None else (out[0], by_weight, out[2])
    for atom in range(atoms[0], atoms[1]):
        for position in range(np.uint64(walk.start[atom]), np.uint64(walk.start[atom + np.uint64(1)])):
            e = by_neighbor[position]
            first = e * width
            if radial is not None:
                first = np.uint64(0)
                _combine(knots, _locate(radial.p[e], len(operands[1]), radial.slopes, basis) * width, width, basis, slopes)
                _combine(knots, _locate(radial.p[e], len(operands[1]), radial.values, basis) * width, width, basis, weights[0])
            _multiply_out(table, operands[0][e], matrices)
            if tangent is not None:
                _multiply_out(table, tangent[0][e], matrices_t)
            for p in range(np.uint64(len(table.paths))):
                path = table.paths[p]
                place = _places(path, num_atoms, atom, walk.other[e], first)
                gradient_path(found, by_matrix, g, factors, matrices, tangent, matrices_t, place)
                for n in range(path[11], path[12]):
                    collect(by_harmonic, by_matrix, table.entries[n, 1], table.entries[n, 0] - path[6], table.values[n])
            for harmonic in range(np.uint64(out[0].shape[1])):
                out[0][e, harmonic] = drain(by_harmonic, harmonic)
            if radial is not None:
                total = slopes[0] * 0
                for c in range(width):
                    total += by_weight[0, c] * slopes[c]
                out[1][0, e] = total
