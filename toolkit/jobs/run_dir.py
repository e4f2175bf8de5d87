"""The run folder: the only link between a page (or the command line) and the process that works.

====================  ====================================================================================
`config.json`         what was asked for
`status.json`         state, progress, times, error; written only by the launcher before and the worker after
                      the lock is taken, always atomically
`metrics.jsonl`       one JSON record per line, appended
`result.json`         the result table of a task that ended well
`environment.json`    versions, device, hashes of data and weights
`stop`                a file whose presence asks the worker to save and end
`lock`                held exclusively (`flock`) for as long as somebody works in the folder
`log.txt`             everything a worker process printed
====================  ====================================================================================

Pages poll this module, so it imports neither torch nor Streamlit.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from toolkit.errors import JobError, StorageError
from toolkit.storage import read_json, write_text_atomic

STATES = ("queued", "running", "stopping", "finished", "stopped", "failed")
ENDED = ("finished", "stopped", "failed", "lost")
QUEUE_PATIENCE_S = 60.0
_RUN_ID = re.compile(r"\d{8}-\d{6}-[a-z]{1,20}-[0-9a-f]{6}")


@dataclass(frozen=True)
class Status:
    """Content of `status.json`. Times: seconds since 1970; `worker_pid` is None when no worker process was started.

    started : of the last session; worked_s : how long the sessions before it took, seconds
    """

    task: str
    state: str = "queued"
    step: int = 0
    total: int = 0
    message: str = ""
    created: float = 0.0
    started: float | None = None
    updated: float = 0.0
    ended: float | None = None
    error: str = ""
    hint: str = ""
    worker_pid: int | None = None
    worked_s: float = 0.0

    def took_s(self, until: float | None = None) -> float:
        """How long all sessions took; the last one to its end, else to `until`, else to when it was last heard of."""
        session = 0.0 if self.started is None else (self.ended or until or self.updated) - self.started
        return self.worked_s + max(session, 0.0)


@dataclass(frozen=True)
class Run:
    """What a page shows of one run: `state` is one of STATES or "lost", as `classify` sees it."""

    path: Path
    status: Status
    state: str

    @property
    def run_id(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def ended(self) -> bool:
        """True when nobody works here any more."""
        return self.state in ENDED

    @property
    def took_s(self) -> float:
        """How long it has worked, seconds."""
        return self.status.took_s(None if self.ended else time.time())


def runs_root() -> Path:
    """Folder that holds all runs: the environment variable TOOLKIT_RUNS, else ./runs."""
    return Path(os.environ.get("TOOLKIT_RUNS") or "runs").absolute()


def create_run_dir(task: str, root: Path | None = None) -> Path:
    """Make a new folder <YYYYmmdd-HHMMSS>-<task>-<6 hex>. Raises StorageError when the root cannot be written."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{task}-{secrets.token_hex(3)}"
    path = (root or runs_root()) / name
    make_folder(path)
    return path


def make_folder(path: Path) -> None:
    """Make a folder with its parents. Raises StorageError when that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder {path}: {error.strerror or error}",
                           "choose a folder you may write to (TOOLKIT_RUNS sets where runs go)") from None


def find_run(run_id: str, root: Path | None = None) -> Path:
    """Folder of a run from its name. Raises JobError for a name that is not one of ours ("../x") or not there."""
    path = (root or runs_root()) / run_id if _RUN_ID.fullmatch(run_id) else None
    if path is None or not path.is_dir():
        raise JobError(f"found no run named {run_id[:80]!r}", "choose one of the runs in the list")
    return path


def list_runs(task: str | None = None, root: Path | None = None) -> list[Run]:
    """All runs, newest first; of one task when given. Folders without a readable status are left out."""
    root = root or runs_root()
    names = sorted((p.name for p in root.glob("*-*-*-*") if _RUN_ID.fullmatch(p.name)), reverse=True)
    runs = []
    for name in names:
        try:
            run = open_run(root / name)
        except JobError:
            continue
        if task in (None, run.status.task):
            runs.append(run)
    return runs


def open_run(path: Path) -> Run:
    """Read a run folder and decide in which state it really is. Raises JobError when it holds no readable status."""
    alive = is_locked(path / "lock")  # before the status: a worker that ends in between has written its last word
    status = read_status(path)
    stop_asked = (path / "stop").exists()
    return Run(path, status, classify(status, alive=alive, stop_asked=stop_asked, now=time.time()))


def classify(status: Status, *, alive: bool, stop_asked: bool, now: float) -> str:
    """The state to show: what the status claims, corrected by whether somebody holds the lock.

    A run that claims to work while nobody holds its lock was killed: "lost". A queued one has a minute to start.
    """
    if alive:
        return "stopping" if stop_asked and status.state not in ENDED else status.state
    if status.state in ("running", "stopping"):
        return "lost"
    if status.state == "queued" and now - status.updated > QUEUE_PATIENCE_S:
        return "lost"
    return status.state


def read_status(path: Path) -> Status:
    """Read `status.json`. Raises JobError when it is absent or damaged."""
    values = read_json(path / "status.json")
    if values is None or values.get("state") not in STATES or not isinstance(values.get("task"), str):
        raise JobError(f"{path} holds no readable status.json", "it is not a run folder, or its disk was full")
    known = {field.name for field in fields(Status)}
    return Status(**{name: value for name, value in values.items() if name in known})


def read_config(path: Path) -> dict[str, Any]:
    """Read `config.json`. Raises JobError when it is absent or damaged."""
    config = read_json(path / "config.json")
    if config is None:
        raise JobError(f"{path} holds no readable config.json", "start a new run")
    return config


def write_status(path: Path, status: Status) -> Status:
    """Write `status.json` atomically with the present time; return what was written. Raises StorageError."""
    status = replace(status, updated=time.time())
    write_text_atomic(path / "status.json", json.dumps(asdict(status), indent=1))
    return status


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All complete records of `metrics.jsonl`, oldest first; a half-written line is left out."""
    try:
        lines = (path / "metrics.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def is_locked(lock: Path) -> bool:
    """True when another process holds the lock exclusively. Probes with a shared, non-blocking lock."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def held_lock(lock: Path, give_up: Callable[[], bool] | None = None) -> Iterator[bool]:
    """Hold a lock exclusively; it is released when the process ends, however it ends.

    give_up : without it the wait is endless; with it, it is asked ten times a second, and once it returns True the
        lock is left alone
    Yields whether the lock is held. Raises StorageError when the lock file cannot be made.
    """
    descriptor = _open_lock(lock)
    try:
        yield _lock_exclusively(descriptor, give_up)
    finally:
        os.close(descriptor)


def _lock_exclusively(descriptor: int, give_up: Callable[[], bool] | None) -> bool:
    if give_up is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return True
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if give_up():
                return False
            time.sleep(0.1)
        else:
            return True


def _open_lock(lock: Path) -> int:
    make_folder(lock.parent)
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StorageError(f"cannot make the lock file {lock}: {error.strerror}",
                           "choose a folder you may write to (TOOLKIT_RUNS sets where runs go)") from None
