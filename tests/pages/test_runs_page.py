"""The Runs page: one table of everything, curves over each other, everything about one run, and its end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.pages.test_pages import EPOCH, fake_run, texts
from toolkit.errors import JobError
from toolkit.jobs import launcher
from toolkit.jobs.run_dir import Run, Status, held_lock, open_run, write_status
from toolkit.jobs.summary import key_result, subject
from toolkit.ui import runs
from toolkit.ui.run_table import table_key
from toolkit.ui.runs import RUN_PAGES

PAGE = "pages/8_Runs.py"


def train_run(loss: float, **changes: object) -> Path:
    run_dir = fake_run("train", "finished", {"data": {"train": "embedded:ethanol"}}, **changes)
    records = [{**EPOCH, "epoch": k, "val_loss": loss, "wall_s": 60.0 * k} for k in (1, 2)]
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return run_dir


def choose(at: AppTest, *run_dirs: Path) -> AppTest:
    names = list(at.dataframe[0].value["run"])
    rows = [names.index(run_dir.name) for run_dir in run_dirs]
    at.session_state[table_key(names)] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    return at.run()


def test_the_table_tells_states_subjects_and_results_with_units(open_page, md_run: Path) -> None:
    first = train_run(0.3)
    failed = fake_run("passport", "failed", {"model": "/x/runs/abc/model"}, error="found NaN", hint="train it again")
    (first / "result.json").write_text(json.dumps({"test.forces_mae_meV_per_A": 12.34}))
    fake_run("budget", "finished", {})
    table = open_page(PAGE).dataframe[0].value.set_index("run")
    assert set(table["task"]) == {"Training", "Passport", "Simulation"}
    assert table.loc[first.name, "result"] == "force MAE (test) 12.3 meV/Å"
    assert table.loc[first.name, "about"] == "embedded:ethanol" and table.loc[failed.name, "about"] == "abc"
    assert table.loc[failed.name, "state"] == "failed" and table.loc[md_run.name, "about"] == "aspirin · embedded:aspirin"


@pytest.mark.parametrize(("task", "result", "said"), [
    ("passport", {"checks": {"a": {"passed": True}, "b": {"passed": False}, "c": 3}}, "1 of 2 checks passed"),
    ("md", {"temperature_mean_K": 301.4}, "mean temperature 301 K"), ("md", {"temperature_mean_K": None}, ""),
    ("md", {"stable_fraction": 0.75}, "whole: 75 %"),
    ("modes", {"zero_point_energy_eV": 4.2}, "zero-point energy 4.200 eV"),
    ("study", {"nve_float64": {"energy_drift_meV_per_atom_per_ps": 1e-5}}, "energy drift 1.0e-05 meV/atom/ps"),
    ("train", {"test.forces_mae_meV_per_A": None, "test.energy_mae_meV_per_atom": 3.0}, "energy MAE (test) 3.00 meV/atom")])
def test_each_kind_of_run_has_a_number_people_ask_for(task: str, result: dict, said: str) -> None:
    run_dir = fake_run(task, "finished", {"model": 3})
    (run_dir / "result.json").write_text(json.dumps(result))
    assert key_result(open_run(run_dir)) == said and subject(open_run(run_dir)) == ""


def test_curves_of_several_runs_lie_over_each_other(open_page) -> None:
    run_dirs = [train_run(0.3), train_run(0.2)]
    at = choose(open_page(PAGE), *run_dirs)
    assert not at.exception and not at.error
    figure = json.loads(at.get("plotly_chart")[0].proto.spec)
    assert {trace["name"] for trace in figure["data"]} == {run_dir.name for run_dir in run_dirs}
    at.segmented_control(key="runs.against").set_value("wall time").run()
    figure = json.loads(at.get("plotly_chart")[0].proto.spec)
    assert "time, min" in json.dumps(figure["layout"]) and len(at.get("download_button")) == 1


def test_one_run_shows_log_error_config_and_environment_and_can_be_deleted(open_page) -> None:
    run_dir = fake_run("train", "failed", {"data": {"train": "embedded:x"}}, error="found NaN in frame 7", hint="remove it")
    (run_dir / "log.txt").write_text("a traceback\n")
    (run_dir / "environment.json").write_text(json.dumps({"versions": {"torch": "9.9"}}))
    other = train_run(0.3)
    at = choose(open_page(PAGE), run_dir)
    assert not at.exception and "found NaN in frame 7" in at.error[0].value and "a traceback" in texts(at)
    assert any("9.9" in str(element.value) for element in at.json)
    at.button(key=f"{run_dir.name}.delete").click().run()
    assert not at.exception and not run_dir.exists() and other.exists()
    assert list(at.dataframe[0].value["run"]) == [other.name]


def test_clone_leads_to_the_form(open_page) -> None:
    run_dir = fake_run("train", "finished", {"data": {"train": "embedded:ethanol"}, "max_epochs": 77})
    at = choose(open_page(PAGE), run_dir)
    at.button(key=f"{run_dir.name}.clone").click().run()
    assert not at.exception and at.title[0].value.endswith("Train")
    assert at.number_input(key="train.max_epochs").value == 77


@pytest.mark.parametrize(("task", "said"), [("study", "from the last checkpoint"), ("modes", "from the beginning")])
def test_the_button_says_where_a_resumed_run_starts(task: str, said: str, open_page) -> None:
    run_dir = fake_run(task, "stopped", {"model": "aspirin", "structure": "embedded:aspirin", "frame": 0, "study": {}})
    at = open_page(RUN_PAGES[task], run=run_dir.name)
    assert said in at.button(key=f"{task}.{run_dir.name}.resume").help


@pytest.mark.parametrize("task", ["distill", "learningcurve", "stability"])
def test_a_task_without_a_page_is_stopped_and_resumed_here(task: str, open_page) -> None:
    run_dir = fake_run(task, "failed", {}, error="found no teacher", hint="name one")
    at = choose(open_page(PAGE), run_dir)
    assert not at.exception and len(at.error) == 1 and "found no teacher" in at.error[0].value
    assert at.button(key=f"{task}.{run_dir.name}.resume")
    write_status(run_dir, Status(task=task, state="queued", created=1.0))
    at.run()
    assert not at.exception and at.button(key=f"{task}.{run_dir.name}.stop")


def test_a_link_to_a_run_chooses_it(open_page) -> None:
    first, second = (fake_run("distill", "failed", {}, error=f"of {k}") for k in (1, 2))
    at = open_page(PAGE, run=first.name)
    assert "of 1" in at.error[0].value
    at.query_params["run"] = second.name
    at.run()
    assert not at.exception and len(at.error) == 1 and "of 2" in at.error[0].value


def test_runs_that_nobody_looks_at_do_not_hide_the_others(open_page) -> None:
    train_run(0.3)
    for _ in range(9):
        fake_run("budget", "finished", {})
    at = open_page("app.py")
    assert not at.exception and any("embedded:ethanol" in caption.value.replace("\\", "") for caption in at.caption)


def test_a_run_that_somebody_else_deleted_is_missed_without_a_traceback(open_page, monkeypatch) -> None:
    """In another tab, between the drawing of the page and the next look at the run."""
    run_dir = fake_run("evaluate", "stopped", {})
    read = runs.open_run

    def gone(path: Path) -> Run:
        if path == run_dir and path.exists():
            shutil.rmtree(path)
        return read(path)
    monkeypatch.setattr(runs, "open_run", gone)
    at = open_page("pages/9_Evaluate.py", run=run_dir.name)
    assert not at.exception and "found no evaluate run named" in at.error[0].value


def test_a_run_at_work_is_not_deleted() -> None:
    run_dir = train_run(0.3)
    with held_lock(run_dir / "lock"), pytest.raises(JobError, match="expected one that has ended"):
        launcher.delete(run_dir)
    with pytest.raises(JobError, match="is queued"):
        launcher.delete(fake_run("train", "queued", {}))
    assert run_dir.exists()


def test_the_newest_runs_of_an_empty_server(open_page) -> None:
    assert "No runs yet" in texts(open_page(PAGE))


def test_a_run_that_somebody_starts_does_not_take_the_place_of_the_chosen_one(open_page) -> None:
    first = train_run(0.3)
    at = choose(open_page(PAGE), first)
    assert first.name in [heading.value for heading in at.subheader]
    newer = train_run(0.2)
    at.run()
    assert not at.exception and newer.name not in [heading.value for heading in at.subheader]


def test_more_training_runs_than_colours(open_page) -> None:
    runs = [train_run(0.1 * (k + 1)) for k in range(12)]
    at = choose(open_page(PAGE), *runs)
    assert not at.exception and len(at.get("plotly_chart")) == 1


def test_alloys_and_studies_are_told_apart(open_page) -> None:
    fake_run("study", "finished", {})
    fake_run("workflow", "finished", {})
    pills = open_page(PAGE).button_group(key="runs.tasks")
    assert sorted(pills.options) == ["Alloy", "Study"]
