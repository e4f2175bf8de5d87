"""Running one task in its run folder: lock, status, stop, result. One path for worker, command line and Python."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from toolkit.errors import JobError, ToolkitError
from toolkit.jobs.launcher import keep_config, prepare, requeue
from toolkit.jobs.reporter import RunReporter
from toolkit.jobs.run_dir import held_lock, read_status
from toolkit.progress import Reporter
from toolkit.storage import write_text_atomic

Task = Callable[[dict[str, Any], Path, bool, Reporter], dict[str, Any]]
"""`task(config, run_dir, resume, reporter) -> result`, the result with the keys of the contract."""

LOCK_PATIENCE_S = 2.0
RECORDS = ("config.json", "environment.json", "status.json")
"""Files of a run folder that tell of a run before it has done anything."""

NO_WORK = {*RECORDS, "stop", "lock", "log.txt", "metrics.jsonl"}
"""Files that change when a run is resumed, whatever comes of it."""


def run_here(name: str, task: Task, config: dict[str, Any], run_dir: Path, *, resume: bool = False,
             listener: Reporter | None = None, on_gpu: bool = False) -> dict[str, Any]:
    """Run a task in this process, in a run folder that is new or, with `resume`, holds an earlier run.

    Afterwards `read_status(run_dir).state` is "finished", or "stopped" when somebody asked to stop (Ctrl-C included).
    A resumed run may be asked for more than before: its `config.json` is then the new one.
    Raises JobError when another process works in the folder, an earlier run would be overwritten or was of another
    task, and whatever ToolkitError the task raises; a resume refused before anything was done leaves all as it was.
    """
    give_up_at = time.monotonic() + LOCK_PATIENCE_S  # pages that probe the lock hold it for an instant
    with held_lock(run_dir / "lock", lambda: time.monotonic() > give_up_at) as held:
        if not held:
            raise JobError(f"another process works in {run_dir}",
                           "wait until it ends, stop it, or choose another folder")
        _check_entry(run_dir, name, resume=resume)
        with _records_kept(run_dir) if resume else nullcontext():
            if resume:
                requeue(run_dir)
                keep_config(run_dir, config)
            else:
                prepare(run_dir, name, config)
            return execute(task, config, run_dir, resume=resume, listener=listener, on_gpu=on_gpu)


def execute(task: Task, config: dict[str, Any], run_dir: Path, *, resume: bool, listener: Reporter | None = None,
            on_gpu: bool = False, as_worker: bool = False) -> dict[str, Any]:
    """Run a task in a queued run folder whose lock this process holds, and keep its status to the end.

    listener : when given, it is also the one who turns Ctrl-C into a stop request; without it, this function does
    on_gpu : wait for `gpu.lock` beside the run folder, so that one job at a time has the GPU
    as_worker : this process was started for the task alone and may be signalled
    """
    reporter = RunReporter(run_dir, read_status(run_dir), listener)

    def stopped_while_waiting() -> bool:
        reporter.wait("waiting for the GPU: another job has it")
        return reporter.should_stop()

    turn = held_lock(run_dir.parent / "gpu.lock", stopped_while_waiting) if on_gpu else nullcontext(True)
    signals = reporter.stop_on_signals() if listener is None else nullcontext()
    result: dict[str, Any] = {}
    try:
        with signals, turn as granted:
            if granted:
                reporter.begin(os.getpid() if as_worker else None)
                result = task(config, run_dir, resume, reporter)
                write_text_atomic(run_dir / "result.json", json.dumps(result, indent=2))
    except ToolkitError as error:
        reporter.end("failed", error.message, error.hint)
        raise
    except KeyboardInterrupt:
        reporter.end("stopped", hint="it was interrupted before it could save; resume starts from the last checkpoint")
        raise
    reporter.end("stopped" if reporter.stopped else "finished")
    return result


def _check_entry(run_dir: Path, name: str, *, resume: bool) -> None:
    known = (run_dir / "status.json").exists()
    if resume and not known:
        raise JobError(f"{run_dir} holds no run to resume", "give the folder of an earlier run, or do not resume")
    if known and not resume:
        raise JobError(f"{run_dir} already holds a run", "resume it, or choose another folder")
    if resume and (earlier := read_status(run_dir).task) != name:
        raise JobError(f"{run_dir} holds a run of the task {earlier!r}, expected {name!r}", "choose another folder")


@contextmanager
def _records_kept(run_dir: Path) -> Iterator[None]:
    """Put the records back when the work ends in an error, or is interrupted, and no other file has changed by then."""
    records = {run_dir / name: _text(run_dir / name) for name in RECORDS}
    before = _other_files(run_dir)
    try:
        yield
    except (ToolkitError, KeyboardInterrupt):
        if _other_files(run_dir) == before:
            for path, text in records.items():
                if text is None:
                    path.unlink(missing_ok=True)
                else:
                    write_text_atomic(path, text)
        raise


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _other_files(run_dir: Path) -> dict[Path, tuple[int, int]]:
    """File -> size, bytes, and time of the last change, ns, of all but the records."""
    left_out = {run_dir / name for name in NO_WORK}
    states = {path: path.stat() for path in run_dir.rglob("*") if path.is_file() and path not in left_out}
    return {path: (state.st_size, state.st_mtime_ns) for path, state in states.items()}
