"""Tables of radial functions: as near to the network as float32 rounding, exact derivatives, an exact zero beyond r_max."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from e3nn import o3

from toolkit.config import ModelConfig
from toolkit.kernels import tabulated
from toolkit.kernels.compiled import CompiledConvolution
from toolkit.kernels.compiled_spline import NumbaSpline
from toolkit.kernels.edges import EdgeList
from toolkit.kernels.paths import PathTable
from toolkit.kernels.spline import RadialTable
from toolkit.kernels.trilinear import Operands, convolve
from toolkit.models.potential import build_potential
from toolkit.nn import convolution
from toolkit.nn.mlp import ScalarMLP
from toolkit.nn.radial import BesselBasis, polynomial_envelope

R_MAX = 4.5


@pytest.fixture
def radial() -> torch.nn.Module:
    """A radial network in float64, as a convolution has it."""
    torch.manual_seed(1)
    return torch.nn.Sequential(BesselBasis(R_MAX, 8, 6, trainable=False), ScalarMLP([8, 32, 17])).double()


def _derivatives(function, lengths):
    values = function(lengths)
    slope = torch.autograd.grad((values * torch.linspace(-1, 1, 17)).sum(), lengths, create_graph=True)[0]
    return values, slope, torch.autograd.grad(slope.sum(), lengths)[0]


def test_values_and_derivatives_of_the_network(radial):
    table = RadialTable(radial, R_MAX, NumbaSpline(), 8)
    lengths = torch.linspace(0.6, R_MAX + 0.3, 2000, dtype=torch.float64).requires_grad_()
    found, expected = _derivatives(table, lengths), _derivatives(radial, lengths)
    errors = [float((a - b).detach().norm() / b.detach().norm()) for a, b in zip(found, expected)]
    assert errors[0] < 1e-7 and errors[1] < 2e-6 and errors[2] < 5e-5
    assert torch.count_nonzero(found[0][lengths >= R_MAX]) == 0
    single = table.float()(lengths.detach().float())
    assert (single - expected[0]).norm() / expected[0].norm() < 1e-6


def test_derivatives_are_those_of_the_table(radial):
    """Also across knots, and in the last intervals before r_max."""
    table = RadialTable(radial, R_MAX, NumbaSpline(), 8)
    lengths = torch.tensor([0.0, 0.9, 256.5 * R_MAX / 512, 3.1, R_MAX - 0.01, R_MAX + 1.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(table, lengths.requires_grad_(), eps=1e-5, atol=1e-7)
    assert torch.autograd.gradgradcheck(table, lengths, eps=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_bessels", [8, 32, 64])
def test_a_table_of_many_waves_is_as_near_as_the_rounding_of_the_network(num_bessels):
    torch.manual_seed(2)
    radial = torch.nn.Sequential(BesselBasis(R_MAX, num_bessels, 6, trainable=False), ScalarMLP([num_bessels, 32, 17]))
    table = RadialTable(deepcopy(radial).double(), R_MAX, NumbaSpline(), num_bessels).float()
    lengths = torch.linspace(0.6, R_MAX, 2000).requires_grad_()
    exact = _derivatives(deepcopy(radial).double(), lengths.detach().double().requires_grad_())
    errors = [[float((a - b).detach().norm() / b.detach().norm()) for a, b in zip(_derivatives(f, lengths), exact)]
              for f in (table, radial)]
    assert errors[0][0] < 1.5 * errors[1][0] and errors[0][1] < 3.0 * errors[1][1] < 1e-5


@pytest.mark.parametrize("power", [3, 6, 12, 32])
def test_a_table_of_a_steep_envelope_is_as_near(power):
    torch.manual_seed(2)
    radial = torch.nn.Sequential(BesselBasis(R_MAX, 8, power, trainable=False), ScalarMLP([8, 32, 17])).double()
    table = RadialTable(radial, R_MAX, NumbaSpline(), 8, power)
    lengths = torch.linspace(0.6, R_MAX, 2000, dtype=torch.float64).requires_grad_()
    errors = [float((a - b).detach().norm() / b.detach().norm())
              for a, b in zip(_derivatives(table, lengths), _derivatives(radial, lengths))]
    assert errors[0] < 2e-7 and errors[1] < 3e-6
    coarse = RadialTable(radial, R_MAX, NumbaSpline(), 8, 6)
    worse = (_derivatives(coarse, lengths)[1] - _derivatives(radial, lengths)[1]).detach().abs().max()
    assert power < 12 or worse > 3.0 * (_derivatives(table, lengths)[1] - _derivatives(radial, lengths)[1]).detach().abs().max()


def test_an_envelope_has_no_slope_far_beyond_its_end():
    for power in (3, 6, 32):
        x = torch.tensor([0.5, 1.0, 1.5, 330.0, 1e6], requires_grad=True)
        values = polynomial_envelope(x, power)
        slopes, = torch.autograd.grad(values.sum(), x)
        assert torch.count_nonzero(values[1:]) == torch.count_nonzero(slopes[1:]) == 0 and slopes[0] < 0.0


def test_a_potential_reads_tables_in_float32_only_and_its_hessian_uses_the_network(ethanol):
    config = ModelConfig(species=("H", "C", "O"), num_features=8, l_max=1, num_layers=2, r_max=4.0, avg_num_neighbors=6.0)
    exact = build_potential(config, dtype="float64", backend="reference").predict(ethanol)
    for dtype, is_tabulated in (("float32", True), ("float64", False)):
        potential = build_potential(config, dtype=dtype, backend="compiled")
        assert potential._prepared.tabulated is is_tabulated
        assert not potential.model.tabulated
        error = abs(potential.predict(ethanol)["forces"] - exact["forces"]).max()
        assert error < (1e-5 if is_tabulated else 1e-12) * abs(exact["forces"]).max()


def test_cutoffs_by_pair_of_species_are_computed_not_tabulated(ethanol):
    config = ModelConfig(species=("H", "C", "O"), num_features=4, num_layers=2, r_max=4.0, per_pair_r_max={"H-H": 2.5})
    assert not build_potential(config, dtype="float32", backend="compiled")._prepared.tabulated


def test_weights_kept_read_twice_or_edge_by_edge_give_the_same(ethanol, monkeypatch):
    config = ModelConfig(species=("H", "C", "O"), num_features=8, l_max=2, num_layers=3, r_max=4.0)
    potential = build_potential(config, dtype="float32", backend="compiled")
    edgewise = potential.predict(ethanol)
    monkeypatch.setattr(convolution, "convolve_from_table", None)
    with pytest.raises(TypeError):
        potential.predict(ethanol)  # so that was the way it went
    monkeypatch.setattr(convolution, "should_read_edgewise", lambda *a: False)
    kept = potential.predict(ethanol)
    monkeypatch.undo()
    monkeypatch.setattr(tabulated, "_reading", lambda kernels, table: tabulated.WeightsInMemory(kernels, table.kernels))
    calls = []
    monkeypatch.setattr(convolution, "convolve_from_table", lambda *a: calls.append(a) or tabulated.convolve_from_table(*a))
    twice = potential.predict(ethanol)
    assert len(calls) == 3
    assert kept["energy"] == twice["energy"] and (kept["forces"] == twice["forces"]).all()
    assert edgewise["energy"] == pytest.approx(kept["energy"], rel=1e-7)
    np.testing.assert_allclose(edgewise["forces"], kept["forces"], atol=2e-6 * abs(kept["forces"]).max())


def test_reading_edge_by_edge_has_exact_derivatives_of_both_orders():
    irreps = o3.Irreps("5x0e+17x1o")
    paths, generator = PathTable(irreps, 1, irreps), torch.Generator().manual_seed(3)
    pairs = torch.randint(0, 6, (2, 40), generator=generator)
    edges = EdgeList(pairs[:, torch.argsort(pairs[0], stable=True)].contiguous(), 6)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_(True)

    table = RadialTable(lambda r: torch.cos(r[:, None] * torch.linspace(1.0, 3.0, paths.num_weights)).double()
                        * (1 - r[:, None] / 4.0) ** 3, 4.0, NumbaSpline(), half_waves=4).double()
    lengths = (4.0 * torch.rand(40, dtype=torch.float64, generator=generator)).requires_grad_(True)
    harmonics, features = draw(40, 4), [draw(6, m.ir.dim, m.mul) for m in irreps]
    kernels = CompiledConvolution(paths).kernels

    def responses(outputs: list[torch.Tensor]) -> list[torch.Tensor]:
        leaves = [lengths, harmonics, *features]
        loss = sum(out.pow(2).sum() for out in outputs)
        once = torch.autograd.grad(loss, leaves, retain_graph=True)
        first = torch.autograd.grad(loss, leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.pow(2).sum() for g in first), leaves)
        return [*outputs, *once, *first, *second]

    found = responses(tabulated.convolve_from_table(kernels, table, features, harmonics, lengths, edges))
    expected = responses(convolve(kernels, Operands(harmonics, table(lengths), tuple(features)), edges))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10 * float(theirs.detach().abs().max()))
