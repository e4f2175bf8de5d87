"""The real tasks through the one synchronous path of command line and Python."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

from tests.stopping import StopAtOnce, run_until
from toolkit.cli import app
from toolkit.config import MDConfig, ModelConfig, parse_config
from toolkit.errors import ConfigError, DataError, JobError, ModelError
from toolkit.jobs import study
from toolkit.jobs.requests import MDRequest, unusual
from toolkit.jobs.run_dir import create_run_dir, open_run, read_metrics
from toolkit.jobs.sources import starting_structure
from toolkit.jobs.study_config import PRESETS, StudyRequest
from toolkit.jobs.study_report import study_command
from toolkit.jobs.tasks import run_md, run_task, uses_gpu
from toolkit.md.trajectory import Trajectory
from toolkit.models.checkpoint import save_model
from toolkit.models.potential import build_potential
from toolkit.storage import read_json

TINY = {"r_max": 3.0, "num_layers": 1, "l_max": 1, "num_features": 4, "radial_mlp_width": 8}


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    weak = {"H": 0.001, "C": 0.001, "O": 0.001}
    potential = build_potential(ModelConfig(species=tuple(weak), **TINY, per_species_energy_scales=weak))
    save_model(potential.model, potential.config, tmp_path / "tiny")
    return tmp_path / "tiny"


def request(model: Path, **md: object) -> dict:
    return MDRequest(model=str(model), structure="embedded:ethanol", device="cpu",
                     md=MDConfig(temperature_K=20.0, **md)).model_dump(mode="json")


def test_md_stops_resumes_and_serves_as_a_start(tiny_model: Path, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_RUNS", str(tmp_path / "runs"))
    config, run_dir = request(tiny_model, steps=40, save_every=10), create_run_dir("md")
    assert run_task("md", config, run_dir, reporter=StopAtOnce())["stopped"]
    assert open_run(run_dir).state == "stopped"
    result = run_task("md", config, run_dir, resume=True)
    assert open_run(run_dir).state == "finished" and result["steps"] == 40
    assert read_json(run_dir / "result.json") == result
    with Trajectory(run_dir / "trajectory.h5") as trajectory:
        assert trajectory.num_frames == 5
    again = starting_structure(f"run:{run_dir.name}", -1)
    assert len(again) == 9 and again.info["time_fs"] == 20.0
    with pytest.raises(JobError, match="no run named"):
        starting_structure("run:../../etc", 0)
    with pytest.raises(DataError, match="1200 frames"):
        starting_structure("embedded:ethanol", 1200)


def test_structures_are_called_by_their_place_in_the_file(tmp_path: Path) -> None:
    """As on the Dataset page: isolated atoms count, but none of them is what a simulation starts from."""
    source, frames = tmp_path / "water.xyz", [molecule("H2O") for _ in range(3)]
    for k, atoms in enumerate(frames):
        atoms.positions[0, 2] += 0.01 * k
    hydrogen = Atoms("H", info={"config_type": "IsolatedAtom"})
    for atoms in (*frames, hydrogen):
        atoms.calc = SinglePointCalculator(atoms, energy=-10.0, forces=np.zeros((len(atoms), 3)))
    write(source, [hydrogen, frames[0], hydrogen, *frames[1:]], format="extxyz")
    for place, k in ((0, 0), (1, 0), (3, 1), (4, 2), (-1, 2), (-2, 1)):
        np.testing.assert_allclose(starting_structure(str(source), place).positions, frames[k].positions, atol=1e-6)
    with pytest.raises(DataError, match="frame 2 of .* is an isolated atom"):
        starting_structure(str(source), 2)
    with pytest.raises(DataError, match="has 5 frames"):
        starting_structure(str(source), 5)


def test_training_leaves_metrics_model_and_result(tmp_path: Path) -> None:
    split = {"num_train": 6, "num_val": 2, "num_test": 2}
    config = {"data": {"train": "embedded:ethanol", "split": split}, "model": TINY,
              "max_epochs": 2, "batch_size": 3, "device": "cpu"}
    result = run_task("train", config, tmp_path / "run")
    assert [record["epoch"] for record in read_metrics(tmp_path / "run") if record["kind"] == "epoch"] == [1, 2]
    assert (Path(result["model_dir"]) / "weights.safetensors").is_file() and result["test.forces_mae_meV_per_A"] > 0
    run = open_run(tmp_path / "run")
    assert (run.state, run.status.step, run.status.total) == ("finished", 4, 4)
    with pytest.raises(ModelError, match="max_epochs differ"):
        run_task("train", {**config, "max_epochs": 3}, tmp_path / "run", resume=True)
    assert open_run(tmp_path / "run") == run and read_json(tmp_path / "run" / "config.json") == config


def test_wrong_configurations_and_tasks_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="temperature"):
        run_task("md", {"model": "x", "structure": "embedded:ethanol", "md": {"temperature": 3}}, tmp_path / "a")
    assert open_run(tmp_path / "a").state == "failed"
    with pytest.raises(JobError, match=r"expected one of \['budget', 'compare', 'distill', 'evaluate',"):
        run_task("dance", {}, tmp_path / "b")


@pytest.mark.parametrize(("device", "expected"), [("cpu", False), ("cuda", True), ("cuda:1", True)])
def test_jobs_that_need_the_gpu_queue(device: str, expected: bool) -> None:
    assert uses_gpu({"device": device}) is expected


def test_several_frames_are_systems_of_one_run(tiny_model: Path, tmp_path: Path) -> None:
    config = MDRequest.model_validate(request(tiny_model, steps=4, save_every=2, replicas=2) | {"frames": "0,7,-1"})
    result = run_md(config, tmp_path / "a.h5")
    assert not result["stopped"] and [s["steps"] for s in result["systems"].values()] == [4, 4, 4]
    for system, frame in enumerate((0, 7, -1)):
        with Trajectory(tmp_path / f"a.{system}.h5") as trajectory:
            start = starting_structure("embedded:ethanol", frame).positions
            assert np.abs(trajectory.positions()[0] - start).max() < 1e-6 and trajectory.num_replicas == 2


def test_a_command_names_precision_and_device_where_they_are_not_usual():
    request = MDRequest(model="aspirin", structure="embedded:aspirin", dtype="float64").model_dump(mode="json")
    assert unusual(request, MDRequest) == {"dtype": "float64"}
    assert unusual({**request, "dtype": "float32", "device": "cpu"}, MDRequest) == {"device": "cpu"}


@pytest.mark.parametrize("task", ["study", "modes"])
def test_a_stop_while_relaxing_is_no_failure(tiny_model: Path, tmp_path: Path, task: str) -> None:
    config = {"model": str(tiny_model), "structure": "embedded:ethanol", "device": "cpu", "backend": "reference"}
    assert run_until("relaxing", task, config, tmp_path / "run") == {}
    assert (open_run(tmp_path / "run").state, open_run(tmp_path / "run").status.error) == ("stopped", "")


def test_the_command_of_a_report_asks_for_the_same_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[StudyRequest] = []
    monkeypatch.setattr(study, "run_study", lambda request, folder, reporter: asked.append(request) or {})
    request = parse_config(StudyRequest, {
        "model": "my model", "structure": "/data/a b.xyz", "frame": -1, "device": "cpu",
        "study": {**PRESETS["coffee-break"], "temperature_K": 310.15}})
    words = shlex.split(study_command(request))
    assert words[:4] == ["python", "-m", "toolkit", "study"]
    done = CliRunner().invoke(app, [*words[3:], "-o", str(tmp_path)])
    assert done.exit_code == 0 and asked == [request], done.output
