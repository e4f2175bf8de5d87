"""Worker processes: start, progress, stop, kill, resume, errors, the GPU queue. Real processes, tiny tasks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.errors import JobError, StorageError
from toolkit.jobs import launcher, server
from toolkit.jobs.run_dir import Run, find_run, list_runs, open_run, read_metrics, runs_root
from toolkit.storage import read_json

SLOW = {"steps": 2000, "pause_s": 0.01}


@pytest.fixture(autouse=True)
def _dummy_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_RUNS", str(tmp_path / "runs"))
    worker = Path(__file__).with_name("dummy_worker.py")
    monkeypatch.setattr(launcher, "WORKER_COMMAND", (sys.executable, str(worker)))


def wait_for(run_dir: Path, wanted: Callable[[Run], bool], patience_s: float = 15.0) -> Run:
    give_up = time.monotonic() + patience_s
    while not wanted(run := open_run(run_dir)):
        assert time.monotonic() < give_up, f"still {run.state}: {run.status}"
        time.sleep(0.03)
    return run


def running(run: Run) -> bool:
    return run.state == "running" and run.status.step > 0


def test_a_job_runs_to_its_end_and_leaves_its_results() -> None:
    run_dir = launcher.start("count", {"steps": 5})
    run = wait_for(run_dir, lambda run: run.ended)
    assert (run.state, run.status.step, run.status.total) == ("finished", 5, 5)
    assert run.status.created <= run.status.started <= run.status.ended
    assert read_json(run_dir / "result.json") == {"count": 5}
    assert [record["step"] for record in read_metrics(run_dir)] == [1, 2, 3, 4, 5]
    assert run_dir.parent == runs_root() and find_run(run_dir.name) == run_dir
    assert [found.run_id for found in list_runs("count")] == [run_dir.name] and list_runs("md") == []


def test_stop_saves_and_resume_goes_on_in_the_same_folder() -> None:
    run_dir = launcher.start("count", SLOW)
    wait_for(run_dir, running)
    launcher.request_stop(run_dir)
    asked = time.monotonic()
    run = wait_for(run_dir, lambda run: run.ended)
    assert run.state == "stopped" and time.monotonic() - asked < 3.0
    reached = read_json(run_dir / "result.json")["count"]
    assert 0 < reached < SLOW["steps"]
    (run_dir / "config.json").write_text(json.dumps({"steps": reached + 5}))
    launcher.resume(run_dir)
    assert wait_for(run_dir, lambda run: run.ended).state == "finished"
    assert [record["step"] for record in read_metrics(run_dir)] == list(range(1, reached + 6))


def test_sigterm_is_a_stop_request() -> None:
    run_dir = launcher.start("count", SLOW)
    run = wait_for(run_dir, running)
    os.killpg(run.status.worker_pid, signal.SIGTERM)
    assert wait_for(run_dir, lambda run: run.ended).state == "stopped"
    assert read_json(run_dir / "result.json")["count"] > 0


def test_a_server_that_is_told_to_end_lets_its_workers_save_first(tmp_path: Path) -> None:
    told = tmp_path / "told"
    web = ("import pathlib, signal, sys, time\n"
           f"signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(told)!r}).write_text(str(time.time())), sys.exit(7)))\n"
           "print('ready', flush=True)\ntime.sleep(60)")
    first = subprocess.Popen([sys.executable, "-m", "toolkit.jobs.server", sys.executable, "-c", web], stdout=subprocess.PIPE)
    assert first.stdout.readline() == b"ready\n"
    run_dir = launcher.start("count", SLOW)
    wait_for(run_dir, running)
    first.terminate()
    assert first.wait(timeout=20.0) == 7
    run = open_run(run_dir)
    assert run.state == "stopped" and read_json(run_dir / "result.json")["count"] > 0
    assert run.status.ended <= float(told.read_text())


def test_a_server_that_ends_by_itself_lets_its_workers_save_too() -> None:
    run_dir = launcher.start("count", SLOW)
    wait_for(run_dir, running)
    ended = subprocess.run([sys.executable, "-m", "toolkit.jobs.server", sys.executable, "-c", "raise SystemExit(3)"], timeout=20.0)
    assert ended.returncode == 3 and open_run(run_dir).state == "stopped"


def test_workers_are_told_once_where_no_stop_file_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second signal would interrupt them before they have saved."""
    def full(run_dir: Path) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr(server, "request_stop", full)
    run_dir = launcher.start("count", {**SLOW, "pause_s": 0.5})
    wait_for(run_dir, running)
    server.stop_workers()
    assert open_run(run_dir).state == "stopped" and read_json(run_dir / "result.json")["count"] > 0


