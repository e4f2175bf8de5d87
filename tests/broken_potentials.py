"""Potentials with one planted bug each, to show that each check can fail.

A bug takes a healthy potential and pytest's monkeypatch and returns the spoiled one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from e3nn import o3
from torch import Tensor

from toolkit.data.graph import AtomicGraph, edge_vectors
from toolkit.kernels.paths import Path, PathTable
from toolkit.kernels.reference import ReferenceConvolution
from toolkit.models.base import AtomisticModel, ModelOutput
from toolkit.models.potential import Potential, build_potential
from toolkit.nn.radial import polynomial_envelope

Spoil = Callable[[Tensor, AtomicGraph, Tensor], Tensor]


class SpoiledModel(AtomisticModel):
    """A healthy model plus `spoil(energies without shifts, graph, vectors)` per atom."""

    def __init__(self, inner: AtomisticModel, spoil: Spoil, receptive_field: float | None = None) -> None:
        super().__init__()
        self.inner, self.spoil = inner, spoil
        self.r_max, self.species = inner.r_max, inner.species
        self._receptive_field = receptive_field

    @property
    def receptive_field(self) -> float:
        """What the model promises, rightly or wrongly."""
        return self._receptive_field or self.inner.receptive_field

    def forward(self, graph: AtomicGraph, vectors: Tensor) -> ModelOutput:
        """Spoiled atomic energies."""
        energies = self.inner(graph, vectors)["atomic_energies"]
        table = self.inner.table
        bare = energies - table.shifts.index_select(0, table.index(graph.atomic_numbers))
        return {"atomic_energies": energies + self.spoil(bare, graph, vectors)}


def spoiled(potential: Potential, spoil: Spoil) -> Potential:
    """The potential with spoiled energies; forces and stress are their exact derivatives."""
    return Potential(SpoiledModel(potential.model, spoil), potential.config, potential.device, potential.backend)


def answering(potential: Potential, change: Callable[[ModelOutput, AtomicGraph], ModelOutput]) -> Potential:
    """The potential with its answers changed after they were computed."""

    class Answering(Potential):
        def evaluate(self, graph: AtomicGraph, *, forces: bool = True, stress: bool = False) -> ModelOutput:
            output = super().evaluate(graph, forces=forces, stress=stress)
            return change(output, graph) if forces else output

    return Answering(potential.model, potential.config, potential.device, potential.backend)


def _edge_sum(values: Tensor, graph: AtomicGraph) -> Tensor:
    return values.new_zeros(graph.num_atoms, *values.shape[1:]).index_add(0, graph.edge_index[0], values)


def _weight(vectors: Tensor, r_max: float) -> Tensor:
    return polynomial_envelope(torch.linalg.vector_norm(vectors, dim=1) / r_max, 6)


def force_sign(potential, monkeypatch):
    return answering(potential, lambda output, graph: {**output, "forces": -output["forces"]})


def stress_sign(potential, monkeypatch):
    signs = {"stress": -1.0}
    return answering(potential, lambda output, graph: {key: signs.get(key, 1.0) * output[key] for key in output})


def non_central_forces(potential, monkeypatch):
    """F_i += Σ_j w(r_ij) (m_i − m_j): equivariant, no net force, but not a gradient and with a torque."""
    def change(output, graph):
        vectors = edge_vectors(graph, graph.positions, graph.cell)
        weight = _weight(vectors, potential.r_max)[:, None]
        m = _edge_sum(weight**2 * vectors, graph)
        pairs = weight * (m.index_select(0, graph.edge_index[0]) - m.index_select(0, graph.edge_index[1]))
        return {**output, "forces": output["forces"] + 1e-3 * _edge_sum(pairs, graph)}
    return answering(potential, change)


def x_dependent_energy(potential, monkeypatch):
    return spoiled(potential, lambda bare, graph, vectors: 1e-4 * _edge_sum(
        vectors[:, 0] ** 2 * _weight(vectors, potential.r_max), graph))


def order_dependent_sum(potential, monkeypatch):
    """A pair counts with the charge of the atom that comes first in the list."""
    def spoil(bare, graph, vectors):
        first = (graph.edge_index[0] < graph.edge_index[1]) * graph.atomic_numbers.index_select(0, graph.edge_index[0])
        return 1e-4 * _edge_sum(first * _weight(vectors, potential.r_max), graph)
    return spoiled(potential, spoil)


def batch_leak(potential, monkeypatch):
    """Each atom sees a little of the energy of the other structures in the batch."""
    def spoil(bare, graph, vectors):
        totals = bare.new_zeros(graph.num_structures).index_add(0, graph.batch, bare)
        return 1e-6 * (totals.sum() - totals).index_select(0, graph.batch)
    return spoiled(potential, spoil)


def energy_bias(potential, monkeypatch):
    return spoiled(potential, lambda bare, graph, vectors: torch.full_like(bare, 1e-6))


def not_size_extensive(potential, monkeypatch):
    """E + c E²: every structure by itself is right."""
    def spoil(bare, graph, vectors):
        totals = bare.new_zeros(graph.num_structures).index_add(0, graph.batch, bare)
        return 1e-4 * bare * totals.index_select(0, graph.batch)
    return spoiled(potential, spoil)


def absolute_positions(potential, monkeypatch):
    """The energy knows where the origin is; autograd does not see it."""
    return spoiled(potential, lambda bare, graph, vectors: 1e-5 * graph.positions.detach().cos().sum(dim=1))


def promised_too_much_locality(potential, monkeypatch):
    model = SpoiledModel(potential.model, lambda bare, graph, vectors: torch.zeros_like(bare), potential.r_max)
    return Potential(model, potential.config, potential.device, potential.backend)


def flipped_parity_label(potential, monkeypatch):
    """The cross product 1o ⊗ 1 → 1e is booked as 1o, so that true and pseudo vectors mix."""
    correct = PathTable.paths.func

    def paths(table: PathTable) -> tuple[Path, ...]:
        vector = o3.Irrep("1o")
        wrong = [Path(index, irrep, 1, vector, channels) for index, (channels, irrep) in enumerate(table.irreps_in)
                 if irrep == vector and vector in table.irreps_target]
        return tuple(sorted([*correct(table), *wrong], key=lambda path: path.index_in))

    monkeypatch.setattr(PathTable, "paths", property(paths))
    return build_potential(potential.config, dtype="float64")


def c1_envelope(potential, monkeypatch):
    """1 − 6x⁵ + 5x⁶ as in a published re-implementation: its curvature is 30 at the cutoff."""
    def envelope(x: Tensor, p: int) -> Tensor:
        return torch.where(x < 1.0, 1.0 - 6.0 * x**5 + 5.0 * x**6, torch.zeros_like(x))

    for module in ("toolkit.nn.radial", "toolkit.models.zbl"):
        monkeypatch.setattr(f"{module}.polynomial_envelope", envelope)
    return potential


class _DropDegree3(torch.autograd.Function):
    """The identity with a backward pass that forgets the harmonics of l = 3, as a public fast kernel did in 2026."""

    @staticmethod
    def forward(ctx, harmonics: Tensor) -> Tensor:
        return harmonics.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        kept = torch.ones(gradient.shape[1], dtype=gradient.dtype, device=gradient.device)
        kept[9:16] = 0.0
        return gradient * kept


def truncated_backward(potential, monkeypatch):
    class Truncated(torch.nn.Module):
        def __init__(self, harmonics: torch.nn.Module) -> None:
            super().__init__()
            self.harmonics = harmonics

        def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
            return _DropDegree3.apply(self.harmonics(vectors, lengths))

    potential.model.harmonics = Truncated(potential.model.harmonics)
    return potential


class TruncatedConvolution(ReferenceConvolution):
    """The same bug in a convolution backend."""

    def forward(self, features, harmonics, weights, edges):
        """The right numbers, the wrong gradient."""
        return super().forward(features, _DropDegree3.apply(harmonics), weights, edges)


class _ForgetfulSquare(torch.autograd.Function):
    """x² whose backward pass is right but, computed from detached numbers, is not differentiable once more."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return 2.0 * gradient * ctx.saved_tensors[0].detach()


def wrong_second_derivative(potential, monkeypatch):
    return spoiled(potential, lambda bare, graph, vectors: 0.01 * _ForgetfulSquare.apply(bare))
