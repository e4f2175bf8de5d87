"""Runs that begin together are the runs that each would be alone; one that cannot begin stops the others before they do."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.unit.training.runs import Recorder, changed, same, weights
from toolkit.config import TrainConfig, parse_config
from toolkit.errors import ConfigError, DataError, TrainingError
from toolkit.jobs.run_dir import open_run
from toolkit.jobs.together import train_together
from toolkit.training import together, trainer
from toolkit.training.metrics import evaluate_errors
from toolkit.training.together import SideBySide
from toolkit.training.trainer import train
from toolkit.training.turns import Turns


def test_together_as_alone(copper_config, tmp_path):
    configs = {tmp_path / "a": copper_config, tmp_path / "b": changed(copper_config, seed=5, max_epochs=4)}
    results = train_together(configs, {folder: Recorder() for folder in configs})
    for folder, config in configs.items():
        alone = train(config, tmp_path / f"{folder.name}-alone")
        assert same(weights(folder), weights(tmp_path / f"{folder.name}-alone"))
        assert results[folder]["test"] == alone["test"]
        assert open_run(folder).state == "finished"
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "b"))


@pytest.mark.gpu
def test_together_as_alone_on_a_gpu(tmp_path):
    """Matrix products large enough to be split, whose scratch memory must not be shared between recordings."""
    recipe = parse_config(TrainConfig, {
        "data": {"train": "embedded:aspirin", "split": {"num_train": 100, "num_val": 10, "num_test": 10}},
        "model": {"r_max": 4.0, "num_layers": 3, "l_max": 2, "num_features": 64}, "batch_size": 10, "max_epochs": 20,
        "optimizer": {"name": "muon", "learning_rate": 0.01}, "dtype": "float64", "device": "cuda"})
    configs = {tmp_path / str(seed): changed(recipe, seed=seed) for seed in range(4)}
    results = train_together(configs, {folder: Recorder() for folder in configs})
    for folder, config in configs.items():
        alone = train(config, tmp_path / f"{folder.name}-alone")["test"]["forces_mae_meV_per_A"]
        assert results[folder]["test"]["forces_mae_meV_per_A"] == pytest.approx(alone, rel=1e-3)
        assert alone < 0.5 * results[folder]["test"]["forces_label_rms_meV_per_A"]


def test_all_end_within_a_time_with_their_schedule(copper_config, tmp_path, monkeypatch):
    """Also a run that was stopped before: its schedule goes from where it was to the end of the time."""
    monkeypatch.setattr(together, "TEST_S", 0.5)
    config = changed(copper_config, max_epochs=100_000, validate_every_epochs=1000)
    folders = [tmp_path / "a", tmp_path / "b"]
    train_together({folders[0]: config}, {folders[0]: Recorder(stop_at=400)})
    recorders, begun = {folder: Recorder() for folder in folders}, time.monotonic()
    results = train_together(dict.fromkeys(folders, config), recorders, resume=True, within_s=5.0)
    assert 3.5 < time.monotonic() - begun < 20.0
    for folder in folders:
        assert not results[folder]["stopped"] and results[folder]["test"]["n_frames"] == 6
        assert recorders[folder].epochs[-1]["learning_rate"] < 1.1 * config.optimizer.min_learning_rate


def test_more_runs_than_streams_are_refused():
    with pytest.raises(ConfigError, match="found 40 runs"):
        SideBySide(40)


def test_stopped_runs_go_on_and_new_ones_begin(copper_config, tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    train_together({folders[0]: copper_config}, {folders[0]: Recorder(stop_at=4)})
    assert open_run(folders[0]).state == "stopped"
    train_together(dict.fromkeys(folders, copper_config), {folder: Recorder() for folder in folders}, resume=True)
    assert same(weights(folders[0]), weights(folders[1]))


def test_the_others_hear_of_a_run_that_cannot_begin(copper_config, tmp_path):
    runs = SideBySide(2)
    wrong = changed(copper_config, data={"split": {"num_train": 1000}})
    with ThreadPoolExecutor(2) as pool:
        good = pool.submit(runs.train, copper_config, tmp_path / "good")
        bad = pool.submit(runs.train, wrong, tmp_path / "bad")
        with pytest.raises(DataError, match="too few"):
            bad.result(timeout=60)
        with pytest.raises(TrainingError, match="could not"):
            good.result(timeout=60)
    assert not (tmp_path / "good" / "model").exists() and threading.active_count() < 20


def test_steps_wait_while_another_run_is_alone():
    turns, stepped = Turns(), threading.Event()
    with turns.alone():
        threading.Thread(target=lambda: (turns.wait(), stepped.set())).start()
        assert not stepped.wait(0.2)
    assert stepped.wait(10.0)


def test_validations_and_tests_are_done_alone(copper_config, tmp_path, monkeypatch):
    inside, looks = threading.local(), []

    class Watched(Turns):
        @contextmanager
        def alone(self):
            with super().alone():
                inside.alone = True
                yield
                inside.alone = False

    def look(*args, **kwargs):
        looks.append(inside.alone)
        return evaluate_errors(*args, **kwargs)

    monkeypatch.setattr(together, "Turns", Watched)
    monkeypatch.setattr(trainer, "evaluate_errors", look)
    configs = {tmp_path / name: changed(copper_config, max_epochs=3) for name in "ab"}
    train_together(configs, {folder: Recorder() for folder in configs})
    assert looks == [True] * 8  # of each run three validations and the test
