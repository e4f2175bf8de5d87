"""Starting, stopping and resuming worker processes. Pages call this; it imports neither torch nor Streamlit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.errors import JobError, StorageError
from toolkit.jobs.run_dir import Run, Status, create_run_dir, held_lock, open_run, read_status, write_status
from toolkit.storage import read_json, write_text_atomic

WORKER_COMMAND = (sys.executable, "-m", "toolkit.jobs.worker")
TERMINATE_AFTER_S = 60.0
KILL_AFTER_S = 120.0
"""After a stop is asked for. The second SIGTERM interrupts a worker that has not come to a place where it can save."""


def start(task: str, config: dict[str, Any], root: Path | None = None) -> Path:
    """Start a job in a process of its own and return its new run folder at once.

    task : a name in `toolkit.jobs.tasks.TASKS`
    config : JSON-able configuration of the task, stored as `config.json`
    Raises StorageError when the run folder cannot be written.
    """
    run_dir = create_run_dir(task, root)
    prepare(run_dir, task, config)
    _spawn(run_dir, resume=False)
    return run_dir


def prepare(run_dir: Path, task: str, config: dict[str, Any]) -> Status:
    """Write the configuration and a "queued" status into a run folder. Raises StorageError."""
    keep_config(run_dir, config)
    return write_status(run_dir, Status(task=task, created=time.time()))


def keep_config(run_dir: Path, config: dict[str, Any]) -> None:
    """Write a configuration into a run folder that holds none, or another. Raises StorageError."""
    text = json.dumps(config, indent=2)
    if read_json(run_dir / "config.json") != json.loads(text):
        write_text_atomic(run_dir / "config.json", text)


def resume(run_dir: Path) -> None:
    """Continue a stopped, failed or lost run in the same folder from its last checkpoint.

    Raises JobError when somebody still works there (two people may press the button at once: one of them wins).
    """
    with held_lock(run_dir / "launch.lock"):
        run = open_run(run_dir)
        if not run.ended:
            raise JobError(f"run {run.run_id} is {run.state}, expected one that has ended", "wait, or stop it first")
        requeue(run_dir)
        _spawn(run_dir, resume=True)


def delete(run_dir: Path) -> None:
    """Remove the folder of a run that has ended, for good. Raises JobError while somebody works there, StorageError."""
    run = open_run(run_dir)
    with held_lock(run_dir / "lock", lambda: True) as held:
        if not (held and run.ended):
            raise JobError(f"run {run.run_id} is {run.state}, expected one that has ended", "stop it first")
        try:
            shutil.rmtree(run_dir)
        except OSError as error:
            raise StorageError(f"cannot delete {run_dir}: {error.strerror or error}",
                               "see who owns the folder") from None


def requeue(run_dir: Path) -> Status:
    """Take back an earlier stop request, forget the worker that is gone, and mark the run as queued again."""
    (run_dir / "stop").unlink(missing_ok=True)
    before = read_status(run_dir)
    status = replace(before, state="queued", message="resuming", started=None, ended=None, error="", hint="", worker_pid=None,
                     worked_s=before.took_s())
    return write_status(run_dir, status)


def request_stop(run_dir: Path) -> None:
    """Ask a worker to save and end, by a file that it looks for at every step. Raises StorageError."""
    write_text_atomic(run_dir / "stop", f"{time.time()}\n")


def enforce_stop(run: Run, now: float | None = None) -> str | None:
    """Help a worker that does not answer its stop file: SIGTERM to its process group after a grace time, later SIGKILL.

    Called by whoever polls. Returns the name of the signal sent, or None. Only a run that still holds its lock, with
    a worker process of its own, is ever signalled.
    """
    pid = run.status.worker_pid
    if run.state != "stopping" or pid is None:
        return None
    try:
        waited = (now or time.time()) - (run.path / "stop").stat().st_mtime
    except OSError:
        return None
    if waited < TERMINATE_AFTER_S:
        return None
    chosen = signal.SIGKILL if waited > KILL_AFTER_S else signal.SIGTERM
    try:
        os.killpg(pid, chosen)
    except (ProcessLookupError, PermissionError):
        return None
    return chosen.name


def _spawn(run_dir: Path, *, resume: bool) -> None:
    command = [*WORKER_COMMAND, str(run_dir), *(["--resume"] if resume else [])]
    try:
        with open(run_dir / "log.txt", "ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                       env=_environment(), start_new_session=True)
    except OSError as error:
        raise StorageError(f"cannot start a worker for {run_dir}: {error.strerror or error}",
                           "see that the folder can be written and that memory is free") from None
    threading.Thread(target=process.wait, daemon=True).start()  # collects the exit code: no zombie stays behind


def _environment() -> dict[str, str]:
    """One thread unless the user's OMP_NUM_THREADS says otherwise: on small molecules more threads gain little, and two
    that spin beside another busy process run ten times slower. It finds the package from a clone never installed."""
    source = str(Path(__file__).resolve().parents[2])
    path = os.environ.get("PYTHONPATH")
    return {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join([source, path]) if path else source}