def test_a_killed_worker_is_lost_at_once_and_can_be_resumed() -> None:
    run_dir = launcher.start("count", SLOW)
    run = wait_for(run_dir, running)
    os.killpg(run.status.worker_pid, signal.SIGKILL)
    run = wait_for(run_dir, lambda run: run.ended, patience_s=2.0)
    assert run.state == "lost" and run.status.state == "running"
    reached = int((run_dir / "count.txt").read_text())
    (run_dir / "config.json").write_text(json.dumps({"steps": reached + 3}))
    launcher.resume(run_dir)
    assert wait_for(run_dir, lambda run: run.ended).state == "finished"
    assert read_json(run_dir / "result.json") == {"count": reached + 3}


def test_a_deaf_worker_is_signalled_after_the_grace_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "TERMINATE_AFTER_S", 0.3)
    run_dir = launcher.start("deaf", {})
    run = wait_for(run_dir, running)
    assert launcher.enforce_stop(run) is None  # nobody asked it to stop
    launcher.request_stop(run_dir)
    signals = []

    def signalled(run: Run) -> bool:
        signals.append(launcher.enforce_stop(run))
        return run.ended

    run = wait_for(run_dir, signalled)
    assert run.state == "stopped" and "checkpoint" in run.status.hint
    assert signals[0] is None and "SIGTERM" in signals
    assert launcher.enforce_stop(run) is None


@pytest.mark.parametrize(("how", "error", "hint"), [("user", "found NaN forces in frame 7", "remove that frame"),
                                                    ("bug", "unexpected error", "log.txt")])
def test_errors_reach_the_status_and_tracebacks_only_the_log(how: str, error: str, hint: str) -> None:
    run_dir = launcher.start("fail", {"how": how})
    run = wait_for(run_dir, lambda run: run.ended)
    assert (run.state, run.status.error) == ("failed", error) and hint in run.status.hint
    assert "Traceback" not in (run_dir / "status.json").read_text()
    assert ("Traceback" in (run_dir / "log.txt").read_text()) == (how == "bug")


def test_an_unknown_task_and_a_damaged_config_fail_clearly() -> None:
    run = wait_for(launcher.start("dance", {}), lambda run: run.ended)
    assert run.state == "failed" and "'dance'" in run.status.error and "'count'" in run.status.error
    run_dir = launcher.start("fail", {"how": "user"})
    wait_for(run_dir, lambda run: run.ended)
    (run_dir / "config.json").write_text("{")
    launcher.resume(run_dir)
    run = wait_for(run_dir, lambda run: run.ended)
    assert run.state == "failed" and "config.json" in run.status.error


def test_two_jobs_share_one_gpu_by_turns() -> None:
    first = launcher.start("count", {**SLOW, "device": "cuda"})
    wait_for(first, running)
    second = launcher.start("count", {"steps": 3, "device": "cuda"})
    waiting = wait_for(second, lambda run: "GPU" in run.status.message)
    assert waiting.state == "queued" and waiting.status.started is None
    on_cpu = launcher.start("count", {"steps": 3})
    assert wait_for(on_cpu, lambda run: run.ended).state == "finished"
    assert open_run(second).state == "queued"
    launcher.request_stop(first)
    assert wait_for(second, lambda run: run.ended).state == "finished"


def test_a_job_waiting_for_the_gpu_can_be_stopped() -> None:
    first = launcher.start("count", {**SLOW, "device": "cuda"})
    wait_for(first, running)
    second = launcher.start("count", {"steps": 3, "device": "cuda"})
    wait_for(second, lambda run: "GPU" in run.status.message)
    launcher.request_stop(second)
    assert wait_for(second, lambda run: run.ended).state == "stopped"
    assert open_run(first).state == "running"
    launcher.request_stop(first)
    wait_for(first, lambda run: run.ended)


def test_resume_is_refused_while_somebody_works() -> None:
    run_dir = launcher.start("count", SLOW)
    wait_for(run_dir, running)
    with pytest.raises(JobError, match="is running"):
        launcher.resume(run_dir)
    launcher.request_stop(run_dir)
    wait_for(run_dir, lambda run: run.ended)


@pytest.mark.parametrize("name", ["../x", "..", "", "/etc", "20260101-000000-md-abcdef/../..",
                                  "20260101-000000-md-ABCDEF", "20260101-000000-md-abcdef\n", "x" * 5000])
def test_hostile_run_names_are_refused(name: str) -> None:
    with pytest.raises(JobError, match="no run named"):
        find_run(name)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot make the folder"):
        launcher.start("count", {"steps": 1}, tmp_path / "file")
