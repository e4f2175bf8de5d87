"""Every backend against the reference in float64: values, first and second derivatives, for random irreps and edges."""

import subprocess
import sys

import pytest
import torch
from e3nn import o3

from toolkit.errors import ConfigError
from toolkit.kernels.compiled import CompiledConvolution
from toolkit.kernels.dispatch import available, convolution, select_backend
from toolkit.kernels.edges import EdgeList
from toolkit.kernels.loops import MIN_EDGES_PER_THREAD
from toolkit.kernels.paths import PathTable
from toolkit.kernels.reference import ReferenceConvolution

WIDE = ["16x0e+17x1o", "40x0e+32x1o", "5x0e+18x2e", "1x3o+16x4e"]
"""Whole vectors of channels, and some with a remainder."""
CASES = ["5x0e", "3x0e+4x1o", "5x0e+3x1o+1x2e", "2x0e+3x0o+3x1o+1x1e+2x2e+1x2o", "7x0e+5x1o+3x2e+2x3o"]


def edges_with_loners(num_atoms: int, num_edges: int, generator: torch.Generator) -> EdgeList:
    """Random edges, sorted by centre; atom 0 has no neighbours and is nobody's, several pairs occur twice."""
    pairs = torch.randint(1, num_atoms, (2, num_edges), generator=generator)
    return EdgeList(pairs[:, torch.argsort(pairs[0], stable=True)].contiguous(), num_atoms)


def operands(table: PathTable, num_atoms: int, num_edges: int, dtype: torch.dtype = torch.float64):
    """Features, harmonics, weights (all with gradients) and edges."""
    generator = torch.Generator().manual_seed(table.num_weights)
    features = [torch.randn(num_atoms, m.ir.dim, m.mul, dtype=torch.float64, generator=generator) for m in table.irreps_in]
    harmonics = torch.randn(num_edges, (table.l_max_sh + 1) ** 2, dtype=torch.float64, generator=generator)
    weights = torch.randn(num_edges, table.num_weights, dtype=torch.float64, generator=generator)
    edges = edges_with_loners(num_atoms, num_edges, generator)
    leaves = [x.to(dtype).requires_grad_(True) for x in (harmonics, weights, *features)]
    return leaves, edges


def responses(module: torch.nn.Module, leaves: list[torch.Tensor], edges: EdgeList) -> dict[str, list[torch.Tensor]]:
    """Convolution, the gradients of a function of it, and the gradients of a function of those gradients."""
    harmonics, weights, *features = leaves
    outputs = module(features, harmonics, weights, edges)
    loss = sum(((1.0 + index) * out.pow(2) + out).sum() for index, out in enumerate(outputs))
    first = torch.autograd.grad(loss, leaves, create_graph=True)
    second = torch.autograd.grad(sum((g.pow(2) + 0.3 * g).sum() for g in first), leaves)
    return {"values": outputs, "first": list(first), "second": list(second)}


def largest_error(found: dict[str, list[torch.Tensor]], expected: dict[str, list[torch.Tensor]]) -> float:
    """Largest difference, relative to the RMS of the expected tensor."""
    errors = []
    for kind, tensors in expected.items():
        for ours, theirs in zip(found[kind], tensors, strict=True):
            assert ours.shape == theirs.shape
            if theirs.numel():
                scale = theirs.detach().square().mean().sqrt().clamp(min=1e-30)
                errors.append(float((ours.double() - theirs).detach().abs().max() / scale))
    return max(errors)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-4)])
@pytest.mark.parametrize("irreps", [*CASES, *WIDE])
def test_compiled_equals_reference(irreps, dtype, tolerance):
    irreps = o3.Irreps(irreps)
    table = PathTable(irreps, max(irreps.ls), irreps)
    leaves, edges = operands(table, num_atoms=6, num_edges=19)
    expected = responses(ReferenceConvolution(table).double(), leaves, edges)
    assert min(float(t.detach().abs().max()) for tensors in expected.values() for t in tensors) > 0.1
    leaves = [x.detach().to(dtype).requires_grad_(True) for x in leaves]
    assert largest_error(responses(CompiledConvolution(table), leaves, edges), expected) < tolerance


