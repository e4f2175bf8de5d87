"""Evaluation and budget as jobs: the numbers of the command line, hashes of what went in, the predicted cost."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from ase.io import write

import toolkit

from tests.stopping import StopAtOnce, StopInside
from toolkit.analysis.energy_zero import energy_zero
from toolkit.analysis.parity import element_errors, frame_errors
from toolkit.config import DataConfig, ModelConfig, SplitConfig, TrainConfig, parse_config
from toolkit.data.embedded import embedded_path
from toolkit.data.formats import read_frames
from toolkit.errors import ConfigError, DataError, JobError
from toolkit.jobs.environment import recorded
from toolkit.jobs.evaluation import PREDICTIONS, labelled_frames, load_parity
from toolkit.jobs.inputs import source_file
from toolkit.jobs.requests import EvaluateRequest
from toolkit.jobs.run_dir import create_run_dir, open_run
from toolkit.jobs.tasks import run_task
from toolkit.models.checkpoint import save_model
from toolkit.models.potential import build_potential, load_potential
from toolkit.progress import SilentReporter
from toolkit.storage import read_json
from toolkit.training.metrics import evaluate_potential

TINY = {"r_max": 3.0, "num_layers": 1, "l_max": 1, "num_features": 4, "radial_mlp_width": 8}
SPLIT = SplitConfig(method="blocks", num_train=20, num_val=10, num_test=60)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOOLKIT_RUNS", str(tmp_path / "runs"))
    potential = build_potential(ModelConfig(species=("H", "C", "O"), **TINY))
    save_model(potential.model, potential.config, tmp_path / "tiny")
    return tmp_path / "tiny"


def evaluated(model: Path, **changes: object) -> tuple[Path, dict]:
    request = EvaluateRequest(model=str(model), data=DataConfig(train="embedded:ethanol", split=SPLIT), part="test",
                              device="cpu", **changes)
    run_dir = create_run_dir("evaluate")
    return run_dir, run_task("evaluate", request.model_dump(mode="json"), run_dir)


def test_the_job_gives_the_numbers_of_the_function_and_keeps_what_is_behind_them(model: Path) -> None:
    run_dir, result = evaluated(model)
    frames = read_frames("embedded:ethanol").frames[-60:]
    parity = load_parity(run_dir / PREDICTIONS)
    assert result == evaluate_potential(load_potential(model, device="cpu"), frames) | energy_zero(parity)
    table = frame_errors(parity)
    assert result["n_frames"] == 60 == len(table["frame"]) and not result["stopped"]
    assert result["energy_mae_meV_per_atom"] == pytest.approx(np.abs(table["energy_error_meV_per_atom"]).mean())
    assert result["forces_mae_meV_per_A"] == pytest.approx(table["forces_mae_meV_per_A"].mean())
    for row in element_errors(parity):
        assert row["forces_mae_meV_per_A"] == pytest.approx(
            result["per_species"][row["element"]]["forces_mae_meV_per_A"])
    np.testing.assert_allclose(parity.label_forces_eV_per_A[-9:], frames[-1].get_forces())


def test_the_run_folder_says_what_it_was_made_of(model: Path) -> None:
    run_dir, _ = evaluated(model)
    environment = read_json(run_dir / "environment.json")
    weights, data = model / "weights.safetensors", embedded_path("ethanol")
    assert environment["inputs_sha256"] == {str(model): hashlib.sha256(weights.read_bytes()).hexdigest(),
                                            "embedded:ethanol": hashlib.sha256(data.read_bytes()).hexdigest()}
    assert environment["device"].startswith("CPU") and {"torch", "python"} <= environment["versions"].keys()
    assert source_file("run:../x") is None and source_file("no such thing") is None


def test_a_stop_keeps_what_is_done_and_damage_is_named(model: Path, tmp_path: Path) -> None:
    frames = read_frames("embedded:ethanol").frames[:60]
    errors = evaluate_potential(load_potential(model, device="cpu"), frames, reporter=StopInside("evaluating"))
    assert errors["n_frames"] == 50 and errors["stopped"]
    (tmp_path / "half.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(JobError, match="cannot read the predictions"):
        load_parity(tmp_path / "half.npz")
    with pytest.raises(DataError, match="no frames in the test set"):
        labelled_frames(DataConfig(train="embedded:ethanol", split=SPLIT.model_copy(update={"num_test": 0})), "test")


def test_a_stop_before_the_first_frames_is_no_failure(model: Path) -> None:
    request = EvaluateRequest(model=str(model), data="embedded:ethanol", device="cpu")
    run_dir = create_run_dir("evaluate")
    result = run_task("evaluate", request.model_dump(mode="json"), run_dir, reporter=StopAtOnce())
    assert (open_run(run_dir).state, result["n_frames"], result["stopped"]) == ("stopped", 0, True)
    assert not (run_dir / PREDICTIONS).exists()


def test_the_budget_counts_what_the_run_will_do(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.training.budget.MEASURED_S", 0.1)
    config = parse_config(TrainConfig, {
        "data": {"train": "embedded:ethanol", "split": SPLIT.model_dump()}, "model": TINY, "max_epochs": 7,
        "device": "cpu", "threads": 1})
    run_dir = create_run_dir("budget")
    result = run_task("budget", config.model_dump(mode="json"), run_dir)
    assert open_run(run_dir).state == "finished" and not (run_dir / "model").exists()
    assert (result["n_train"], result["n_val"], result["n_test"], result["steps_per_epoch"]) == (20, 10, 60, 4)
    assert result["num_parameters"] == build_potential(ModelConfig(species=("H", "C", "O"), **TINY)).num_parameters
    assert 4 * result["step_s"] < result["epoch_s"] and math.isclose(
        result["total_s"], result["setup_s"] + 7 * result["epoch_s"])
    assert 0 < result["peak_bytes"] < result["available_bytes"] and not result["in_parts"]
    parts = config.model_copy(update={"max_edges_per_batch": 80})
    again = run_task("budget", parts.model_dump(mode="json"), create_run_dir("budget"))
    assert again["in_parts"] and again["peak_bytes"] < result["peak_bytes"]


def test_what_the_readers_had_to_say_is_told(tmp_path: Path) -> None:
    class Listener(SilentReporter):
        def __init__(self) -> None:
            self.notes: list[str] = []

        def metrics(self, record: dict) -> None:
            self.notes += [record["message"]] if record["kind"] == "note" else []

    atoms = read_frames("embedded:ethanol").frames[0].copy()
    atoms.info["REF_energy"], atoms.info["energy"] = -310.0, -309.0
    write(tmp_path / "two.xyz", atoms, format="extxyz")
    frames = labelled_frames(DataConfig(train=str(tmp_path / "two.xyz")), reporter=(told := Listener()))
    assert len(frames) == 1 and "REF_energy" in told.notes[0]
    del atoms.info["REF_energy"], atoms.info["energy"]
    write(tmp_path / "bare.xyz", atoms, format="extxyz")
    with pytest.raises(DataError, match="no energies and no forces"):
        labelled_frames(DataConfig(train=str(tmp_path / "bare.xyz")))


def test_a_run_does_not_go_on_with_other_frames(tmp_path: Path) -> None:
    frames = [atoms.copy() for atoms in read_frames("embedded:ethanol").frames[:4]]
    for atoms in frames:
        atoms.info["energy"] = -309.0
    data = tmp_path / "set.xyz"
    write(data, frames, format="extxyz")
    asked: list[bool] = []
    task = recorded(lambda config, run_dir, resume, reporter: asked.append(resume) or {})
    config = {"data": {"train": str(data)}}
    task(config, tmp_path, False, SilentReporter())
    task(config, tmp_path, True, SilentReporter())
    noted = read_json(tmp_path / "environment.json")["inputs_sha256"]
    write(data, frames[::-1], format="extxyz")
    with pytest.raises(ConfigError, match="set.xyz changed since the run began"):
        task(config, tmp_path, True, SilentReporter())
    assert asked == [False, True] and read_json(tmp_path / "environment.json")["inputs_sha256"] == noted


def test_frames_without_labels_have_no_errors_and_names_do_for_potentials() -> None:
    frames = read_frames(embedded_path("ethanol"))[:3]
    assert toolkit.evaluate("ethanol_s", frames) == toolkit.evaluate(toolkit.load("ethanol_s"), frames)
    bare = [atoms.copy() for atoms in frames]
    with pytest.raises(DataError, match="no energies and no forces in 3 frames"):
        toolkit.evaluate("ethanol_s", bare)
    bare[0].calc = toolkit.Calculator("ethanol_s")
    assert bare[0].get_potential_energy() == toolkit.load("ethanol_s").predict(frames[0])["energy"]
    assert toolkit.hessian(toolkit.load("ethanol_s", dtype="float64"), bare[1]).shape == (27, 27)
