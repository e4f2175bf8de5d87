"""The reference convolution against e3nn's tensor product, for random irreps; odd channel counts; empty edges."""

import pytest
import torch
from e3nn import o3

from toolkit.kernels.edges import EdgeList
from toolkit.kernels.paths import PathTable
from toolkit.kernels.reference import ReferenceConvolution


@pytest.fixture(autouse=True)
def _double_precision_wigner_symbols():
    torch.set_default_dtype(torch.float64)  # e3nn stores them in the default dtype
    yield
    torch.set_default_dtype(torch.float32)


def _e3nn_convolution(table: PathTable, features, harmonics, weights, edges):
    """The same sum path by path with o3.TensorProduct (e3nn layout: channel-major)."""
    center, neighbor = edges.edge_index
    flat = torch.cat([f.transpose(1, 2).flatten(1) for f in features], dim=1)
    outputs = {m.ir: [] for m in table.irreps_out}
    first = 0
    for path in table.paths:
        product = o3.TensorProduct(table.irreps_in, o3.Irreps.spherical_harmonics(table.l_max_sh),
                                   o3.Irreps([(path.channels, path.irrep_out)]),
                                   [(path.index_in, path.l_sh, 0, "uvu", True)], shared_weights=False, internal_weights=False)
        message = product(flat[neighbor], harmonics, weights[:, first:first + path.channels])
        first += path.channels
        summed = torch.zeros(flat.shape[0], message.shape[1], dtype=flat.dtype).index_add(0, center, message)
        outputs[path.irrep_out].append(summed.unflatten(1, (path.channels, path.irrep_out.dim)).transpose(1, 2))
    return [torch.cat(outputs[m.ir], dim=2) for m in table.irreps_out]


def _inputs(table: PathTable, num_atoms: int, num_edges: int):
    generator = torch.Generator().manual_seed(3)
    features = [torch.randn(num_atoms, m.ir.dim, m.mul, dtype=torch.float64, generator=generator) for m in table.irreps_in]
    vectors = torch.randn(num_edges, 3, dtype=torch.float64, generator=generator)
    ls = list(range(table.l_max_sh + 1))
    harmonics = o3.spherical_harmonics(ls, vectors, normalize=True, normalization="component")
    weights = torch.randn(num_edges, table.num_weights, dtype=torch.float64, generator=generator)
    edge_index = torch.randint(num_atoms - 1, (2, num_edges), generator=generator)  # the last atom has no neighbours
    return features, harmonics, weights, EdgeList(edge_index, num_atoms)


@pytest.mark.parametrize("irreps", ["5x0e", "3x0e+3x1o", "5x0e+3x1o+1x2e", "2x0e+2x0o+3x1o+1x1e", "2x0e+2x1o+2x2e+2x3o"])
def test_reference_equals_e3nn(irreps):
    irreps = o3.Irreps(irreps)
    table = PathTable(irreps, max(irreps.ls), irreps)
    inputs = _inputs(table, num_atoms=6, num_edges=17)
    for ours, expected in zip(ReferenceConvolution(table).double()(*inputs), _e3nn_convolution(table, *inputs)):
        assert expected.abs().max() > 0.1
        torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)
        assert torch.count_nonzero(ours[-1]) == 0


def test_no_edges_give_zeros():
    table = PathTable(o3.Irreps("3x0e+2x1o"), 1, o3.Irreps("3x0e+2x1o"))
    features, harmonics, weights, edges = _inputs(table, num_atoms=4, num_edges=5)
    none = EdgeList(edges.edge_index[:, :0], 4)
    outputs = ReferenceConvolution(table).double()(features, harmonics[:0], weights[:0], none)
    assert [o.shape for o in outputs] == [(4, m.ir.dim, m.mul) for m in table.irreps_out]
    assert all(torch.count_nonzero(o) == 0 for o in outputs)

