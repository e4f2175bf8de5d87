"""The gate of all irreps as one GPU kernel, with as many for its first and for its second derivatives.

Features are flat: irrep after irrep, (N, 2l+1, C) each. In plain torch a gate is eight launches, and some forty when forces
are trained: more than the convolution between two gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from toolkit.kernels.flat import Shape

SCALARS, ODD_SCALARS, TENSORS = 0, 1, 2
"""What a row of the table is about: scalars through SiLU, odd ones through tanh, tensors times a SiLU of their gate."""


class FusedGate:
    """The gate of `nn.gate.Gate` on flat features, differentiable twice.

    num_scalars, num_gates : even scalars and gates, which lie side by side in the first irrep of the input (0 and 0: none)
    num_odd : odd scalars (an irrep of their own, when there are any)
    tensors : the gated irreps;  scales : of SiLU and of tanh
    """

    def __init__(self, num_scalars: int, num_gates: int, num_odd: int, tensors: Sequence[Shape],
                 scales: tuple[float, float], device: torch.device) -> None:
        head = num_scalars + num_gates
        entries, place_in, place_out, gate = [], head, 0, num_scalars
        if num_scalars:
            entries.append((SCALARS, 0, head, 0, num_scalars, 1, 0))
            place_out = num_scalars
        if num_odd:
            entries.append((ODD_SCALARS, place_in, num_odd, place_out, num_odd, 1, 0))
            place_in, place_out = place_in + num_odd, place_out + num_odd
        for dim, channels in tensors:
            entries.append((TENSORS, place_in, channels, place_out, channels, dim, gate))
            place_in, place_out, gate = place_in + dim * channels, place_out + dim * channels, gate + channels
        self.table = torch.tensor(entries, dtype=torch.int64, device=device)
        self.size_out, self._head = place_out, head
        self._options = {"SILU": scales[0], "TANH": scales[1], "num_warps": 1,
                         "LANES": triton.next_power_of_2(max(entry[4] for entry in entries))}

    def __call__(self, x: Tensor, num_atoms: int) -> Tensor:
        """(N · D_in,) -> (N · D_out,)."""
        return _Gate.apply(x, self, num_atoms)

    def launch(self, kernel: Any, num_atoms: int, *tensors: Tensor) -> None:
        """One of the kernels below, a program for each atom and irrep."""
        if num_atoms:
            kernel[(num_atoms, len(self.table))](*tensors, self.table, num_atoms, self._head, **self._options)


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: FusedGate, num_atoms: int) -> Tensor:
        ctx.gate, ctx.num_atoms = gate, num_atoms
        ctx.save_for_backward(x)
        out = x.new_empty(num_atoms * gate.size_out)
        gate.launch(_forward, num_atoms, x, out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return _Gradient.apply(*ctx.saved_tensors, gradient, ctx.gate, ctx.num_atoms), None, None


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gradient: Tensor, gate: FusedGate, num_atoms: int) -> Tensor:
        ctx.gate, ctx.num_atoms = gate, num_atoms
        gradient = gradient.contiguous()
        ctx.save_for_backward(x, gradient)
        by_x = torch.empty_like(x)
        gate.launch(_backward, num_atoms, x, gradient, by_x)
        return by_x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, tangent: Tensor) -> tuple[Tensor | None, ...]:
        x, gradient = ctx.saved_tensors
        by_x, by_gradient = torch.empty_like(x), torch.empty_like(gradient)
        ctx.gate.launch(_second, ctx.num_atoms, x, gradient, tangent.contiguous(), by_x, by_gradient)
        return by_x, by_gradient, None, None


@triton.jit
def _entry(table, num_atoms):
    """One row of the table: kind; start and width in the input, start and channels in the output, 2l+1, first gate."""
    entry = table + tl.program_id(1) * 7
    return (tl.load(entry), tl.load(entry + 1) * num_atoms, tl.load(entry + 2), tl.load(entry + 3) * num_atoms,
            tl.load(entry + 4), tl.load(entry + 5), tl.load(entry + 6))


@triton.jit
def _silu(x, SCALE: tl.constexpr):
    """SCALE · x σ(x) with its first and second derivative."""
    sigmoid = tl.sigmoid(x)
    fall = sigmoid * (1.0 - sigmoid)
    return SCALE * x * sigmoid, SCALE * (sigmoid + x * fall), SCALE * fall * (2.0 + x * (1.0 - 2.0 * sigmoid))


@triton.jit
def _scalar(x, kind, SILU: tl.constexpr, TANH: tl.constexpr):
    """The activation of a scalar with its first and second derivative: SiLU, or tanh of odd ones (kind 1)."""
    value, slope, curvature = _silu(x, SILU)
    if kind == 1:
        hyperbolic = 2.0 * tl.sigmoid(2.0 * x) - 1.0
        value = TANH * hyperbolic
        slope = TANH * (1.0 - hyperbolic * hyperbolic)
        curvature = -2.0 * hyperbolic * slope
    return value, slope, curvature


@triton.jit
def _forward(x, out, table, num_atoms, head, SILU: tl.constexpr, TANH: tl.constexpr, LANES: tl.constexpr):
    atom = tl.program_id(0).to(tl.int64)
    kind, x_start, x_width, out_start, channels, dim, gate_start = _entry(table, num_atoms)
    lane = tl.arange(0, LANES)
    inside = lane < channels
    if kind == 2:
        gate, slope, curvature = _silu(tl.load(x + atom * head + gate_start + lane, mask=inside, other=0.0), SILU)
        for m in range(dim):
            value = tl.load(x + x_start + (atom * dim + m) * x_width + lane, mask=inside, other=0.0)
            tl.store(out + out_start + (atom * dim + m) * channels + lane, value * gate, mask=inside)
    else:
        value = tl.load(x + x_start + atom * x_width + lane, mask=inside, other=0.0)
        activated, slope, curvature = _scalar(value, kind, SILU, TANH)
        tl.store(out + out_start + atom * channels + lane, activated, mask=inside)


@triton.jit
def _backward(x, g, by_x, table, num_atoms, head, SILU: tl.constexpr, TANH: tl.constexpr, LANES: tl.constexpr):
    """g : derivative by the output;  by_x : by the input"""
    atom = tl.program_id(0).to(tl.int64)
    kind, x_start, x_width, g_start, channels, dim, gate_start = _entry(table, num_atoms)
    lane = tl.arange(0, LANES)
    inside = lane < channels
    if kind == 2:
        gate, slope, curvature = _silu(tl.load(x + atom * head + gate_start + lane, mask=inside, other=0.0), SILU)
        by_gate = tl.zeros((LANES,), x.dtype.element_ty)
        for m in range(dim):
            value = tl.load(x + x_start + (atom * dim + m) * x_width + lane, mask=inside, other=0.0)
            incoming = tl.load(g + g_start + (atom * dim + m) * channels + lane, mask=inside, other=0.0)
            by_gate += incoming * value
            tl.store(by_x + x_start + (atom * dim + m) * x_width + lane, incoming * gate, mask=inside)
        tl.store(by_x + atom * head + gate_start + lane, by_gate * slope, mask=inside)
    else:
        value = tl.load(x + x_start + atom * x_width + lane, mask=inside, other=0.0)
        incoming = tl.load(g + g_start + atom * channels + lane, mask=inside, other=0.0)
        activated, slope, curvature = _scalar(value, kind, SILU, TANH)
        tl.store(by_x + x_start + atom * x_width + lane, incoming * slope, mask=inside)


@triton.jit
def _second(x, g, t, d_x, d_g, table, num_atoms, head, SILU: tl.constexpr, TANH: tl.constexpr, LANES: tl.constexpr):
    """Derivatives by x and by g of ⟨t, by_x(x, g)⟩, t a tangent of the input."""
    atom = tl.program_id(0).to(tl.int64)
    kind, x_start, x_width, g_start, channels, dim, gate_start = _entry(table, num_atoms)
    lane = tl.arange(0, LANES)
    inside = lane < channels
    if kind == 2:
        at_gate = atom * head + gate_start + lane
        gate, slope, curvature = _silu(tl.load(x + at_gate, mask=inside, other=0.0), SILU)
        gate_tangent = tl.load(t + at_gate, mask=inside, other=0.0)
        along = tl.zeros((LANES,), x.dtype.element_ty)
        by_gate = tl.zeros((LANES,), x.dtype.element_ty)
        for m in range(dim):
            here = x_start + (atom * dim + m) * x_width + lane
            there = g_start + (atom * dim + m) * channels + lane
            value = tl.load(x + here, mask=inside, other=0.0)
            tangent = tl.load(t + here, mask=inside, other=0.0)
            incoming = tl.load(g + there, mask=inside, other=0.0)
            along += tangent * incoming
            by_gate += incoming * value
            tl.store(d_g + there, tangent * gate + gate_tangent * value * slope, mask=inside)
            tl.store(d_x + here, gate_tangent * incoming * slope, mask=inside)
        tl.store(d_x + at_gate, along * slope + gate_tangent * by_gate * curvature, mask=inside)
    else:
        here, there = x_start + atom * x_width + lane, g_start + atom * channels + lane
        value = tl.load(x + here, mask=inside, other=0.0)
        tangent = tl.load(t + here, mask=inside, other=0.0)
        incoming = tl.load(g + there, mask=inside, other=0.0)
        activated, slope, curvature = _scalar(value, kind, SILU, TANH)
        tl.store(d_g + there, tangent * slope, mask=inside)
        tl.store(d_x + here, tangent * incoming * curvature, mask=inside)
