"""Energy, forces, stress and Hessian of any model by automatic differentiation, written once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

from toolkit.data.graph import AtomicGraph, collate, edge_vectors
from toolkit.models.base import AtomisticModel, ModelOutput

T = TypeVar("T")
Model = Callable[[AtomicGraph, Tensor], ModelOutput]
"""An AtomisticModel, or one of its kin with some weights in the place of others."""


def _with_gradients(function: Callable[..., T]) -> Callable[..., T]:
    """Let a function of a model and a graph differentiate also where the caller wants no gradients (`torch.inference_mode`)."""
    @wraps(function)
    def run(model: Model, graph: AtomicGraph, *args: Any, **options: Any) -> T:
        if not (torch.is_inference_mode_enabled() or graph.positions.is_inference()):
            return function(model, graph, *args, **options)
        with torch.inference_mode(False):
            return function(model, graph.cloned(), *args, **options)
    return run


@_with_gradients
def evaluate(model: Model, graph: AtomicGraph, *, forces: bool = True, stress: bool = False,
             create_graph: bool = False) -> ModelOutput:
    """Outputs of the model plus `energy` (S,), `forces` (N, 3) and, when asked for, `stress` (S, 3, 3); float64.

    forces = −dE/dx, eV/Å. stress = +(1/V) dE/dε with x → x(1 + ε), h → h(1 + ε), ε symmetric, V = |det h|; eV/Å³
    (Knuth et al., Comput. Phys. Commun. 190, 33 (2015)). Structures not periodic in all directions get a NaN stress.
    `create_graph` keeps the graph of the derivatives, for a loss on forces; positions that require a gradient get it.
    """
    with torch.enable_grad():
        positions = graph.positions if graph.positions.requires_grad else graph.positions.detach().requires_grad_(forces)
        strain = graph.cell.new_zeros(graph.num_structures, 3, 3, requires_grad=stress)
        output = dict(model(*_strained(graph, positions, strain, stress)))
        atomic_energies = output["atomic_energies"]
        energy = atomic_energies.new_zeros(graph.num_structures).index_add(0, graph.batch, atomic_energies)
        output["energy"] = energy
        inputs = [*([positions] if forces else []), *([strain] if stress else [])]
        if inputs:
            gradients = list(_gradients(energy, inputs, create_graph))
            if forces:
                output["forces"] = -gradients.pop(0)
            if stress:
                output["stress"] = _stress(gradients.pop(0), graph)
    return output if create_graph else {key: value.detach() for key, value in output.items()}


def _strained(graph: AtomicGraph, positions: Tensor, strain: Tensor, stress: bool) -> tuple[AtomicGraph, Tensor]:
    """The graph x(1 + ε), h(1 + ε) and its edge vectors; these strain as they are, free of the origin's rounding."""
    vectors = edge_vectors(graph, positions, graph.cell)
    if not stress:
        return graph.with_positions(positions), vectors
    symmetric = 0.5 * (strain + strain.transpose(1, 2))
    per_atom = symmetric.index_select(0, graph.batch)
    moved = graph.with_positions(positions + torch.einsum("na,nab->nb", positions, per_atom),
                                 graph.cell + graph.cell @ symmetric)
    return moved, vectors + torch.einsum("ea,eab->eb", vectors, per_atom.index_select(0, graph.edge_index[0]))


def _gradients(energy: Tensor, inputs: list[Tensor], create_graph: bool, keep: bool = False) -> tuple[Tensor, ...]:
    """keep : the graph of the energy is needed once more"""
    if not energy.requires_grad:  # no edges at all: the energy does not depend on positions
        return tuple(torch.zeros_like(x) for x in inputs)
    return torch.autograd.grad(energy.sum(), inputs, create_graph=create_graph, retain_graph=create_graph or keep,
                               materialize_grads=True)


def _stress(gradient: Tensor, graph: AtomicGraph) -> Tensor:
    a, b, c = graph.cell.unbind(dim=1)
    volume = (a * torch.linalg.cross(b, c)).sum(dim=1).abs()
    periodic = graph.pbc.all(dim=1)
    # dividing by 1 where there is no volume: a NaN here would reach every weight through the backward pass
    stress = gradient / torch.where(periodic, volume, torch.ones_like(volume))[:, None, None]
    return torch.where(periodic[:, None, None], stress, torch.full_like(stress, torch.nan))


@_with_gradients
def hessian(model: AtomisticModel, graph: AtomicGraph, chunk_size: int = 16) -> Tensor:
    """Second derivatives d²E/dx_i dx_j of one molecule or crystal (Γ point), (3N, 3N), eV/Å², float64, not symmetrised.

    Analytic: `chunk_size` rows at a time, as Hessian-vector products of that many copies of the structure in one batch.
    """
    size = 3 * graph.num_atoms
    rows = []
    for first in range(0, size, chunk_size):
        count = min(chunk_size, size - first)
        copies = collate([graph] * count)
        positions = copies.positions.clone().requires_grad_(True)
        forces = evaluate(model, copies.with_positions(positions), create_graph=True)["forces"]
        directions = torch.eye(size, dtype=forces.dtype, device=forces.device)[first:first + count].view(-1, 3)
        product = (forces * directions).sum()
        if not product.requires_grad:
            rows.append(torch.zeros(count, size, dtype=forces.dtype, device=forces.device))
            continue
        rows.append(-torch.autograd.grad(product, positions, materialize_grads=True)[0].view(count, size))
    return torch.cat(rows)


@_with_gradients
def readout_responses(model: AtomisticModel, graph: AtomicGraph, weight: str,
                      directions: Tensor) -> tuple[Tensor, Tensor]:
    """What energies (S, K), eV, and forces (N, 3, K), eV/Å, gain when the last weights move by each direction; float64.

    weight : name of a parameter in which the energy is linear;  directions : (C, K), each of its size

    With g = dE/dw, which looks back through the last layer alone, the gains are g · d and −d(g · d)/dx: energies and
    forces of K models at the price of one forward and K backward passes, whatever the architecture.
    """
    weights = model.get_parameter(weight).detach().requires_grad_(True)
    positions = graph.positions.detach().requires_grad_(True)

    def shifted(graph: AtomicGraph, vectors: Tensor) -> ModelOutput:
        return torch.func.functional_call(model, {weight: weights}, (graph, vectors))

    energy = evaluate(shifted, graph.with_positions(positions), forces=False, create_graph=True)["energy"]
    slopes = [torch.autograd.grad(e, weights, retain_graph=True)[0].flatten() for e in energy]
    slope, = torch.autograd.grad(energy.sum(), weights, create_graph=True)
    forces = [-_gradients((slope.flatten() * direction).sum(), [positions], False, keep=True)[0]
              for direction in directions.T.to(slope.dtype)]
    return torch.stack(slopes).double() @ directions, torch.stack(forces, dim=2)
