"""Training learns, repeats bit for bit, resumes exactly, and says clearly what went wrong."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from ase.io import read, write

from tests.unit.training.runs import Recorder, changed, same, weights
from toolkit.config import save_config
from toolkit.errors import DataError, JobError, ModelError, StorageError, TrainingError
from toolkit.models.potential import load_potential
from toolkit.progress import SilentReporter
from toolkit.training.metrics import evaluate_potential
from toolkit.training.schedule import learning_rate
from toolkit.training.trainer import Trainer, begin_or_resume, train


def test_training_learns_and_the_folder_reproduces_its_errors(copper_config, copper_file, tmp_path):
    recorder = Recorder()
    result = train(changed(copper_config, max_epochs=25), tmp_path, reporter=recorder)
    assert len(recorder.epochs) == 25
    assert recorder.epochs[-1]["val_forces_mae_meV_per_A"] < 0.35 * recorder.epochs[0]["val_forces_mae_meV_per_A"]
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert metrics["test"] == result["test"]
    assert result["test.forces_mae_meV_per_A"] < 0.3 * result["test.forces_label_rms_meV_per_A"]
    assert result["test.stress_mae_meV_per_A3"] > 0
    assert "6 test frames" in (tmp_path / "model" / "CARD.md").read_text()
    # the errors on the card are those of the folder, recomputed from outside through ASE
    potential = load_potential(tmp_path, device="cpu")
    everything = evaluate_potential(potential, read(copper_file, ":"), batch_size=7)
    assert everything["n_frames"] == 36
    assert everything["forces_mae_meV_per_A"] == pytest.approx(result["test.forces_mae_meV_per_A"], rel=0.5)


def test_same_seed_same_weights_other_seed_other_weights(copper_config, tmp_path):
    for name, config in (("a", copper_config), ("b", copper_config), ("c", changed(copper_config, seed=1))):
        train(config, tmp_path / name)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize("stop_at", [1, 5, 7, 12])
def test_stop_and_resume_equals_uninterrupted(copper_config, tmp_path, stop_at):
    train(copper_config, tmp_path / "whole")
    first = train(copper_config, tmp_path / "parts", reporter=Recorder(stop_at))
    assert first["stopped"]
    assert "test" not in first
    assert not train(copper_config, tmp_path / "parts", resume=True)["stopped"]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def progress_of(run_dir: Path) -> dict[str, float]:
    return json.loads((run_dir / "checkpoints" / "last" / "state.json").read_text())["progress"]


def test_a_stop_during_a_validation_loses_no_epoch(copper_config, tmp_path):
    config = changed(copper_config, max_epochs=4, validate_every_epochs=2)
    steps = begin_or_resume(config, tmp_path, False, SilentReporter()).steps_per_epoch
    train(config, tmp_path / "whole", reporter=(whole := Recorder()))
    assert train(config, tmp_path / "parts", reporter=Recorder(2 * steps))["stopped"]
    assert (progress_of(tmp_path / "parts")["epoch"], progress_of(tmp_path / "parts")["step"]) == (1, steps)
    train(config, tmp_path / "parts", resume=True, reporter=(rest := Recorder()))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert [e["val_loss"] for e in rest.epochs] == [e["val_loss"] for e in whole.epochs]
    assert rest.epochs[0]["train_loss"] == whole.epochs[0]["train_loss"]


def test_a_stop_during_the_test_leaves_it_to_be_done(copper_config, tmp_path):
    whole = train(copper_config, tmp_path / "whole")
    stopper = Recorder()
    stopper.metrics = lambda record: setattr(stopper, "stop_at", 0 if record.get("epoch") == copper_config.max_epochs else None)
    stopped = train(copper_config, tmp_path / "parts", reporter=stopper)
    assert stopped["stopped"] and "test" not in stopped and not (tmp_path / "parts" / "model" / "CARD.md").exists()
    assert train(copper_config, tmp_path / "parts", resume=True)["test"] == whole["test"]


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(copper_config, tmp_path):
    config = changed(copper_config, max_epochs=6, checkpoint_every_steps=2)
    train(config, tmp_path / "whole")
    save_config(config, tmp_path / "config.yaml")
    command = [sys.executable, "-m", "toolkit", "train", str(tmp_path / "config.yaml"), "-o", str(tmp_path / "killed")]
    worker = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)
    deadline = time.time() + 60
    while not (tmp_path / "killed" / "metrics.jsonl").exists() and worker.poll() is None and time.time() < deadline:
        time.sleep(0.01)
    worker.send_signal(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL, worker.stderr.read()
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond 5 kB: writing weights fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_loses_nothing_already_computed(copper_config, tmp_path):
    train(copper_config, tmp_path / "whole")
    train(copper_config, tmp_path / "parts", reporter=Recorder(stop_at=7))
    kept = weights(tmp_path / "parts")
    with full_disk(), pytest.raises(StorageError, match="cannot write"):
        train(copper_config, tmp_path / "parts", resume=True)
    assert same(weights(tmp_path / "parts"), kept)
    train(copper_config, tmp_path / "parts", resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_a_run_that_ended_before_its_first_checkpoint_starts_again(copper_config, tmp_path):
    train(copper_config, tmp_path / "whole")
    train(copper_config, tmp_path / "parts", resume=True, reporter=(recorder := Recorder()))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert "before its first checkpoint" in recorder.notes[0]
    shutil.rmtree(tmp_path / "parts" / "checkpoints")
    with pytest.raises(JobError, match="a model but no checkpoint"):  # it would write over the model
        train(copper_config, tmp_path / "parts", resume=True)


def test_resume_needs_a_checkpoint_of_the_same_configuration(copper_config, tmp_path):
    train(copper_config, tmp_path, reporter=Recorder(3))
    with pytest.raises(ModelError, match=r"batch_size differ"):
        train(changed(copper_config, batch_size=4), tmp_path, resume=True)


def test_divergence_is_reported_and_the_best_model_kept(copper_config, tmp_path):
    config = changed(copper_config, max_epochs=50, optimizer={"learning_rate": 1.0, "gradient_clip_norm": None,
                                                              "schedule": "constant"}, loss={"energy_weight": 1e308})
    with pytest.raises(TrainingError, match="lower optimizer.learning_rate"):
        train(config, tmp_path)


def test_missing_labels_and_unknown_species_are_named(copper_config, copper_file, tmp_path):
    frames = read(copper_file, ":")
    for atoms in frames:
        del atoms.calc.results["stress"]
    write(tmp_path / "no_stress.extxyz", frames)
    config = changed(copper_config, data={"train": str(tmp_path / "no_stress.extxyz")})
    with pytest.raises(DataError, match="found no stress in the training data"):
        train(config, tmp_path / "a")
    frames = read(copper_file, ":8")
    for atoms in frames:
        atoms.numbers[0] = 47
    write(tmp_path / "silver.extxyz", frames)
    config = changed(copper_config, data={"test": str(tmp_path / "silver.extxyz"), "split": {"num_train": 24, "num_val": 6}})
    with pytest.raises(DataError, match=r"found \['Ag'\] in the test set"):
        train(config, tmp_path / "b")


def test_early_stop_and_double_precision(copper_config, tmp_path):
    config = changed(copper_config, max_epochs=40, dtype="float64", early_stop_patience_epochs=2,
                     optimizer={"learning_rate": 1e-30, "schedule": "constant", "ema_decay": 0.0})
    recorder = Recorder()
    train(config, tmp_path, reporter=recorder)
    assert len(recorder.epochs) < 40
    assert weights(tmp_path)["species_embedding"].dtype == torch.float64


def test_a_run_that_stopped_early_is_over(copper_config, tmp_path):
    config = changed(copper_config, max_epochs=40, early_stop_patience_epochs=2,
                     optimizer={"learning_rate": 1e-30, "schedule": "constant", "ema_decay": 0.0})
    first = train(config, tmp_path)
    again = Recorder()
    assert train(config, tmp_path, resume=True, reporter=again)["epochs"] == first["epochs"] < 40
    assert not again.epochs


def test_validation_every_few_epochs_and_at_the_end(copper_config, tmp_path):
    config = changed(copper_config, max_epochs=5, validate_every_epochs=2)
    recorder = Recorder()
    result = train(config, tmp_path / "whole", reporter=recorder)
    assert [record["epoch"] for record in recorder.epochs] == [2, 4, 5]
    assert result["epochs"] == 5 and result["best_epoch"] in (2, 4, 5)
    for stop_at in (4, 7, 18):  # within an epoch without a look, at the end of one, and in the fourth
        train(config, tmp_path / f"{stop_at}", reporter=Recorder(stop_at))
        train(config, tmp_path / f"{stop_at}", resume=True)
        assert same(weights(tmp_path / "whole"), weights(tmp_path / f"{stop_at}"))


def test_a_run_ends_in_its_time_with_its_schedule(copper_config, tmp_path):
    config = changed(copper_config, max_epochs=100_000, max_train_s=3.0, validate_every_epochs=1000)
    recorder, begin = Recorder(), time.perf_counter()
    result = train(config, tmp_path, reporter=recorder)
    assert 3.0 <= result["wall_s"] < 30.0 and time.perf_counter() - begin < 60.0
    assert not result["stopped"] and result["epochs"] >= 1 and result["test"]["forces_mae_meV_per_A"] > 0.0
    last = recorder.epochs[-1]
    assert last["epoch"] == result["epochs"] and last["learning_rate"] < 1.1 * config.optimizer.min_learning_rate


def test_the_time_ends_within_an_epoch_too(copper_config, tmp_path, monkeypatch):
    """Each step takes a second here: an epoch that is as long as the time does not run over it."""
    trainer = begin_or_resume(changed(copper_config, batch_size=1, max_epochs=9), tmp_path, False, SilentReporter())
    seconds = trainer.steps_per_epoch + 3.0
    monkeypatch.setattr(Trainer, "wall_s", lambda self: float(self.progress.global_step))
    trainer.config = changed(trainer.config, max_train_s=seconds)
    assert trainer.fit() and trainer.steps_per_epoch > 3
    assert trainer.progress.global_step == seconds and trainer.progress.epoch == 2
    result = trainer.conclude(True)
    assert result["epochs"] == 2 and trainer.progress.trained_frames == seconds


def test_the_recorded_learning_rate_is_that_of_the_end_of_the_epoch(copper_config, tmp_path):
    recorder = Recorder()
    config = changed(copper_config, max_epochs=4)
    train(config, tmp_path, reporter=recorder)
    rates = [learning_rate(config.optimizer, epoch, 4, 1.0) for epoch in (1, 2, 3, 4)]
    assert [record["learning_rate"] for record in recorder.epochs] == pytest.approx(rates)


def test_a_time_too_short_for_an_epoch_still_gives_a_model(copper_config, tmp_path):
    result = train(changed(copper_config, max_train_s=1e-3), tmp_path)
    assert result["epochs"] == result["best_epoch"] == 1 and result["test"]["n_frames"] == 6
