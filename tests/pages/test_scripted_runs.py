"""Runs of scripts, whose configurations leave defaults out, on the pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.jobs.launcher import prepare
from toolkit.jobs.run_dir import create_run_dir, open_run
from toolkit.jobs.summary import subject
from toolkit.jobs.tasks import run_task

MODEL, DATA = "aspirin", "embedded:aspirin"


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_RUNS", str(tmp_path / "runs"))


@pytest.mark.parametrize(("task", "page", "config"), [
    ("md", "pages/3_Molecular_Dynamics.py", {"structure": DATA, "md": {"steps": 2}}),
    ("evaluate", "pages/9_Evaluate.py", {"data": DATA, "part": "test"})])
def test_a_finished_run(open_page, task: str, page: str, config: dict) -> None:
    run_dir = create_run_dir(task)
    run_task(task, {"model": MODEL, "device": "cpu", **config}, run_dir)
    at = open_page(page, run=run_dir.name)
    assert not at.exception and not at.error and subject(open_run(run_dir)) == f"{MODEL} · {DATA}"
    assert any(MODEL in block.value for block in at.code)


def test_a_study_that_waits(open_page) -> None:
    run_dir = create_run_dir("study")
    prepare(run_dir, "study", {"model": MODEL, "structure": DATA})
    at = open_page("pages/7_Study.py", run=run_dir.name)
    assert not at.exception and any("toolkit study" in block.value for block in at.code)
