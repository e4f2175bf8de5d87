"""The gated nonlinearity: scalars through an activation, tensors multiplied by activated scalars."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from e3nn import o3
from e3nn.math import normalize2mom
from torch import Tensor


@cache
def _activation(parity: int) -> Callable[[Tensor], Tensor]:
    """SiLU for even scalars, tanh (odd, so parity survives) for odd ones, scaled to unit second moment.

    Without weights, so all gates share it; finding the scale takes a million random numbers.
    """
    return normalize2mom(torch.nn.functional.silu if parity == 1 else torch.tanh)


def activation_scales() -> tuple[float, float]:
    """What SiLU and tanh are multiplied with."""
    return float(_activation(1).cst), float(_activation(-1).cst)


class Gate(torch.nn.Module):
    """Weiler et al., NeurIPS 2018. `irreps_in` = scalars (with the gates joined to the 0e) followed by tensors.

    irreps_out : wanted irreps, sorted so that scalars come first. One even scalar gate per tensor channel.
    """

    def __init__(self, irreps_out: o3.Irreps) -> None:
        super().__init__()
        self.irreps_out = irreps_out
        self._scalars = [mul_ir for mul_ir in irreps_out if mul_ir.ir.l == 0]
        self._tensors = [mul_ir for mul_ir in irreps_out if mul_ir.ir.l > 0]
        self._gates = [mul_ir.mul for mul_ir in self._tensors]
        self._activations = torch.nn.ModuleDict({str(p): _activation(p) for p in (1, -1)})
        even = sum(m.mul for m in self._scalars if m.ir.p == 1) + sum(self._gates)
        odd = [m for m in self._scalars if m.ir.p == -1]
        head = [(even, "0e")] if even else []
        self.at_once = False
        """Whether to use the kernels of `fused_layer`; see `InteractionLayer.use_backend`."""
        self.irreps_in = o3.Irreps(head + [(m.mul, m.ir) for m in odd + self._tensors])

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """One (N, 2l+1, C) per irrep of irreps_in -> one per irrep of irreps_out."""
        if self.at_once and features:
            from toolkit.nn.fused_layer import gate_at_once  # needs Triton

            return gate_at_once(features, self.irreps_out)
        parts = dict(zip((mul_ir.ir for mul_ir in self.irreps_in), features, strict=True))
        sizes = [m.mul for m in self._scalars if m.ir.p == 1]
        even: list[Tensor] = []
        if sizes or self._gates:  # even scalars and gates go through the same activation, at once
            even = list(self._activations["1"](parts[o3.Irrep("0e")]).split(sizes + self._gates, dim=2))
        gates = even[len(sizes):]
        outputs = [even[0] if mul_ir.ir.p == 1 else self._activations["-1"](parts[mul_ir.ir]) for mul_ir in self._scalars]
        return outputs + [parts[mul_ir.ir] * gate for mul_ir, gate in zip(self._tensors, gates, strict=True)]
