"""The envelope and the Bessel basis against closed forms."""

import math

import pytest
import torch

from toolkit.nn.radial import BesselBasis, polynomial_envelope


def _derivatives(function, x: float) -> list[float]:
    point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    values = [function(point)]
    for _ in range(2):
        values.append(torch.autograd.grad(values[-1], point, create_graph=True)[0])
    return [v.item() for v in values]


def _value_slope_curvature_at_cutoff(envelope) -> list[float]:
    return [abs(v) for v in _derivatives(envelope, 1.0 - 1e-9)]


@pytest.mark.parametrize("p", [3, 6, 9])
def test_envelope_is_twice_continuously_differentiable(p):
    assert max(_value_slope_curvature_at_cutoff(lambda x: polynomial_envelope(x, p))) < 1e-5
    assert _derivatives(lambda x: polynomial_envelope(x, p), 1.0001) == [0.0, 0.0, 0.0]
    assert _derivatives(lambda x: polynomial_envelope(x, p), 0.0)[0] == 1.0


def test_a_c1_envelope_is_rejected():
    assert _value_slope_curvature_at_cutoff(lambda x: 1 - 6 * x**5 + 5 * x**6)[2] == pytest.approx(30.0, abs=1e-3)


def test_envelope_p6_is_the_published_polynomial():
    x = torch.linspace(0, 0.999, 50, dtype=torch.float64)
    expected = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
    torch.testing.assert_close(polynomial_envelope(x, 6), expected, rtol=1e-12, atol=1e-12)


def test_bessel_basis_is_sin_over_r_and_orthogonal():
    r_max, n_max = 4.0, 5
    basis = BesselBasis(r_max, n_max, 6, trainable=False).double()
    r = (torch.arange(4000, dtype=torch.float64) + 0.5) * r_max / 4000
    bare = basis(r) / polynomial_envelope(r / r_max, 6)[:, None]
    n = torch.arange(1, n_max + 1, dtype=torch.float64)
    torch.testing.assert_close(bare, (2 / r_max) * torch.sin(n * math.pi * r[:, None] / r_max) / r[:, None], rtol=1e-9, atol=1e-9)
    overlap = (bare[:, :, None] * bare[:, None, :] * (r**2)[:, None, None]).sum(0) * r_max / 4000
    torch.testing.assert_close(overlap, overlap[0, 0] * torch.eye(n_max, dtype=torch.float64), rtol=1e-5, atol=1e-5)
    assert torch.isfinite(basis(torch.zeros(1, dtype=torch.float64))).all()
