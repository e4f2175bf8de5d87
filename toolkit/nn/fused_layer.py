"""What happens at the atoms of an interaction layer in few kernel launches: the gate, and for inference all of it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch
from e3nn import o3
from torch import Tensor

from toolkit.kernels.flat import flatten, shapes, unflatten
from toolkit.kernels.fused_gate import FusedGate
from toolkit.kernels.fused_nodes import GroupedLinear
from toolkit.nn.gate import activation_scales

if TYPE_CHECKING:
    from toolkit.nn.convolution import InteractionLayer


@cache
def fused_gate(irreps_out: o3.Irreps, device: torch.device) -> FusedGate:
    """The kernels of the gate onto these irreps."""
    scalars = {m.ir.p: m.mul for m in irreps_out if m.ir.l == 0}
    tensors = shapes(o3.Irreps([m for m in irreps_out if m.ir.l > 0]))
    return FusedGate(scalars.get(1, 0), sum(c for _, c in tensors), scalars.get(-1, 0), tensors, activation_scales(), device)


def gate_at_once(features: list[Tensor], irreps_out: o3.Irreps) -> list[Tensor]:
    """What `nn.gate.Gate` gives, in one launch. features : one (N, 2l+1, C) per irrep of the gate's irreps_in"""
    num_atoms = len(features[0])
    gated = fused_gate(irreps_out, features[0].device)(flatten(features), num_atoms)
    return list(unflatten(gated, num_atoms, shapes(irreps_out)))


class FusedNodes:
    """Linear maps, self-connection and gate of a layer whose weights are folded and final.

    Features inside are flat, irrep after irrep, (N, 2l+1, C) each.
    """

    def __init__(self, layer: InteractionLayer) -> None:
        gate_shapes = shapes(layer.gate.irreps_in)
        linear_1, linear_2 = layer.linear_1, layer.linear_2
        self._shapes_in = shapes(layer.table.irreps_in)
        self._shapes_out = shapes(layer.irreps_out)
        self.linear_1 = GroupedLinear(self._shapes_in, self._shapes_in, linear_1.sources,
                                      [w.unsqueeze(0) for w in linear_1.folded])
        self.linear_2 = GroupedLinear(shapes(layer.table.irreps_out), gate_shapes, linear_2.sources,
                                      [None if source is None else w.unsqueeze(0)
                                       for source, w in zip(linear_2.sources, linear_2.folded, strict=True)])
        self.self_connection = None
        if layer.self_connection is not None:
            connection = layer.self_connection
            self.self_connection = GroupedLinear(self._shapes_in, gate_shapes, connection.sources, connection.by_species())
        self.gate = fused_gate(layer.irreps_out, linear_1.folded[0].device)

    def before(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The features, flat, and what the convolution takes."""
        flat = flatten(features)
        num_atoms = len(features[0])
        return flat, list(unflatten(self.linear_1(flat, num_atoms), num_atoms, self._shapes_in))

    def after(self, messages: list[Tensor], flat: Tensor, species: Tensor) -> list[Tensor]:
        """Linear map of the messages, plus self-connection of the features, gated. species : (N,) int64."""
        num_atoms = len(messages[0])
        mixed = self.linear_2(flatten(messages), num_atoms)
        if self.self_connection is not None:
            mixed = self.self_connection(flat, num_atoms, species, mixed)
        return list(unflatten(self.gate(mixed, num_atoms), num_atoms, self._shapes_out))
