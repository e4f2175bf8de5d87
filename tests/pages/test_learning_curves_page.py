"""Learning curves from the first run to the page: what varies and what does not, stop and resume, report, refusals."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase.io import write
from typer.testing import CliRunner

from tests.pages.test_pages import texts
from tests.stopping import run_until
from toolkit.cli import app
from toolkit.config import OptimizerConfig, TrainConfig, load_config, parse_config, save_config
from toolkit.data.formats import read_frames
from toolkit.errors import ConfigError, DataError
from toolkit.jobs.learning_curve import _write_csv, nested_subset, run_learning_curve
from toolkit.jobs.learning_curve_config import LearningCurveRequest, Point
from toolkit.jobs.learning_curve_report import RESULTS, TABLE, _method
from toolkit.jobs.run_dir import create_run_dir, open_run, read_metrics
from toolkit.jobs.summary import key_result, subject
from toolkit.jobs.tasks import run_task
from toolkit.storage import read_json
from toolkit.training.trainer import train
from toolkit.ui.run_table import table_key

RECIPE = parse_config(TrainConfig, {
    "data": {"train": "embedded:ethanol", "split": {"num_train": 16, "num_val": 4, "num_test": 12}}, "batch_size": 4,
    "model": {"r_max": 3.0, "num_layers": 1, "num_features": [4, 2], "l_max": 1, "radial_mlp_width": 8},
    "max_epochs": 2, "device": "cpu", "backend": "reference"})
REQUEST = LearningCurveRequest(recipe=RECIPE, train_sizes=(4, 8, 16), l_max=(0, 1))


@dataclass(frozen=True)
class Finished:
    folder: Path
    first: dict
    result: dict


@pytest.fixture(scope="module")
def curve(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A learning curve that was stopped within its third run and then continued as the same job."""
    folder, config = create_run_dir("learningcurve", tmp_path_factory.mktemp("runs")), REQUEST.model_dump(mode="json")
    first = run_until("l_max 0, 16 frames, seed 0 · epoch", "learningcurve", config, folder)
    return Finished(folder, first, run_task("learningcurve", config, folder, resume=True))


def test_a_stopped_curve_goes_on_within_the_run(curve: Finished) -> None:
    assert not curve.first["complete"] and [row["num_train"] for row in curve.first["runs"]] == [4, 8]
    assert curve.result["complete"] and curve.result["runs"][:2] == curve.first["runs"]
    whole = train(load_config(TrainConfig, curve.folder / "runs" / "l0-n16-s0" / "config.json"), curve.folder / "again")
    assert curve.result["runs"][2]["forces_mae_meV_per_A"] == whole["test.forces_mae_meV_per_A"]
    assert [row["epoch"] for row in read_metrics(curve.folder / "runs" / "l0-n16-s0")] == [1, 2]
    assert read_metrics(curve.folder)[-1]["kind"] == "run"


def test_only_frames_l_max_and_length_vary(curve: Finished) -> None:
    frames = {n: read_json(curve.folder / "runs" / f"l0-n{n}-s0" / "frames.json") for n in (4, 8, 16)}
    assert [len(frames[n]["train"]) for n in (4, 8, 16)] == [4, 8, 16]
    assert set(frames[4]["train"]) < set(frames[8]["train"]) < set(frames[16]["train"])
    assert frames[4]["val"] == frames[16]["val"] and frames[4]["test"] == frames[16]["test"]
    same, short = (REQUEST.run_config(Point(1, n, 0), 16, "x.json") for n in (16, 4))
    assert same.model_copy(update={"data": RECIPE.data}) == RECIPE
    assert (short.max_epochs, short.data.split.num_val) == (8, 4)  # 1 instead of 4 steps an epoch
    assert [row["epochs"] for row in curve.result["runs"]] == [8, 4, 2, 8, 4, 2]
    assert REQUEST.run_config(Point(0, 4, 3), 16, "x.json").model.channels == (4,)
    by_epochs = REQUEST.model_copy(update={"equal": "epochs"})
    assert by_epochs.run_config(Point(1, 4, 0), 16, "x.json").max_epochs == 2
    patient = RECIPE.model_copy(update={"optimizer": OptimizerConfig(warmup_epochs=3), "early_stop_patience_epochs": 5})
    longer = REQUEST.model_copy(update={"recipe": patient}).run_config(Point(1, 8, 0), 16, "x.json")
    assert (longer.optimizer.warmup_epochs, longer.early_stop_patience_epochs) == (6, 10)


def test_runs_that_the_clock_ended_are_not_called_equally_long(curve: Finished) -> None:
    assert {row["steps"] for row in curve.result["runs"]} == {8} and "same number of optimiser steps" in _method(curve.result)
    recipe = {**curve.result["request"]["recipe"], "max_train_s": 2.0}
    timed = {"request": {**curve.result["request"], "recipe": recipe},
             "runs": [{**row, "steps": 60 + row["num_train"]} for row in curve.result["runs"]]}
    assert "max_train_s, after 64 to 76 optimiser steps: they were not trained equally" in _method(timed)
    as_long = {**timed, "runs": curve.result["runs"]}
    assert _method(as_long) == _method(curve.result)
    old = {**timed, "runs": [{key: row[key] for key in row if key != "steps"} for row in timed["runs"]]}
    assert "not trained equally" in _method(old)


def test_seeds_draw_other_frames_and_an_order_is_nested() -> None:
    pool = np.arange(100, 200)
    sets = [set(nested_subset(pool, n, seed=3).tolist()) for n in (10, 50, 100)]
    assert sets[0] < sets[1] < sets[2] == set(pool.tolist())
    assert sets[0] != set(nested_subset(pool, 10, seed=4).tolist())


