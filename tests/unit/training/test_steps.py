"""One optimiser step, computed whole, in parts, padded or recorded, is the same step; undoing it is exact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ase.io import read

from tests.unit.training.runs import Recorder, changed, same, weights
from toolkit.config import LossConfig, ModelConfig, OptimizerConfig
from toolkit.data.datasets import batch_indices
from toolkit.data.graph import AtomicGraph, collate, graph_from_atoms
from toolkit.data.padding import BatchShape
from toolkit.errors import DeviceError
from toolkit.models.registry import build_model
from toolkit.training import step as step_module
from toolkit.training.loss import count_labels
from toolkit.training.recorded import RecordedSteps, store_bytes, usual_shape
from toolkit.training.runner import BatchRunner
from toolkit.training.step import TrainStep
from toolkit.training.trainer import train

MODEL = ModelConfig(species=("Cu",), r_max=4.0, num_layers=2, l_max=1, num_features=6, radial_mlp_width=8,
                    avg_num_neighbors=30.0)
WIDER = MODEL.model_copy(update={"num_features": 8, "radial_mlp_width": 8})
"""Wide enough for Muon to find matrices."""


@pytest.fixture
def graphs(copper_file: Path) -> list[AtomicGraph]:
    """Twelve crystals; one of three lacks its forces, one of four its stress."""
    graphs = [graph_from_atoms(atoms, MODEL.r_max) for atoms in read(copper_file, ":12")]
    for graph in graphs[::3]:
        graph.labels["forces"].fill_(torch.nan)
    for graph in graphs[1::4]:
        graph.labels["stress"].fill_(torch.nan)
    return graphs


def new_step(kind: str = "mse", amsgrad: bool = False, name: str = "adam", device: str = "cpu") -> TrainStep:
    loss = LossConfig(kind=kind, energy_weight=2.0, stress_weight=7.0)
    options = OptimizerConfig(name=name, amsgrad=amsgrad, weight_decay=0.01, gradient_clip_norm=1.0)
    model = WIDER if name == "muon" else MODEL
    step = TrainStep(build_model(model, torch.float64).to(device), loss, options)
    step.prepare(0.01, 0)
    return step


def gradients(step: TrainStep) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in step.model.parameters() if p.grad is not None])


@pytest.mark.parametrize("kind", ["mse", "mae", "huber"])
def test_parts_add_up_to_the_whole_batch(graphs, kind):
    whole, parts = new_step(kind), new_step(kind)
    outcome = whole([collate(graphs)])
    pieces = [collate(graphs[:1]), collate(graphs[1:7]), collate(graphs[7:])]
    assert gradients(whole).norm() > 1e-3
    torch.testing.assert_close(parts(pieces, count_labels(graphs)), outcome, rtol=1e-10, atol=0.0)
    torch.testing.assert_close(gradients(parts), gradients(whole), rtol=1e-10, atol=1e-10)
    careless = new_step(kind)
    careless(pieces, count_labels(graphs[:6]))
    assert (gradients(careless) - gradients(whole)).norm() > 1e-3


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize(("resident", "name"), [(True, "adam"), (False, "adam"), (True, "muon")])
def test_padded_steps_gathered_by_index_train_like_plain_ones(graphs, resident, name, device):
    """On a GPU the padded steps are one recorded graph, whose warm-up must leave no trace."""
    plain, padded = new_step(name=name, device=device), new_step(name=name, device=device)
    batches = batch_indices(12, 5, torch.Generator().manual_seed(0))
    recorded = RecordedSteps(padded, graphs, usual_shape(graphs, [batches]), resident=resident)
    for number, batch in enumerate(batches):
        assert recorded.holds(batch)
        for step in (plain, padded):
            step.prepare(0.02 / (number + 1), number)
        torch.testing.assert_close(recorded(batch), plain([collate([graphs[k] for k in batch])]), rtol=1e-9, atol=1e-9)
    assert recorded.replayed == (device == "cuda")
    assert not recorded.holds(torch.arange(12))
    for key, value in plain.state().items():
        torch.testing.assert_close(padded.state()[key], value, rtol=1e-7, atol=1e-9, msg=key)


@pytest.mark.parametrize(("amsgrad", "name", "steps_before"), [(False, "adam", 0), (True, "adam", 2), (True, "adamw", 0),
                                                               (False, "muon", 0), (False, "muon", 2)])
def test_undoing_the_steps_before_a_recording_is_exact(graphs, amsgrad, name, steps_before):
    step, twin = new_step(amsgrad=amsgrad, name=name), new_step(amsgrad=amsgrad, name=name)
    batch = collate(graphs[:5])
    for _ in range(steps_before):
        step([batch])
        twin([batch])
    before = {key: value.clone() for key, value in step.state().items()}
    addresses = [p.data_ptr() for p in step.model.parameters()]
    put_back = step.remember()
    for _ in range(3):
        step([collate(graphs[5:])])
    assert not same({key: step.state()[key] for key in before}, before)
    put_back()
    assert same({key: step.state()[key] for key in before}, before)
    assert [p.data_ptr() for p in step.model.parameters()] == addresses
    step([batch])
    twin([batch])
    assert same(step.state(), twin.state())


def test_the_usual_shape_holds_every_batch_and_little_more(graphs):
    orders = [batch_indices(12, 5, torch.Generator().manual_seed(seed)) for seed in range(3)]
    shape = usual_shape(graphs, orders)
    sums = [sum(graphs[k].num_edges for k in batch.tolist()) for order in orders for batch in order]
    assert shape == BatchShape(shape.num_atoms, max(sums), 6)
    assert 5 * 4 + 2 <= shape.num_atoms <= 5 * 4 + 2 + 2 * (max(sums) // 64)
    assert store_bytes(graphs) > 40 * sum(graph.num_edges for graph in graphs)


def _limited(monkeypatch: pytest.MonkeyPatch, max_edges: int) -> None:
    """A device whose memory holds so many edges."""
    evaluate: Callable = step_module.evaluate

    def evaluate_or_fail(model, graph, **options):
        if graph.num_edges > max_edges:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return evaluate(model, graph, **options)
    monkeypatch.setattr(step_module, "evaluate", evaluate_or_fail)


def test_out_of_memory_halves_the_edges_and_takes_the_same_step(graphs, monkeypatch):
    whole, halved, notes = new_step(), new_step(), []
    whole([collate(graphs)])
    total = sum(graph.num_edges for graph in graphs)
    _limited(monkeypatch, total // 3)
    runner = BatchRunner(halved, graphs, 10**9, note=notes.append)
    runner(torch.arange(12))
    assert len(notes) == 2
    assert f"ran out of memory on {total} edges" in notes[0]
    assert total // 8 < runner.max_edges <= total // 3
    for key, value in whole.state().items():
        torch.testing.assert_close(halved.state()[key], value, rtol=1e-8, atol=1e-10, msg=key)


def test_a_single_frame_that_does_not_fit_is_refused(graphs, monkeypatch):
    _limited(monkeypatch, 10)
    with pytest.raises(DeviceError, match=r"ran out of memory on one frame of 4 atoms and \d+ edges"):
        BatchRunner(new_step(), graphs, 10**9, note=lambda message: None)(torch.arange(3))


def test_other_errors_are_not_taken_for_a_lack_of_memory(graphs, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("shapes do not match")
    monkeypatch.setattr(step_module, "evaluate", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        BatchRunner(new_step(), graphs, 10**9, note=lambda message: None)(torch.arange(3))


def test_training_in_parts_says_so_and_resumes_bit_for_bit(copper_config, tmp_path):
    config, recorder = changed(copper_config, max_edges_per_batch=400, batch_size="auto"), Recorder()
    assert train(config, tmp_path / "one", reporter=recorder)["epochs"] == 3
    assert recorder.notes == []  # "auto" takes one frame a step of 24
    config = changed(config, batch_size=6)
    train(config, tmp_path / "whole", reporter=recorder)
    assert "400 are computed at once: the same steps, in parts" in recorder.notes[0]
    train(config, tmp_path / "parts", reporter=Recorder(stop_at=6))
    train(config, tmp_path / "parts", resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_memory_that_runs_out_while_training_is_survived_and_remembered(copper_config, tmp_path, monkeypatch):
    recorder = Recorder()
    _limited(monkeypatch, 300)
    config = changed(copper_config, max_edges_per_batch=10**6, eval_batch_size=4)
    assert train(config, tmp_path, reporter=recorder)["epochs"] == 3
    assert len(recorder.notes) == 1
