"""The process that works: `python -m toolkit.jobs.worker RUN_DIR [--resume]`, started by `toolkit.jobs.launcher`.

Exit codes: 0 finished or stopped, 2 the user can mend it, 130 interrupted before saving, 1 anything unforeseen.
"""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import replace
from pathlib import Path

from toolkit.errors import JobError, ToolkitError
from toolkit.jobs.run_dir import held_lock, read_config, read_status, write_status

_log = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Work on the run folder named by the first argument; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run_dir = Path(arguments[0])
    with held_lock(run_dir / "lock"):  # first of all: whoever probes it sees from here on that somebody is alive
        try:
            _work(run_dir, resume="--resume" in arguments[1:])
        except ToolkitError as error:
            _log.error("%s", error)
            _mark_failed(run_dir, error.message, error.hint)
            return 2
        except KeyboardInterrupt:
            return 130
        except Exception:  # the toolkit's one broad handler: the traceback goes to log.txt, a clear line to the page
            _log.exception("unexpected error")
            _mark_failed(run_dir, "unexpected error", f"the end of {run_dir / 'log.txt'} says where")
            return 1
    return 0


def _work(run_dir: Path, *, resume: bool) -> None:
    from toolkit.jobs.runner import execute
    from toolkit.jobs.tasks import TASKS, uses_gpu  # imports torch (seconds): only now that the lock is held

    status, config = read_status(run_dir), read_config(run_dir)
    if status.state != "queued":
        return  # a second worker for a folder that the first has dealt with
    if status.task not in TASKS:
        raise JobError(f"found the task {status.task!r}, expected one of {sorted(TASKS)}")
    execute(TASKS[status.task], config, run_dir, resume=resume, on_gpu=uses_gpu(config), as_worker=True)


def _mark_failed(run_dir: Path, error: str, hint: str) -> None:
    try:
        status = read_status(run_dir)
        if status.state != "failed":
            write_status(run_dir, replace(status, state="failed", error=error, hint=hint, ended=time.time()))
    except ToolkitError as problem:
        _log.error("%s", problem)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
