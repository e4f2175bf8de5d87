"""The random numbers of a step that is recorded: drawn before each replay, read inside it."""

from __future__ import annotations

import torch
from torch import Tensor


class NoiseBuffers:
    """Standard normal numbers of one step, in the order in which it asks for them; float64.

    A recording would draw the same numbers again and again. The step therefore reads buffers that stay where they are,
    and `refill` puts in what the generator would have given had the step drawn them itself.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._buffers: list[Tensor] = []
        self._next = 0

    def rewind(self) -> None:
        """A step begins."""
        self._next = 0

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        """The next numbers of this step, of this shape at each step; overwritten by the next `refill`."""
        if self._next == len(self._buffers):
            empty = torch.empty(shape, dtype=torch.float64, device=self._generator.device)
            self._buffers.append(empty.normal_(generator=self._generator))
        self._next += 1
        return self._buffers[self._next - 1]

    def refill(self) -> None:
        """Draw the numbers of the next step; before the first step there is nothing to refill, it draws its own."""
        for buffer in self._buffers:
            buffer.normal_(generator=self._generator)
