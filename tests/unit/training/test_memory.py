"""Memory is predicted from edges and atoms, and too little of it is noticed before the first step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ase.io import read

from tests.unit.training.runs import Recorder, changed
from toolkit.config import LossConfig, ModelConfig, OptimizerConfig
from toolkit.data.graph import AtomicGraph, collate, graph_from_atoms
from toolkit.errors import DeviceError
from toolkit.models.registry import build_model
from toolkit.training import memory
from toolkit.training.memory import PEAK_OVER_SAVED, MemoryModel, available_bytes, fit_memory, saved_bytes
from toolkit.training.schedule import choose_batch_size
from toolkit.training.step import TrainStep
from toolkit.training.trainer import train


@pytest.fixture
def graphs(copper_file: Path) -> list[AtomicGraph]:
    return [graph_from_atoms(atoms, 4.0) for atoms in read(copper_file, ":36")]


def _step(**model) -> TrainStep:
    config = ModelConfig(species=("Cu",), r_max=4.0, avg_num_neighbors=30.0, **model)
    return TrainStep(build_model(config, torch.float32), LossConfig(), OptimizerConfig())


@pytest.mark.parametrize("model", [{"num_layers": 2, "l_max": 1, "num_features": 8}, {"num_layers": 3, "l_max": 2, "num_features": 16}])
def test_small_probes_predict_what_a_large_batch_keeps(graphs, model):
    step, large = _step(**model), collate(graphs * 2)
    law = fit_memory(step, graphs[:10])
    kept = PEAK_OVER_SAVED * saved_bytes(step, large)
    assert law.predict(large.num_atoms, large.num_edges) == pytest.approx(kept, rel=0.03)
    assert law.per_edge * large.num_edges > 0.5 * kept
    assert law.predict(large.num_atoms, large.num_edges / 2) < 0.8 * kept


def test_atoms_without_neighbours_at_the_head_of_a_file_do_not_hide_the_edges(graphs):
    """Files sorted by element begin with what is rare."""
    graph = collate(graphs * 4)
    order = torch.cat([torch.arange(0, graph.num_atoms, 4), torch.arange(graph.num_atoms).remainder(4).nonzero().flatten()])
    place = torch.empty_like(order).index_copy(0, order, torch.arange(len(order)))
    edge_index = place[graph.edge_index]
    kept = (edge_index >= graph.num_atoms // 4).all(dim=0)  # the first quarter is alone
    edges = edge_index[:, kept]
    by_center = edges[0].argsort(stable=True)
    sparse = replace(graph, positions=graph.positions[order], batch=torch.zeros_like(graph.batch), cell=graph.cell[:1],
                     pbc=graph.pbc[:1], edge_index=edges[:, by_center], cell_shifts=graph.cell_shifts[kept][by_center],
                     total_charge=graph.total_charge[:1], labels={})
    step = _step(num_layers=2, l_max=1, num_features=8)
    law, usual = (fit_memory(step, [some]) for some in (sparse, graph))
    assert law.per_edge == pytest.approx(usual.per_edge, rel=0.2) and usual.per_edge > 100.0


def test_files_that_a_container_keeps_in_memory_are_free(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    for name, text in (("memory.max", "800000000"), ("memory.current", "790000000"),
                       ("memory.stat", "anon 90000000\nfile 700000000\ninactive_file 500000000\nactive_file 200000000\n")):
        (tmp_path / name).write_text(text)
    assert available_bytes(torch.device("cpu")) == 710_000_000
    (tmp_path / "memory.stat").unlink()
    assert available_bytes(torch.device("cpu")) == 10_000_000


def test_the_budget_inverts_the_law():
    law = MemoryModel(base=1e6, per_edge=2e3, per_atom=1e4)
    edges = law.max_edges(5e8, atoms_per_edge=0.05)
    assert law.predict(0.05 * edges, edges) == pytest.approx(5e8, rel=1e-4)
    assert law.max_edges(0.0, 0.05) == 1


def test_free_memory_is_a_plausible_number():
    assert 1e8 < available_bytes(torch.device("cpu")) < 1e14


def test_too_little_memory_is_refused_or_splits_the_batches(copper_config, tmp_path, monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(memory, "available_bytes", lambda device: 1_500_000)
    train(changed(copper_config, max_epochs=1, batch_size=12), tmp_path / "split", reporter=recorder)
    assert len(recorder.notes) == 1
    assert "the same steps, in parts" in recorder.notes[0]
    monkeypatch.setattr(memory, "available_bytes", lambda device: 50_000)
    with pytest.raises(DeviceError, match=r"one frame of 4 atoms .* GB to train on, cpu has 0.0 GB to spare"):
        train(copper_config, tmp_path / "refused")


def test_automatic_batch_size_depends_on_the_data_alone():
    assert [choose_batch_size("auto", n) for n in (10, 950, 10_000, 10**6)] == [1, 4, 50, 64]
    assert choose_batch_size(7, 950) == 7