def test_results_hold_every_number(curve: Finished) -> None:
    stored = json.loads((curve.folder / RESULTS).read_text(), parse_constant=lambda name: pytest.fail(name))
    assert stored == curve.result and set(stored["curves"]) == {"l_max 0", "l_max 1"}
    for name, found in stored["curves"].items():
        runs = [row for row in stored["runs"] if row["l_max"] == int(name[-1])]
        slope, _ = np.polyfit(-np.log([4, 8, 16]), np.log([row["forces_mae_meV_per_A"] for row in runs]), 1)
        assert found["slope"] == pytest.approx(slope) and found["slope_error_from"] == "residuals"
        assert found["slope_low"] < found["slope"] < found["slope_high"] and found["stderr_meV_per_A"] is None
    assert len((curve.folder / TABLE).read_text().splitlines()) == 7
    page, markdown = ((curve.folder / name).read_text() for name in ("report.html", "report.md"))
    assert page.count("Plotly.newPlot(") == 1 and "the scatter of single runs" in markdown
    assert f"{stored['runs'][-1]['forces_mae_meV_per_A']:.2f}" in markdown


def test_the_runs_page_shows_the_curve(curve: Finished, open_page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_RUNS", str(curve.folder.parent))
    run = open_run(curve.folder)
    assert subject(run) == "embedded:ethanol" and key_result(run).startswith("slopes l_max 0 ")
    at = open_page("pages/8_Runs.py")
    at.session_state[table_key([run.run_id])] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    at.run()
    assert not at.exception and not at.error
    assert "Data efficiency" in [heading.value for heading in at.subheader] and len(at.get("plotly_chart")) == 1
    assert len(at.get("download_button")) == 3 and "same number of optimiser steps" in texts(at)


def test_the_command_goes_on_in_its_folder(curve: Finished, tmp_path: Path) -> None:
    save_config(RECIPE, tmp_path / "recipe.yaml")
    words = ["learning-curve", str(tmp_path / "recipe.yaml"), "--train-sizes", "4,8,16", "--l-max", "0,1",
             "-o", str(curve.folder)]
    assert CliRunner().invoke(app, words).exit_code == 2  # without --resume nothing is written over
    done = CliRunner().invoke(app, [*words, "--resume", "--json", str(tmp_path / "r.json")])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["complete"] and found["runs_done"] == 6 and " ± " in found["slopes"]["l_max 1"]
    assert CliRunner().invoke(app, [*words[:2], "--resume"]).exit_code == 2


def test_the_table_has_whole_numbers_and_gaps(tmp_path: Path) -> None:
    _write_csv([{"seed": 1234567, "forces": 1.0 / 3.0, "energy": None}], tmp_path / TABLE)
    assert (tmp_path / TABLE).read_text() == "seed,forces,energy\n1234567,0.333333,\n"


def test_frames_without_forces_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    frames = read_frames("embedded:ethanol").frames[:40]
    for atoms in frames:
        del atoms.calc.results["forces"]
    write(tmp_path / "energies.extxyz", frames)
    data = {"train": str(tmp_path / "energies.extxyz"), "split": RECIPE.data.split.model_dump()}
    recipe = {**RECIPE.model_dump(mode="json"), "loss": {"forces_weight": 0.0}, "data": data}
    request = parse_config(LearningCurveRequest, {**REQUEST.model_dump(mode="json"), "recipe": recipe})
    with pytest.raises(DataError, match="test frames without forces"):
        run_learning_curve(request, tmp_path / "a")
    assert not (tmp_path / "a" / "runs").exists()


def test_a_folder_takes_more_seeds_and_no_other_recipe(curve: Finished) -> None:
    more = REQUEST.model_copy(update={"seeds": (0, 1), "l_max": (0,), "train_sizes": (4, 8)})
    result = run_learning_curve(more, curve.folder)
    assert result["complete"] and len(result["runs"]) == 8 and result["runs"][:2] == curve.result["runs"][:2]
    assert all(row in result["runs"] for row in curve.result["runs"])
    assert result["curves"]["l_max 1"] == curve.result["curves"]["l_max 1"]
    found = result["curves"]["l_max 0"]
    assert found["slope_error_from"] == "replicates" and found["degrees_of_freedom"] == 2
    assert min(found["stderr_meV_per_A"]) > 0.0
    assert "scatter of repeated runs" in (curve.folder / "report.md").read_text()
    with pytest.raises(ConfigError, match="other settings"):
        run_learning_curve(REQUEST.model_copy(update={"equal": "epochs"}), curve.folder)


@pytest.mark.parametrize(("changes", "error", "words"), [
    ({"train_sizes": "8,17"}, DataError, "found 16 training frames"),
    ({"train_sizes": "8,8"}, ConfigError, "expected different numbers"),
    ({"l_max": "2", "train_sizes": "4,8"}, ConfigError, "for l_max 2, expected 3 numbers"),
    ({"seeds": "-1"}, ConfigError, "seeds is"),
    ({"train_sizes": "8"}, ConfigError, "train_sizes"),
    ({"recipe": {**RECIPE.model_dump(mode="json"), "model": {}, "start_from": "aspirin_xtb"}}, ConfigError, "has start_from")])
def test_grids_that_cannot_be_trained_are_refused(changes: dict, error: type, words: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=words):
        run_learning_curve(parse_config(LearningCurveRequest, REQUEST.model_dump(mode="json") | changes), tmp_path)
