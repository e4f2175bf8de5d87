"""Frames for a student: the mean of springs is a spring, dynamics at the temperature asked for, stop, resume, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from tests.stopping import run_until
from toolkit.cli import app
from toolkit.config import ModelConfig
from toolkit.data.formats import read_frames
from toolkit.errors import ConfigError, DataError, ModelError
from toolkit.jobs import distillation
from toolkit.jobs.distillation import distill
from toolkit.jobs.distillation_config import DistillRequest
from toolkit.jobs.run_dir import list_runs, open_run
from toolkit.jobs.summary import key_result, subject
from toolkit.jobs.tasks import run_task
from toolkit.models.checkpoint import save_model
from toolkit.models.pair import HarmonicSprings, pair_potential
from toolkit.models.potential import build_potential
from toolkit.progress import SilentReporter
from toolkit.storage import read_json
from toolkit.ui.run_table import table_key
from toolkit.units import KB_EV_PER_K

LENGTH, TEMPERATURE_K = 1.10, 400.0
STIFFNESS = {"soft": 30.0, "stiff": 50.0, "sampler": 40.0}


def nitrogen(length: float) -> Atoms:
    """A labelled molecule."""
    atoms = Atoms("N2", [[0.0, 0.0, 0.0], [0.0, 0.0, length]])
    atoms.calc = SinglePointCalculator(atoms, energy=-5.0, forces=[[0.0, 0.0, 0.1], [0.0, 0.0, -0.1]])
    return atoms


@pytest.fixture
def request_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Springs instead of networks; returns a request for frames of them."""
    springs = {name: pair_potential(HarmonicSprings(("N",), k, LENGTH, 6.0)) for name, k in STIFFNESS.items()}
    monkeypatch.setattr(distillation, "load_potential", lambda name, **options: springs[name])
    write(tmp_path / "data.extxyz", [nitrogen(length) for length in np.linspace(1.05, 1.15, 24)])
    data = {"train": str(tmp_path / "data.extxyz"), "split": {"method": "blocks", "num_train": 20, "num_val": 3, "num_test": 0}}

    def request(**changes) -> DistillRequest:
        return DistillRequest(**{"teachers": ("soft", "stiff"), "sampler": "sampler", "data": data, "trajectories": 40,
                                 "temperature_K": TEMPERATURE_K, "ps": 2.0, "every_fs": 50.0, "timestep_fs": 1.0,
                                 "friction_per_fs": 0.05, "copies": 2} | changes)
    return request


def lengths(frames: list[Atoms]) -> np.ndarray:
    return np.array([frame.get_distance(0, 1) for frame in frames])


