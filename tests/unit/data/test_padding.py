"""Padded batches: the gather equals collating, and the ghosts add nothing to any energy or derivative."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator

from tests.conftest import STRUCTURES
from toolkit.config import LossConfig
from toolkit.data.graph import AtomicGraph, collate, graph_from_atoms
from toolkit.data.padding import BatchShape, PackedGraphs, pad_graph
from toolkit.errors import DataError
from toolkit.models.derivatives import evaluate
from toolkit.models.registry import build_model
from toolkit.training.loss import training_loss

R_MAX = 4.0


def _labelled(name: str, seed: int) -> AtomicGraph:
    """A structure with random labels; the molecule has no stress."""
    atoms = STRUCTURES[name]()
    noise = torch.Generator().manual_seed(seed)
    labels = {"energy": float(torch.randn(1, generator=noise)), "forces": torch.randn(len(atoms), 3, generator=noise).numpy()}
    if atoms.pbc.all():
        labels["stress"] = torch.randn(6, generator=noise).numpy()
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return graph_from_atoms(atoms, R_MAX)


@pytest.fixture
def graphs() -> list[AtomicGraph]:
    return [_labelled(name, seed) for seed, name in enumerate(("triclinic", "molecule", "slab", "triclinic"))]


def _shape(graph: AtomicGraph, atoms: int = 0, edges: int = 0, structures: int = 0) -> BatchShape:
    least = BatchShape.holding(graph.num_atoms, graph.num_edges, graph.num_structures)
    return BatchShape(least.num_atoms + atoms, least.num_edges + edges, least.num_structures + structures)


def _equal_fields(a: AtomicGraph, b: AtomicGraph) -> bool:
    names = ("positions", "atomic_numbers", "cell", "pbc", "edge_index", "cell_shifts", "batch", "total_charge")
    same = all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)
    return same and all(torch.equal(a.labels[key].nan_to_num(7e7), b.labels[key].nan_to_num(7e7)) for key in a.labels)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1], [2, -1, 0, -1], [1, 1, 1]])
def test_gather_is_collate_followed_by_ghosts(graphs, order):
    expected = collate([graphs[k] for k in order if k >= 0])
    shape = _shape(expected, atoms=5, edges=40, structures=2)
    found = PackedGraphs(graphs, R_MAX).gather(torch.tensor(order), shape)
    assert (found.num_atoms, found.num_edges, found.num_structures) == (shape.num_atoms, shape.num_edges, shape.num_structures)
    n, e, s = expected.num_atoms, expected.num_edges, expected.num_structures
    cut = AtomicGraph(found.positions[:n], found.atomic_numbers[:n], found.cell[:s], found.pbc[:s], found.edge_index[:, :e],
                      found.cell_shifts[:e], found.batch[:n], found.total_charge[:s],
                      {key: value[:n if key == "forces" else s] for key, value in found.labels.items()})
    assert _equal_fields(cut, expected)
    assert all(value[n if key == "forces" else s:].isnan().all() for key, value in found.labels.items())


def test_ghost_edges_are_long_sorted_shared_out_and_their_own(graphs):
    graph = graphs[0]
    padded = pad_graph(graph, BatchShape.holding(graph.num_atoms, graph.num_edges + 500, 1, ghost_edges=500), R_MAX)
    center, neighbor = padded.edge_index[:, graph.num_edges:]
    lengths = (padded.positions[neighbor] - padded.positions[center]).norm(dim=1)
    assert (lengths > 1.2 * R_MAX).all()
    assert (center.diff() >= 0).all()
    assert center.min() >= graph.num_atoms
    assert neighbor.min() >= graph.num_atoms
    assert torch.bincount(center)[graph.num_atoms:].max() <= 34
    assert set(padded.atomic_numbers[graph.num_atoms:].tolist()) <= set(graph.atomic_numbers.tolist())


def test_a_shape_without_room_for_ghosts_is_refused(graphs):
    graph = graphs[0]
    with pytest.raises(DataError, match="choose a larger shape"):
        pad_graph(graph, BatchShape(graph.num_atoms + 1, graph.num_edges, 2), R_MAX)


def _loss_and_gradients(model: torch.nn.Module, graph: AtomicGraph, stress: bool) -> dict[str, torch.Tensor]:
    model.zero_grad()
    output = evaluate(model, graph, stress=stress, create_graph=True)
    loss = training_loss(output, graph, LossConfig(stress_weight=5.0 if stress else 0.0))
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **{key: value.detach() for key, value in output.items()}, **gradients}


@pytest.mark.parametrize("zbl", [False, True])
@pytest.mark.parametrize("stress", [False, True])
def test_padding_changes_no_loss_energy_force_stress_or_gradient(graphs, small_config, stress, zbl):
    config = small_config.model_copy(update={"zbl": zbl, "per_pair_r_max": {"H-H": 3.0}, "bessel_trainable": True,
                                             "per_species_energy_shifts_trainable": True})
    model = build_model(config, torch.float64)
    graph = collate(graphs)
    plain = _loss_and_gradients(model, graph, stress)
    padded = _loss_and_gradients(model, pad_graph(graph, _shape(graph, 7, 333, 3), R_MAX), stress)
    assert plain["forces"].abs().max() > 1e-2
    for name, expected in plain.items():
        found = padded[name][:len(expected)] if expected.dim() else padded[name]
        scale = max(float(expected.nan_to_num().abs().max()), 1.0)
        torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-12 * scale, equal_nan=name == "stress", msg=name)
    assert torch.equal(padded["forces"][graph.num_atoms:], torch.zeros_like(padded["forces"][graph.num_atoms:]))


def test_an_edge_within_the_cutoff_is_noticed(graphs, small_config):
    """Ghosts that are too close are not harmless: the comparison above can fail."""
    model, graph = build_model(small_config, torch.float64), collate(graphs)
    padded = pad_graph(graph, _shape(graph, edges=2), R_MAX)
    squeezed = replace(padded, positions=padded.positions.where(torch.arange(padded.num_atoms)[:, None] < graph.num_atoms,
                                                                0.5 * padded.positions))
    assert evaluate(model, squeezed)["forces"][graph.num_atoms:].abs().max() > 1e-6
