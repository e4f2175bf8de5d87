"""A plain multilayer perceptron on invariant features."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from toolkit.nn.scaling import scaled


class ScalarMLP(torch.nn.Module):
    """Linear layers with SiLU between them, no bias, so that zero goes to zero (smooth at the cutoff).

    Weights start uniform with unit variance and are multiplied by gain/√fan_in, gain √2 after a SiLU.
    """

    def __init__(self, dims: list[int]) -> None:
        super().__init__()
        bound = math.sqrt(3.0)
        self.weights = torch.nn.ParameterList(
            torch.empty(fan_in, fan_out).uniform_(-bound, bound) for fan_in, fan_out in zip(dims[:-1], dims[1:], strict=True))
        self._scales = [(1.0 if layer == 0 or len(dims) == 2 else math.sqrt(2.0)) / math.sqrt(fan_in)
                        for layer, fan_in in enumerate(dims[:-1])]

    def forward(self, x: Tensor) -> Tensor:
        """(…, dims[0]) -> (…, dims[-1])."""
        last = len(self._scales) - 1
        for layer, weight in enumerate(scaled(list(self.weights), self._scales)):
            x = x @ weight
            if layer < last:
                x = torch.nn.functional.silu(x)
        return x
