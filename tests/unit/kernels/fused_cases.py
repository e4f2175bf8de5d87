"""Run by `test_fused` in a process with TRITON_INTERPRET=1: errors of the Triton kernels, printed as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from ase.build import molecule
from e3nn import o3

sys.path.insert(0, str(Path(__file__).parent))

from test_backends import CASES, largest_error, operands, responses

from toolkit.config import ModelConfig
from toolkit.data.graph import collate
from toolkit.kernels.compiled_spline import NumbaSpline
from toolkit.kernels.edges import EdgeList
from toolkit.kernels.fused import FusedConvolution
from toolkit.kernels.fused_spline import TritonSpline
from toolkit.kernels.paths import PathTable
from toolkit.kernels.reference import ReferenceConvolution
from toolkit.models.derivatives import evaluate
from toolkit.models.potential import build_potential
from toolkit.nn.gate import Gate


def convolution_errors() -> dict[str, float]:
    """Values, first and second derivatives, relative; small tables also in float32 (the interpreter is slow)."""
    errors = {}
    for irreps in map(o3.Irreps, CASES):
        table = PathTable(irreps, max(irreps.ls), irreps)
        leaves, edges = operands(table, num_atoms=3, num_edges=4)
        expected = responses(ReferenceConvolution(table).double(), leaves, edges)
        for dtype in (torch.float64, torch.float32) if len(table.paths) < 12 else (torch.float64,):
            cast = [x.detach().to(dtype).requires_grad_(True) for x in leaves]
            errors[f"{irreps} {dtype}"] = largest_error(responses(FusedConvolution(table), cast, edges), expected)
    return errors


def no_edges() -> float:
    """Largest number that comes out of nothing."""
    table = PathTable(o3.Irreps("3x0e+2x1o"), 1, o3.Irreps("3x0e+2x1o"))
    leaves, _ = operands(table, num_atoms=3, num_edges=0)
    found = responses(FusedConvolution(table), leaves, EdgeList(torch.zeros(2, 0, dtype=torch.int64), 3))
    return max(float(t.detach().abs().max()) for tensors in found.values() for t in tensors if t.numel())


def spline_error() -> float:
    """Triton against Numba, values to curvatures."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(30, 300, dtype=torch.float64, generator=generator)
    p = torch.tensor([0.0, 3.999, 11.5, 24.2, 29.0], dtype=torch.float64)
    g = torch.randn(5, 300, dtype=torch.float64, generator=generator)
    one, two = TritonSpline(), NumbaSpline()
    return max(float((a - b).abs().max()) for order in (0, 1, 2)
               for a, b in ((one.evaluate(table, p, order), two.evaluate(table, p, order)),
                            (one.contract(table, p, g, order), two.contract(table, p, g, order))))


def gate_errors() -> dict[str, float]:
    """Values, first and second derivatives of the gate in one kernel, relative to the gate in plain torch."""
    errors = {}
    for irreps in map(o3.Irreps, ("4x0e+3x0o+3x1o+2x2e", "5x0e", "3x1o")):
        answers = {}
        for at_once in (False, True):
            gate = Gate(irreps)
            gate.at_once = at_once
            generator = torch.Generator().manual_seed(0)

            def normal(*shape: int) -> torch.Tensor:
                return torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)

            x = [normal(3, m.ir.dim, m.mul) for m in gate.irreps_in]
            out = gate(x)
            g = [normal(*y.shape) for y in out]
            first = torch.autograd.grad(sum((a * b).sum() for a, b in zip(out, g)), x, create_graph=True)
            second = torch.autograd.grad(sum((a * normal(*a.shape).detach()).sum() for a in first), [*x, *g])
            answers[at_once] = [torch.cat([t.detach().flatten() for t in ts]) for ts in (out, first, second)]
        for name, plain, fused in zip(("value", "first", "second"), answers[False], answers[True]):
            errors[f"gate {irreps} {name}"] = float((plain - fused).norm() / plain.norm())
    return errors


def model_errors(l_max: int, parity: bool) -> dict[str, float]:
    """Energies, forces and parameter gradients of a force loss of a whole model, relative to the reference in float64.

    The batch holds a molecule and a lone atom.
    """
    config = ModelConfig(species=("H", "O"), l_max=l_max, parity=parity, num_features=(3, 2, 2, 1)[:l_max + 1],
                         num_layers=2, r_max=3.0, radial_mlp_width=5, avg_num_neighbors=2.0)
    answers = {}
    for backend in ("reference", "fused"):
        pot = build_potential(config, dtype="float64", backend=backend)
        lone = molecule("O") + molecule("H2O")
        lone.positions[0] += 50.0
        graph = collate([pot.graph(molecule("H2O")), pot.graph(lone)])
        pot.model.requires_grad_(True)
        output = evaluate(pot.model, graph, create_graph=True)
        loss = output["forces"].square().sum() + output["energy"].square().sum()
        parameters = [p for p in pot.model.parameters() if p.requires_grad and p.numel()]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        answers[backend] = {"energy": output["energy"], "forces": output["forces"],
                            "parameters": torch.cat([g.flatten() for g in gradients])}
    return {f"l_max {l_max} parity {parity} {key}": float((answers["fused"][key] - expected).norm() / expected.norm())
            for key, expected in answers["reference"].items()}


def inference_errors(l_max: int, parity: bool) -> dict[str, float]:
    """Energies and forces of the prepared model (tables, one launch for all linear maps, fused gate) in float32."""
    config = ModelConfig(species=("H", "O"), l_max=l_max, parity=parity, num_features=(5, 3, 2)[:l_max + 1], num_layers=3,
                         r_max=3.0, radial_mlp_width=5, avg_num_neighbors=2.0, type_embed_num_features=6)
    molecules = [molecule("H2O"), molecule("OH"), molecule("O")]
    expected = build_potential(config, dtype="float64", backend="reference").predict(molecules)
    potential = build_potential(config, dtype="float32", backend="fused")
    assert all(layer.nodes is not None for layer in potential._prepared.layers)
    found = potential.predict(molecules)
    return {f"float32 inference l_max {l_max} {key}": max(abs(a[key] - b[key]).max() for a, b in zip(found, expected))
            / max(abs(b[key]).max() for b in expected) for key in ("energies", "forces")}


if __name__ == "__main__":
    result = {**convolution_errors(), **gate_errors(), "no edges": no_edges(), "spline": spline_error()}
    for case in ((1, True), (2, False), (3, False)):
        result |= model_errors(*case)
    result |= inference_errors(1, True) | inference_errors(2, False)
    print(json.dumps(result))
