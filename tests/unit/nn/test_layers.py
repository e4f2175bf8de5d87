"""Gate, linear maps, self-connection and harmonics, each against e3nn or its definition."""

import pytest
import torch
from e3nn import nn as e3nn_nn
from e3nn import o3

from toolkit.nn.angular import SphericalHarmonics
from toolkit.nn.gate import Gate
from toolkit.nn.irreps import feature_irreps
from toolkit.nn.linear import EquivariantLinear, SelfConnection
from toolkit.nn.mlp import ScalarMLP
from toolkit.nn.scaling import scaled
from toolkit.nn.species import SpeciesFeatures


def random_features(irreps: o3.Irreps, num_atoms: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(num_atoms, m.ir.dim, m.mul, dtype=torch.float64, generator=generator) for m in irreps]


def flat(features: list[torch.Tensor]) -> torch.Tensor:
    """Ours (N, 2l+1, C) per irrep -> e3nn's (N, Σ C (2l+1)), channel-major."""
    return torch.cat([f.transpose(1, 2).flatten(1) for f in features], dim=1)


@pytest.mark.parametrize(("parity", "expected"), [(False, "3x0e+2x1o+1x2e"), (True, "3x0e+3x0o+2x1e+2x1o+1x2e+1x2o")])
def test_feature_irreps(parity, expected):
    assert feature_irreps((3, 2, 1), parity) == o3.Irreps(expected)


@pytest.mark.parametrize("irreps", ["4x0e+3x1o+2x2e", "4x0e+2x0o+3x1o+2x1e", "5x0e"])
def test_gate_equals_e3nn(irreps):
    irreps = o3.Irreps(irreps)
    gate = Gate(irreps).double()
    scalars = [m for m in irreps if m.ir.l == 0]
    tensors = [m for m in irreps if m.ir.l > 0]
    activation = {1: torch.nn.functional.silu, -1: torch.tanh}
    reference = e3nn_nn.Gate(o3.Irreps(scalars), [activation[m.ir.p] for m in scalars],
                             o3.Irreps([(m.mul, "0e") for m in tensors]), [activation[1]] * len(tensors), o3.Irreps(tensors))
    features = random_features(gate.irreps_in, 7)
    parts = {m.ir: f for m, f in zip(gate.irreps_in, features)}  # e3nn sorts its input: the gates follow the 0e scalars
    ordered = [parts[m.ir] for m in reference.irreps_in.simplify()]
    by_irrep = {m.ir: f for m, f in zip(gate.irreps_out, gate(features))}
    ours = flat([by_irrep[m.ir] for m in reference.irreps_out])
    torch.testing.assert_close(ours, reference.double()(flat(ordered)), rtol=1e-6, atol=1e-6)


def test_linear_equals_e3nn_with_the_same_weights():
    irreps_in, irreps_out = o3.Irreps("4x0e+3x1o"), o3.Irreps("2x0e+5x1o+2x2e")
    ours = EquivariantLinear(irreps_in, irreps_out).double()
    reference = o3.Linear(irreps_in, irreps_out).double()
    with torch.no_grad():
        reference.weight.copy_(torch.cat([w.flatten() for w in ours.weights]))
    features = random_features(irreps_in, 6)
    torch.testing.assert_close(flat(ours(features)), reference(flat(features)))


def self_connection_of(num_species: int, dim: int, seed: int) -> tuple[SelfConnection, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    connection = SelfConnection(o3.Irreps("4x0e+3x1o"), dim, o3.Irreps("2x0e+5x1o")).double()
    return connection, torch.randn(num_species, dim, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("num_species, dim", [(2, 3), (7, 3)], ids=["a matrix per species", "by the embedding"])
@pytest.mark.parametrize("num_atoms", [6, 300], ids=["few atoms", "sorted by species"])
@pytest.mark.parametrize("folded", [False, True])
def test_self_connection_equals_the_fully_connected_tensor_product(num_species, dim, num_atoms, folded):
    ours, embedding = self_connection_of(num_species, dim, 1)
    irreps_in, irreps_out = o3.Irreps("4x0e+3x1o"), o3.Irreps("2x0e+5x1o")
    reference = o3.FullyConnectedTensorProduct(irreps_in, o3.Irreps([(dim, "0e")]), irreps_out).double()
    with torch.no_grad():
        reference.weight.copy_(torch.cat([w.transpose(0, 1).flatten() for w in ours.weights]))
        if folded:
            ours.fold(embedding)
    features = random_features(irreps_in, num_atoms)
    index = torch.randint(num_species - 1, (num_atoms,), generator=torch.Generator().manual_seed(2))  # one species is absent
    species = SpeciesFeatures.of(index, embedding)
    assert (species.groups is not None) == (num_atoms == 300)
    torch.testing.assert_close(flat(ours(features, species)), reference(flat(features), embedding[index]))


@pytest.mark.parametrize("num_species", [2, 7])
def test_self_connection_differentiates_twice_in_any_order_of_atoms(num_species, monkeypatch):
    monkeypatch.setattr("toolkit.nn.species.GROUPS_PAY", 1)
    ours, embedding = self_connection_of(num_species, 3, 3)
    index = torch.tensor([1, 0, 1, 1, 0])
    features = [x.requires_grad_() for x in random_features(o3.Irreps("4x0e+3x1o"), 5)]

    def energy(table: torch.Tensor, *x: torch.Tensor) -> torch.Tensor:
        species = SpeciesFeatures.of(index, table)
        assert species.groups is not None
        return flat(ours(list(x), species)).pow(3).sum()
    assert torch.autograd.gradgradcheck(energy, (embedding.requires_grad_(), *features))


@pytest.mark.parametrize("l_max", range(7))
def test_harmonics_are_those_of_e3nn(l_max):
    vectors = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    values = SphericalHarmonics(l_max)(vectors, vectors.norm(dim=1))
    expected = o3.spherical_harmonics(list(range(l_max + 1)), vectors, normalize=True, normalization="component")
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-13)


def test_mlp_maps_zero_to_zero():
    mlp = ScalarMLP([4, 8, 3])
    assert torch.count_nonzero(mlp(torch.zeros(5, 4))) == 0
    assert mlp(torch.ones(5, 4)).abs().max() > 0


def test_scaled_weights_differentiate_like_products():
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True) for shape in [(3, 4), (2,), (0, 5)]]
    scales = [0.5, -2.0, 3.0]
    for weight, scale, found in zip(weights, scales, scaled(weights, scales), strict=True):
        assert torch.equal(found, weight * scale)
    def energy(*weights: torch.Tensor) -> torch.Tensor:
        return sum((x**3).sum() for x in scaled(weights, scales))
    assert torch.autograd.gradcheck(energy, weights[:2] + [weights[2]])
    assert torch.autograd.gradgradcheck(energy, weights)
    assert scaled([], []) == []
