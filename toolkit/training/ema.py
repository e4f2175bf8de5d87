"""Exponential moving average of weights: the averaged model is what is validated, kept and shipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class ExponentialMovingAverage:
    """θ̄ ← d θ̄ + (1 − d) θ after each step, d = min(decay, (1 + n)/(10 + n)) at step n; decay 0 follows θ exactly.

    parameters : on one device, at least one
    """

    def __init__(self, parameters: list[Tensor], decay: float) -> None:
        self._parameters = parameters
        self.decay = decay
        self.averages = [p.detach().clone() for p in parameters]
        self._decay = parameters[0].detach().new_zeros(())

    def set_step(self, step: int) -> None:
        """Choose d for the update that follows optimiser step number `step` (0, 1, …)."""
        self._decay.fill_(min(self.decay, (1 + step) / (10 + step)))

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are; no number leaves the device, so that this can be part of a recorded step."""
        gained = torch._foreach_mul([p.detach() for p in self._parameters], 1.0 - self._decay)
        torch._foreach_mul_(self.averages, self._decay)
        torch._foreach_add_(self.averages, gained)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the model holds the averaged weights; afterwards its own again."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, average in zip(self._parameters, self.averages, strict=True):
            own = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(own)
