"""Allegro's product of pairs and environments: e3nn's numbers, and every backend's values and derivatives."""

import pytest
import torch
from e3nn import o3
from test_backends import edges_with_loners, largest_error

from toolkit.kernels.compiled_product import CompiledEdgeProduct
from toolkit.kernels.dispatch import BACKENDS, edge_product
from toolkit.kernels.edge_product import EdgeProduct
from toolkit.kernels.edges import EdgeList
from toolkit.kernels.paths import PathTable

TABLES = {
    "scalars": PathTable(o3.Irreps("5x0e"), 0, o3.Irreps("0e")),
    "l1": PathTable(o3.Irreps("4x0e+4x1o"), 1, o3.Irreps("0e+1o")),
    "l2 parity": PathTable(o3.Irreps("3x0e+3x0o+3x1o+3x1e+3x2e+3x2o"), 2, o3.Irreps("0e+0o+1e+1o+2e+2o")),
    "l3 to scalars": PathTable(o3.Irreps("7x0e+7x1o+7x2e+7x3o"), 3, o3.Irreps("0e")),
}
NUM_ATOMS, NUM_EDGES = 6, 23


def _operands(table: PathTable, dtype: torch.dtype = torch.float64) -> tuple[list[torch.Tensor], EdgeList]:
    """Features of the edges, then environments of the atoms, all with gradients; and the edges."""
    generator = torch.Generator().manual_seed(table.num_weights)
    channels = table.irreps_in[0].mul
    shapes = [(m.ir.dim, NUM_EDGES, channels) for m in table.irreps_in]
    shapes += [(2 * degree + 1, NUM_ATOMS, channels) for degree in range(table.l_max_sh + 1)]
    leaves = [torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype) for shape in shapes]
    return [leaf.requires_grad_(True) for leaf in leaves], edges_with_loners(NUM_ATOMS, NUM_EDGES, generator)


def _responses(module: torch.nn.Module, table: PathTable, leaves: list[torch.Tensor], edges: EdgeList) -> dict:
    """Products, gradients of a function of them, and gradients of a function of those gradients."""
    count = len(table.irreps_in)
    outputs = module(leaves[:count], leaves[count:], edges)
    loss = sum(((1.0 + index) * out.pow(2) + out).sum() for index, out in enumerate(outputs))
    first = torch.autograd.grad(loss, leaves, create_graph=True, materialize_grads=True)
    second = torch.autograd.grad(sum((g.pow(2) + 0.3 * g).sum() for g in first), leaves, materialize_grads=True)
    return {"values": outputs, "first": list(first), "second": list(second)}


@pytest.mark.parametrize("name", TABLES)
def test_every_path_is_e3nns_tensor_product(name):
    table = TABLES[name]
    leaves, edges = _operands(table)
    outputs = dict(zip((m.ir for m in table.irreps_out), EdgeProduct(table).double()(
        leaves[:len(table.irreps_in)], leaves[len(table.irreps_in):], edges), strict=True))
    channels, used = table.irreps_in[0].mul, dict.fromkeys(outputs, 0)
    for path in table.paths:
        harmonic = o3.Irrep(path.l_sh, (-1) ** path.l_sh)
        theirs = o3.TensorProduct([(channels, path.irrep_in)], [(channels, harmonic)], [(channels, path.irrep_out)],
                                  [(0, 0, 0, "uuu", False)]).double()
        mine = leaves[path.index_in].permute(1, 2, 0).flatten(1)  # (2l+1, E, C) -> (E, C (2l+1))
        seen = leaves[len(table.irreps_in) + path.l_sh].index_select(1, edges.center).permute(1, 2, 0).flatten(1)
        found = outputs[path.irrep_out][:, :, used[path.irrep_out]:][:, :, :channels].permute(1, 2, 0).flatten(1)
        torch.testing.assert_close(found, theirs(mine, seen), rtol=0, atol=1e-6)  # e3nn keeps float32 constants
        used[path.irrep_out] += channels
    assert all(used[m.ir] == m.mul for m in table.irreps_out)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-4)])
@pytest.mark.parametrize("name", TABLES)
def test_compiled_equals_reference(name, dtype, tolerance):
    table = TABLES[name]
    leaves, edges = _operands(table)
    expected = _responses(EdgeProduct(table).double(), table, leaves, edges)
    found = _responses(CompiledEdgeProduct(table), table, _operands(table, dtype)[0], edges)
    assert largest_error(found, expected) < tolerance


def test_a_wrong_coupling_is_seen():
    table = TABLES["l1"]
    leaves, edges = _operands(table)
    expected = _responses(EdgeProduct(table).double(), table, leaves, edges)
    broken = CompiledEdgeProduct(table)
    terms = broken.couplings._terms
    terms[1].values[0] *= 1.001  # one entry of the gradient by the features
    errors = {kind: largest_error({kind: values}, {kind: expected[kind]})
              for kind, values in _responses(broken, table, leaves, edges).items()}
    assert errors["values"] < 1e-12
    assert errors["first"] > 1e-5


def test_third_derivatives_exist():
    """A loss on Hessian-vector products needs them; the contraction is closed under differentiation."""
    table = TABLES["l1"]
    leaves, edges = _operands(table)
    module, count = CompiledEdgeProduct(table), len(table.irreps_in)

    def first(*x: torch.Tensor) -> torch.Tensor:
        total = sum(out.pow(3).sum() for out in module(list(x[:count]), list(x[count:]), edges))
        return torch.autograd.grad(total, x[0], create_graph=True)[0][:, :2]

    assert torch.autograd.gradgradcheck(first, leaves, fast_mode=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_edges_there_is_nothing(backend):
    if BACKENDS[backend].obstacle("cpu"):
        pytest.skip("needs a GPU")
    table = TABLES["l2 parity"]
    edges = EdgeList(torch.zeros(2, 0, dtype=torch.int64), 2)
    features = [torch.zeros(m.ir.dim, 0, 3) for m in table.irreps_in]
    environment = [torch.ones(2 * degree + 1, 2, 3) for degree in range(3)]
    outputs = edge_product(table, backend).float()(features, environment, edges)
    assert [tuple(out.shape) for out in outputs] == [(m.ir.dim, 0, m.mul) for m in table.irreps_out]