def test_compiled_refuses_degrees_it_has_no_code_for():
    CompiledConvolution(PathTable(o3.Irreps("1x6e"), 1, o3.Irreps("1x6e")))
    with pytest.raises(ConfigError, match="knows l ≤ 6"):
        CompiledConvolution(PathTable(o3.Irreps("2x0e+1x7o"), 1, o3.Irreps("1x7o")))


def test_a_wrong_second_derivative_is_noticed(monkeypatch):
    """A backend whose tangent forgets the harmonics is right in value and gradient, wrong one order higher."""
    irreps = o3.Irreps("3x0e+2x1o")
    table = PathTable(irreps, 1, irreps)
    leaves, edges = operands(table, num_atoms=5, num_edges=11)
    expected = responses(ReferenceConvolution(table).double(), leaves, edges)
    module = CompiledConvolution(table)
    right = module.kernels.gradients
    monkeypatch.setattr(module.kernels, "gradients", lambda g, x, e, tangent=None: right(
        g, x, e, None if tangent is None else tangent._replace(harmonics=torch.zeros_like(tangent.harmonics))))
    found = responses(module, leaves, edges)
    assert largest_error({k: found[k] for k in ("values", "first")}, {k: expected[k] for k in ("values", "first")}) < 1e-12
    assert largest_error(found, expected) > 1e-2


@pytest.mark.parametrize("backend", [name for name in ("reference", "compiled") if available(name, "cpu")])
def test_no_edges_give_zeros(backend):
    table = PathTable(o3.Irreps("3x0e+2x1o"), 1, o3.Irreps("3x0e+2x1o"))
    leaves, _ = operands(table, num_atoms=4, num_edges=0)
    found = responses(convolution(table, backend).double(), leaves, EdgeList(torch.zeros(2, 0, dtype=torch.int64), 4))
    assert [o.shape for o in found["values"]] == [(4, m.ir.dim, m.mul) for m in table.irreps_out]
    assert all(torch.count_nonzero(t) == 0 for tensors in found.values() for t in tensors)


def test_edge_orders_cover_every_edge_once():
    edges = edges_with_loners(7, 23, torch.Generator().manual_seed(0))
    for atom in range(7):
        of_center = range(int(edges.center_start[atom]), int(edges.center_start[atom + 1]))
        assert list(of_center) == torch.nonzero(edges.center == atom).flatten().tolist()
        of_neighbor = edges.by_neighbor[edges.neighbor_start[atom]:edges.neighbor_start[atom + 1]]
        assert of_neighbor.tolist() == torch.nonzero(edges.neighbor == atom).flatten().tolist()


def test_auto_prefers_the_fast_backend_and_fallbacks_are_loud():
    assert select_backend("auto", "cpu") == "compiled"
    with pytest.warns(UserWarning, match="needs a CUDA device.*using 'reference'"):
        assert select_backend("fused", "cpu") == "reference"
    with pytest.warns(UserWarning, match="runs on the CPU only"):
        assert select_backend("compiled", "cuda") == "reference"
    with pytest.raises(ConfigError, match="expected one of"):
        select_backend("warp", "cpu")


def test_without_numba_everything_works_on_the_reference():
    code = ("import sys; sys.modules['numba'] = None\n"
            "import importlib.util as u; real = u.find_spec\n"
            "u.find_spec = lambda name, *a: None if name == 'numba' else real(name, *a)\n"
            "import toolkit; from ase.build import molecule\n"
            "pot = toolkit.build(toolkit.ModelConfig(species=('H', 'O'), num_features=4))\n"
            "print(pot.backend, pot.predict(molecule('H2O'))['forces'].shape)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[-2] == "reference (3, 3)"


def test_the_number_of_threads_changes_no_bit():
    irreps = o3.Irreps("4x0e+3x1o")
    table = PathTable(irreps, 1, irreps)
    leaves, edges = operands(table, num_atoms=17, num_edges=3 * MIN_EDGES_PER_THREAD)
    answers = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        answers.append(responses(CompiledConvolution(table), leaves, edges))
    torch.set_num_threads(1)
    assert all(torch.equal(a, b) for kind in answers[0] for a, b in zip(answers[0][kind], answers[1][kind], strict=True))
