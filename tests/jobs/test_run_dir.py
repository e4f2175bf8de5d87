"""What a page concludes from a run folder, and how reports survive a full disk. No worker process."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.stopping import StopAtOnce
from toolkit.errors import DataError, JobError, StorageError
from toolkit.jobs import launcher
from toolkit.jobs import reporter as reporter_module
from toolkit.jobs.launcher import requeue
from toolkit.jobs.reporter import RunReporter
from toolkit.jobs.run_dir import (Status, classify, create_run_dir, held_lock, is_locked, list_runs, open_run,
                                  read_metrics, read_status, write_status)
from toolkit.jobs.runner import run_here
from toolkit.progress import Reporter
from toolkit.storage import read_json


@pytest.mark.parametrize(("state", "alive", "stop_asked", "age_s", "shown"), [
    ("queued", False, False, 5.0, "queued"),
    ("queued", False, False, 61.0, "lost"),
    ("queued", True, False, 3600.0, "queued"),
    ("running", True, False, 3600.0, "running"),
    ("running", True, True, 0.0, "stopping"),
    ("running", False, False, 0.0, "lost"),
    ("stopping", False, True, 0.0, "lost"),
    ("stopped", False, True, 0.0, "stopped"),
    ("finished", True, True, 0.0, "finished"),
    ("failed", False, False, 3600.0, "failed"),
])
def test_classification(state: str, alive: bool, stop_asked: bool, age_s: float, shown: str) -> None:
    status = Status(task="train", state=state, updated=1000.0)
    assert classify(status, alive=alive, stop_asked=stop_asked, now=1000.0 + age_s) == shown


def test_status_survives_writing_and_damage_is_named(tmp_path: Path) -> None:
    written = write_status(tmp_path, Status(task="md", state="running", step=3, total=9, message="Å"))
    assert read_status(tmp_path) == written
    for damaged in ("", "{", "[]", '{"state": "running"}', '{"task": "md", "state": "dancing"}'):
        (tmp_path / "status.json").write_text(damaged)
        with pytest.raises(JobError, match="no readable status"):
            read_status(tmp_path)


def test_one_damaged_run_does_not_hide_the_others(tmp_path: Path) -> None:
    for name in ("20260101-000000-md-abcdef", "20260102-000000-train-abcdef", "20260103-000000-md-abcdef", "uploads"):
        (tmp_path / name).mkdir()
    write_status(tmp_path / "20260101-000000-md-abcdef", Status(task="md", state="finished"))
    write_status(tmp_path / "20260102-000000-train-abcdef", Status(task="train", state="finished"))
    assert [run.run_id[:8] for run in list_runs(root=tmp_path)] == ["20260102", "20260101"]
    assert [run.run_id for run in list_runs("md", tmp_path)] == ["20260101-000000-md-abcdef"]


def test_the_lock_is_seen_and_freed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_locked(lock)
    with held_lock(lock):
        assert is_locked(lock)
        with held_lock(lock, lambda: True) as held:
            assert not held
    assert not is_locked(lock)
    with held_lock(lock, lambda: True) as held:
        assert held


def test_half_written_metrics_cost_one_line_only(tmp_path: Path) -> None:
    reporter = RunReporter(tmp_path, Status(task="train"))
    reporter.metrics({"epoch": 1})
    with open(tmp_path / "metrics.jsonl", "a") as stream:
        stream.write('{"epoch": 2, "lo')
    RunReporter(tmp_path, Status(task="train")).metrics({"epoch": 3})
    assert read_metrics(tmp_path) == [{"epoch": 1}, {"epoch": 3}]


def test_a_full_disk_is_logged_and_the_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    caplog: pytest.LogCaptureFixture) -> None:
    def full(path: Path, status: Status) -> Status:
        raise StorageError("cannot write status.json: No space left on device", "free space")

    reporter = RunReporter(tmp_path / "gone", Status(task="train"))
    monkeypatch.setattr(reporter_module, "write_status", full)
    with caplog.at_level(logging.WARNING):
        reporter.update(1, 2, "epoch 1")
        reporter.metrics({"epoch": 1})
    assert "No space left" in caplog.text and "cannot append" in caplog.text
    monkeypatch.undo()
    (tmp_path / "gone").mkdir()
    reporter.metrics({"epoch": 2})
    reporter.end("finished")
    assert read_metrics(tmp_path / "gone") == [{"epoch": 1}, {"epoch": 2}]
    assert read_status(tmp_path / "gone").step == 1


def _work(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
    for step in range(config["steps"]):
        if reporter.should_stop():
            break
        reporter.update(step + 1, config["steps"])
    if config.get("bad"):
        raise DataError("found 3 columns, expected 4", "repair the file")
    return {"resumed": resume}


def test_synchronous_runs_use_the_same_folder_and_rules(tmp_path: Path) -> None:
    assert run_here("train", _work, {"steps": 3}, tmp_path) == {"resumed": False}
    assert open_run(tmp_path).state == "finished" and open_run(tmp_path).status.worker_pid is None
    with pytest.raises(JobError, match="already holds a run"):
        run_here("train", _work, {"steps": 3}, tmp_path)
    assert run_here("train", _work, {"steps": 4}, tmp_path, resume=True) == {"resumed": True}
    with pytest.raises(JobError, match="no run to resume"):
        run_here("train", _work, {"steps": 3}, tmp_path / "new", resume=True)


def _refuse(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
    (run_dir / "environment.json").write_text("of this attempt")
    reporter.update(7, 7, "reading")
    if config.get("changes"):
        (run_dir / "model").write_text("half of it")
    raise DataError("found another configuration", "resume with the first one")


def test_a_refused_resume_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    run_here("train", _work, {"steps": 3}, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for task, name in ((_refuse, "train"), (_work, "md")):
        with pytest.raises((DataError, JobError), match="another configuration|task 'train', expected 'md'"):
            run_here(name, task, {"steps": 9}, tmp_path, resume=True)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "stop").touch()  # as the page's Stop leaves it
    with pytest.raises(DataError):
        run_here("train", _refuse, {"steps": 9}, tmp_path, resume=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(DataError):
        run_here("train", _refuse, {"steps": 9, "changes": True}, tmp_path, resume=True)
    assert read_status(tmp_path).state == "failed"


def test_a_resumed_run_tells_what_was_asked_for_last(tmp_path: Path) -> None:
    run_here("train", _work, {"steps": 3}, tmp_path)
    written = (tmp_path / "config.json").stat().st_mtime_ns
    run_here("train", _work, {"steps": 3}, tmp_path, resume=True)
    assert (tmp_path / "config.json").stat().st_mtime_ns == written
    run_here("train", _work, {"steps": 5}, tmp_path, resume=True)
    assert read_json(tmp_path / "config.json") == {"steps": 5}


def test_a_worker_that_is_gone_is_never_signalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signalled: list[int] = []
    monkeypatch.setattr("os.killpg", lambda pid, number: signalled.append(pid))
    write_status(tmp_path, Status(task="md", state="stopped", worker_pid=4321))
    launcher.requeue(tmp_path)
    with held_lock(tmp_path / "lock"):  # the new worker, which still imports
        launcher.request_stop(tmp_path)
        run = open_run(tmp_path)
        asked = (tmp_path / "stop").stat().st_mtime
        assert run.state == "stopping" and launcher.enforce_stop(run, asked + 100.0) is None and not signalled


def test_a_listener_can_stop_and_errors_are_kept(tmp_path: Path) -> None:
    run_here("train", _work, {"steps": 3}, tmp_path / "a", listener=StopAtOnce())
    assert open_run(tmp_path / "a").state == "stopped"
    with pytest.raises(DataError):
        run_here("train", _work, {"steps": 3, "bad": True}, tmp_path / "b")
    status = read_status(tmp_path / "b")
    assert (status.state, status.error, status.hint) == ("failed", "found 3 columns, expected 4", "repair the file")


def test_a_folder_in_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.jobs.runner.LOCK_PATIENCE_S", 0.2)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with held_lock(tmp_path / "lock"):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(10)
    with pytest.raises(JobError, match="another process works"):
        run_here("train", _work, {"steps": 3}, tmp_path)
    leave.set()
    thread.join()


def test_run_folders_are_named_by_time_task_and_chance(tmp_path: Path) -> None:
    first, second = create_run_dir("train", tmp_path), create_run_dir("train", tmp_path)
    assert first != second and first.name.split("-")[2] == "train"


def test_a_resumed_run_counts_all_its_sessions(tmp_path: Path) -> None:
    write_status(tmp_path, Status(task="train", state="stopped", created=100.0, started=110.0, ended=150.0))
    again = requeue(tmp_path)
    assert again.started is None and again.took_s() == again.took_s(500.0) == 40.0
    assert replace(again, started=200.0).took_s(230.0) == 70.0
    assert replace(again, started=200.0, ended=205.0).took_s(500.0) == 45.0
