"""Noise drawn ahead of a recorded step is the noise that the step would have drawn."""

from __future__ import annotations

import torch

from toolkit.md.noise import NoiseBuffers


def test_buffers_hold_what_the_generator_would_have_given():
    shapes = [(2, 9, 3), (2, 3, 3), (2, 5)]
    ahead, plain = (torch.Generator().manual_seed(7) for _ in range(2))
    noise = NoiseBuffers(ahead)
    places = []
    for step in range(3):
        noise.refill()
        noise.rewind()
        drawn = [noise.draw(shape) for shape in shapes]
        expected = [torch.randn(shape, generator=plain, dtype=torch.float64) for shape in shapes]
        assert all(torch.equal(a, b) for a, b in zip(drawn, expected, strict=True)), step
        places.append([x.data_ptr() for x in drawn])
    assert places[0] == places[1] == places[2]
    assert torch.equal(ahead.get_state(), plain.get_state())
