"""Running one task in its run folder: lock, status, stop, result. One path for worker, command line and Python."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from toolkit.errors import JobError, ToolkitError
from toolkit.jobs.launcher import prepare, requeue
from toolkit.jobs.reporter import RunReporter
from toolkit.jobs.run_dir import held_lock, read_status
from toolkit.progress import Reporter
from toolkit.storage import write_text_atomic

Task = Callable[[dict[str, Any], Path, bool, Reporter], dict[str, Any]]
"""`task(config, run_dir, resume, reporter) -> result`, the result with the keys of the contract."""

LOCK_PATIENCE_S = 2.0


def run_here(name: str, task: Task, config: dict[str, Any], run_dir: Path, *, resume: bool = False,
             listener: Reporter | None = None, on_gpu: bool = False) -> dict[str, Any]:
    """Run a task in this process, in a run folder that is new or, with `resume`, holds an earlier run.

    Afterwards `read_status(run_dir).state` is "finished", or "stopped" when somebody asked to stop (Ctrl-C included).
    Raises JobError when another process works in the folder or an earlier run would be overwritten, and whatever
    ToolkitError the task raises.
    """
    give_up_at = time.monotonic() + LOCK_PATIENCE_S  # pages that probe the lock hold it for an instant
    with held_lock(run_dir / "lock", lambda: time.monotonic() > give_up_at) as held:
        if not held:
            raise JobError(f"another process works in {run_dir}",
                           "wait until it ends, stop it, or choose another folder")
        _enter(run_dir, name, config, resume=resume)
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


def _enter(run_dir: Path, name: str, config: dict[str, Any], *, resume: bool) -> None:
    known = (run_dir / "status.json").exists()
    if resume and not known:
        raise JobError(f"{run_dir} holds no run to resume", "give the folder of an earlier run, or do not resume")
    if known and not resume:
        raise JobError(f"{run_dir} already holds a run", "resume it, or choose another folder")
    if resume:
        requeue(run_dir)
    else:
        prepare(run_dir, name, config)
