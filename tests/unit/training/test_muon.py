"""Muon: orthogonal steps for matrices, Adam for the rest."""

from __future__ import annotations

import pytest
import torch

from toolkit.config import OptimizerConfig, parse_config
from toolkit.errors import ConfigError
from toolkit.training.muon import ADAM_LIKE_RMS, MOMENTUM, Muon, orthogonalize


@pytest.mark.parametrize("shape", [(3, 40, 16), (3, 16, 40), (2, 12, 12)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrices[0] *= 1e-9
    found = orthogonalize(matrices)
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    seen = left.transpose(1, 2) @ found @ right.transpose(1, 2)
    sizes = seen.diagonal(dim1=1, dim2=2)
    assert values.amax() / values.amin() > 1e8
    assert 0.4 < sizes.min() and sizes.max() < 1.3
    assert (seen - torch.diag_embed(sizes)).abs().max() < 1e-6


@pytest.mark.parametrize("shape", [(3, 64, 24), (2, 128, 256)])
def test_single_precision_errs_by_less_than_the_iteration(shape, monkeypatch):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    exact, errors = orthogonalize(matrices), []
    for native in (False, True):
        monkeypatch.setattr("toolkit.training.muon._cpu_multiplies_bfloat16", lambda native=native: native)
        found = orthogonalize(matrices.float())
        assert found.dtype == torch.float32
        errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[0] < 1e-4 < errors[1] < 0.02


def test_zero_has_no_direction():
    assert torch.equal(orthogonalize(torch.zeros(2, 8, 9)), torch.zeros(2, 8, 9))


def test_a_stack_of_matrices_is_stepped_matrix_by_matrix():
    generator = torch.Generator().manual_seed(1)
    stack, rate = torch.randn(3, 9, 20, generator=generator, dtype=torch.float64), 0.02
    gradients = [torch.randn(3, 9, 20, generator=generator, dtype=torch.float64) for _ in range(2)]
    parameter = stack.clone().requires_grad_()
    optimizer = Muon([parameter], rate, weight_decay=0.1)
    momentum, expected = torch.zeros_like(stack), stack.clone()
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        momentum = MOMENTUM * momentum + (1.0 - MOMENTUM) * gradient
        ahead = (1.0 - MOMENTUM) * gradient + MOMENTUM * momentum
        step = torch.stack([orthogonalize(matrix[None])[0] for matrix in ahead])
        expected = (1.0 - 0.1 * rate) * expected - rate * ADAM_LIKE_RMS * 20**0.5 * step
        length = step.square().mean().sqrt() * 20**0.5
        assert 0.7 < length < 1.2  # so that an entry moves by about 0.2 learning rates, as with Adam
    torch.testing.assert_close(parameter.detach(), expected, rtol=1e-12, atol=1e-14)


def test_small_parameters_are_stepped_by_adam():
    generator = torch.Generator().manual_seed(2)
    shapes = [(5,), (3, 16), (64, 1)]
    start = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    ours, theirs = ([x.clone().requires_grad_() for x in start] for _ in range(2))
    optimizers = Muon(ours, 0.01), torch.optim.Adam(theirs, lr=0.01)
    for _ in range(5):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator, dtype=torch.float64)
            other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=0.0)


def test_amsgrad_is_refused():
    with pytest.raises(ConfigError, match="amsgrad is a variant of Adam"):
        parse_config(OptimizerConfig, {"name": "muon", "amsgrad": True})