def test_frames_have_the_mean_labels_and_the_temperature_of_the_sampler(request_of, tmp_path):
    result = distill(request_of(), tmp_path / "out")
    frames = read_frames(str(tmp_path / "out" / "train.extxyz")).frames
    own = [frame for frame in frames if frame.get_potential_energy() < -4.0]
    sampled = [frame for frame in frames if frame.get_potential_energy() > -4.0]
    assert len(own) == 2 * 20 and len(sampled) == result["n_sampled"] == 40 * 40
    stretch, mean = lengths(sampled) - LENGTH, 0.5 * (STIFFNESS["soft"] + STIFFNESS["stiff"])
    assert np.allclose([frame.get_potential_energy() for frame in sampled], 0.5 * mean * stretch**2, atol=1e-6)
    pulls = np.array([np.linalg.norm(frame.get_forces()[0]) for frame in sampled])
    assert np.allclose(pulls, mean * np.abs(stretch), atol=1e-5)
    variance, expected = np.mean(stretch[len(stretch) // 4:] ** 2), KB_EV_PER_K * TEMPERATURE_K / STIFFNESS["sampler"]
    assert variance == pytest.approx(expected, rel=0.2)  # 48 replicas, 2 ps with a memory of 0.02 ps: 0.05 expected
    spread = 1e3 * np.sqrt(np.mean(stretch**2) / 3.0) * (STIFFNESS["stiff"] - STIFFNESS["soft"]) / np.sqrt(2.0)
    assert result["forces_disagreement_meV_per_A"] == pytest.approx(spread, rel=1e-3)
    validation = read_frames(str(tmp_path / "out" / "val.extxyz")).frames
    assert np.allclose(lengths(validation), np.linspace(1.05, 1.15, 24)[21:], atol=1e-6)
    assert {round(length, 4) for length in lengths(own)} == {round(length, 4) for length in np.linspace(1.05, 1.15, 24)[:20]}


def test_one_teacher_samples_for_itself_and_disagrees_with_nobody(request_of, tmp_path):
    result = distill(request_of(teachers=("stiff",), sampler=None, trajectories=5, ps=0.2, copies=0), tmp_path / "out")
    assert result["forces_disagreement_meV_per_A"] is None and result["n_sampled"] == 5 * 4


def test_stopped_anywhere_it_goes_on_to_the_same_frames(request_of, tmp_path):
    config = request_of(trajectories=8, ps=0.5).model_dump(mode="json")
    run_task("distill", config, tmp_path / "whole", reporter=SilentReporter())
    for text in ("day", "labels"):
        folder = tmp_path / text
        assert run_until(text, "distill", config, folder)["stopped"] and open_run(folder).state == "stopped"
        assert not (folder / "train.extxyz").exists()
        result = run_task("distill", config, folder, resume=True, reporter=SilentReporter())
        assert result["n_sampled"] == 80 and key_result(open_run(folder)) == "80 frames"
        assert (folder / "train.extxyz").read_bytes() == (tmp_path / "whole" / "train.extxyz").read_bytes()
    with pytest.raises(ConfigError, match="other settings"):
        run_task("distill", {**config, "copies": 7}, tmp_path / "whole", resume=True, reporter=SilentReporter())


def test_what_cannot_teach_is_refused(request_of, tmp_path, monkeypatch):
    loose = pair_potential(HarmonicSprings(("N",), 0.0, LENGTH, 6.0))
    with monkeypatch.context() as patched, pytest.raises(DataError, match="no replica was whole"):
        patched.setattr(distillation, "load_potential", lambda *a, **k: loose)
        distill(request_of(temperature_K=90_000.0, every_fs=2000.0), tmp_path / "hot")
    bare = Atoms("N2", [[0.0, 0.0, 0.0], [0.0, 0.0, LENGTH]])
    bare.calc = SinglePointCalculator(bare, energy=-5.0)
    write(tmp_path / "bare.extxyz", [bare] * 24)
    with pytest.raises(DataError, match="24 of 24|without energy or forces"):
        distill(request_of(data={"train": str(tmp_path / "bare.extxyz"), "split": {"num_val": 1, "num_test": 0},
                                 "energy_unit": "eV", "length_unit": "Å"}), tmp_path / "bare")


def test_as_many_trajectories_as_asked_for(request_of, tmp_path):
    """40 from 14 frames, three times each: two too many are left out."""
    short = {"ps": 0.02, "every_fs": 20.0}
    assert distill(request_of(**short), tmp_path / "a")["n_sampled"] == 40
    assert distill(request_of(trajectories=17, **short), tmp_path / "b")["n_sampled"] == 17


def test_frames_that_a_teacher_learned_do_not_judge_its_student(tmp_path):
    config = ModelConfig(species=("H", "C", "O"), num_layers=1, l_max=0, num_features=4, r_max=3.0)
    save_model(build_potential(config).model, config, tmp_path / "teacher")
    own = {"train": "embedded:aspirin", "split": {"method": "blocks", "num_train": 900, "num_val": 50}}
    (tmp_path / "teacher" / "metrics.json").write_text(json.dumps({"train_config": {"data": own}}))
    short = {"teachers": (str(tmp_path / "teacher"),), "trajectories": 1, "ps": 0.001, "every_fs": 0.5, "temperature_K": 1.0}
    with pytest.raises(DataError, match="validation and test frames among those that .*teacher was trained on"):
        distill(DistillRequest(data="embedded:aspirin", **short), tmp_path / "random")
    assert distill(DistillRequest(**short), tmp_path / "own")["n_val"] == 50
    words = ["distill", str(tmp_path / "teacher"), "--trajectories", "1", "--ps", "0.001", "--every-fs", "0.5", "--temperature-K",
             "1", "--data", "embedded:aspirin", "-o"]
    runner = CliRunner()
    assert runner.invoke(app, [*words, str(tmp_path / "c")]).exit_code == 2
    split = ["--method", "blocks", "--num-train", "900", "--num-val", "50"]
    done = runner.invoke(app, [*words, str(tmp_path / "d"), *split])
    assert done.exit_code == 0, done.stderr
    frames = read_frames("embedded:aspirin").frames[:40]
    write(tmp_path / "twice.xyz", [*frames, *frames], format="extxyz")  # copies fall on both sides of the teacher's own split
    own["train"], own["split"] = str(tmp_path / "twice.xyz"), {"method": "random", "num_train": 60, "num_val": 10}
    (tmp_path / "teacher" / "metrics.json").write_text(json.dumps({"train_config": {"data": own}}))
    assert distill(DistillRequest(**short), tmp_path / "copies")["n_val"] == 10
    own["train"] = str(tmp_path / "gone.xyz")
    (tmp_path / "teacher" / "metrics.json").write_text(json.dumps({"train_config": {"data": own}}))
    with pytest.raises(ModelError, match="gone.xyz, which is not on this machine"):
        distill(DistillRequest(**short), tmp_path / "e")


def test_the_command_and_the_runs_page(tmp_path, monkeypatch, root):
    monkeypatch.setenv("TOOLKIT_RUNS", str(tmp_path / "runs"))
    config = ModelConfig(species=("H", "C", "O"), num_layers=1, l_max=0, num_features=4, r_max=3.0,
                         per_species_energy_scales={"H": 1e-3, "C": 1e-3, "O": 1e-3})
    for name in ("a", "b"):
        other = config.model_copy(update={"seed": ord(name)})
        save_model(build_potential(other).model, other, tmp_path / name)
    options = ["--data", "embedded:aspirin", "--trajectories", "2", "--ps", "0.01", "--every-fs", "5", "--temperature-K", "10"]
    runner, report = CliRunner(), tmp_path / "r.json"
    done = runner.invoke(app, ["distill", str(tmp_path / "a"), str(tmp_path / "b"), *options, "--json", str(report)])
    assert done.exit_code == 0 and json.loads(report.read_text())["n_sampled"] == 4
    run, = list_runs("distill")
    assert subject(run) == "a · b · embedded:aspirin"
    assert {str(tmp_path / "a"), str(tmp_path / "b")} <= read_json(run.path / "environment.json")["inputs_sha256"].keys()
    at = AppTest.from_file(str(root / "app.py"), default_timeout=60).switch_page("pages/8_Runs.py").run()
    at.session_state[table_key([run.run_id])] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    at.run()
    assert not at.exception and any(text.value.startswith("4 frames with the labels of") for text in at.markdown)
    assert {button.label for button in at.get("download_button")} >= {"Frames for a student", "Validation frames"}
    again = runner.invoke(app, ["distill", str(tmp_path / "a"), "--nonsense", "1"])
    assert again.exit_code == 2 and "unknown options ['nonsense']" in again.stderr
