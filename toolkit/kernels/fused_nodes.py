"""Linear maps of the atoms' features in few GPU kernels, for inference with final float32 weights.

A single molecule is bound by the number of kernel launches, not by arithmetic. Here an equivariant linear map is one
launch for all irreps, and so is its backward pass. Features are flat: irrep after irrep, (N, 2l+1, C) each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from toolkit.kernels.flat import Shape, size_per_atom

BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_INNER = 32, 32, 32


class GroupedLinear:
    """y_s = base_s + x_s W_s for all irreps s in one launch; W_s may depend on the atom's species.

    shapes_in, shapes_out : the irreps;  sources : for each output irrep the number of its input irrep, or None
    weights : for each output irrep (num_species, C_in, C_out), or None where it has no source; num_species 1: for all
    """

    def __init__(self, shapes_in: Sequence[Shape], shapes_out: Sequence[Shape], sources: Sequence[int | None],
                 weights: Sequence[Tensor | None]) -> None:
        given = [w for w in weights if w is not None]
        self.num_species = given[0].shape[0] if given else 1
        targets = {source: target for target, source in enumerate(sources) if source is not None}
        back = [targets.get(source) for source in range(len(shapes_in))]
        transposed = [None if t is None else weights[t].transpose(1, 2) for t in back]
        like = given[0] if given else torch.zeros(1)
        self.forward_plan = _plan(shapes_in, shapes_out, sources, weights, like)
        self.backward_plan = _plan(shapes_out, shapes_in, back, transposed, like)

    def __call__(self, x: Tensor, num_atoms: int, species: Tensor | None = None, base: Tensor | None = None) -> Tensor:
        """x : (N · D_in,);  species : (N,) int64, where there is more than one;  base : (N · D_out,). Returns (N · D_out,)."""
        return _Linear.apply(x, base, self, num_atoms, species)

    def run(self, plan: _Plan, x: Tensor, base: Tensor | None, num_atoms: int, species: Tensor | None) -> Tensor:
        """One launch of the kernel, in either direction."""
        table, flat_weights, rows, columns, size, segments = plan
        y = x.new_empty(num_atoms * size)
        grid = (triton.cdiv(num_atoms * rows, BLOCK_ROWS), segments, triton.cdiv(columns, BLOCK_COLUMNS))
        _grouped_linear[grid](x, flat_weights, y, y if base is None else base, table, table if species is None else species,
                              num_atoms, NUM_SPECIES=self.num_species, ADD=base is not None, ROWS=BLOCK_ROWS,
                              COLUMNS=BLOCK_COLUMNS, INNER=BLOCK_INNER)
        return y


_Plan = tuple[Tensor, Tensor, int, int, int, int]
"""Table of segments, flat weights, largest 2l+1, largest width, numbers per atom of the output, number of segments."""


def _plan(shapes_in: Sequence[Shape], shapes_out: Sequence[Shape], sources: Sequence[int | None],
          weights: Sequence[Tensor | None], like: Tensor) -> _Plan:
    starts_in = [size_per_atom(shapes_in[:k]) for k in range(len(shapes_in))]
    entries, flat, y_start, w_start = [], [], 0, 0
    for (dim, width), source, weight in zip(shapes_out, sources, weights, strict=True):
        inner = 0 if source is None else shapes_in[source][1]
        entries.append((0 if source is None else starts_in[source], inner, y_start, width, w_start, dim))
        y_start += dim * width
        if weight is not None:
            flat.append(weight.reshape(-1))
            w_start += weight.numel()
    table = torch.tensor(entries, dtype=torch.int64, device=like.device)
    flat_weights = torch.cat(flat).contiguous() if flat else like.new_zeros(1)
    return (table, flat_weights, max(d for d, _ in shapes_out), max(c for _, c in shapes_out), y_start, len(entries))


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, base: Tensor | None, linear: GroupedLinear, num_atoms: int,
                species: Tensor | None) -> Tensor:
        ctx.linear, ctx.num_atoms, ctx.species, ctx.has_base = linear, num_atoms, species, base is not None
        return linear.run(linear.forward_plan, x.contiguous(), base, num_atoms, species)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradient.contiguous()
        by_x = ctx.linear.run(ctx.linear.backward_plan, gradient, None, ctx.num_atoms, ctx.species)
        return by_x, gradient if ctx.has_base else None, None, None, None


@triton.jit
def _grouped_linear(x, w, y, base, table, species, num_atoms, NUM_SPECIES: tl.constexpr, ADD: tl.constexpr,
                    ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr):
    entry = table + tl.program_id(1) * 6
    x_start, inner = tl.load(entry) * num_atoms, tl.load(entry + 1)
    y_start, width = tl.load(entry + 2) * num_atoms, tl.load(entry + 3)
    w_start, dim = tl.load(entry + 4), tl.load(entry + 5)
    num_rows = num_atoms * dim
    first_row, first_column = tl.program_id(0) * ROWS, tl.program_id(2) * COLUMNS
    if first_row < num_rows and first_column < width:
        rows = (first_row + tl.arange(0, ROWS)).to(tl.int64)
        columns = first_column + tl.arange(0, COLUMNS)
        total = tl.zeros((ROWS, COLUMNS), tl.float32)
        for kind in range(NUM_SPECIES):
            chosen = rows < num_rows
            if NUM_SPECIES > 1:
                chosen = chosen & (tl.load(species + rows // dim, mask=chosen, other=-1) == kind)
            for start in range(0, inner, INNER):
                k = start + tl.arange(0, INNER)
                a = tl.load(x + x_start + rows[:, None] * inner + k[None, :], mask=chosen[:, None] & (k < inner)[None, :],
                            other=0.0)
                b = tl.load(w + w_start + (kind * inner + k[:, None]) * width + columns[None, :],
                            mask=(k < inner)[:, None] & (columns < width)[None, :], other=0.0)
                total = tl.dot(a, b, total, input_precision="ieee")
        place = y_start + rows[:, None] * width + columns[None, :]
        inside = (rows < num_rows)[:, None] & (columns < width)[None, :]
        if ADD:
            total += tl.load(base + place, mask=inside, other=0.0)
        tl.store(y + place, total, mask=inside)
