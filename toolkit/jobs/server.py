"""The web server as a container's first process: `python -m toolkit.jobs.server streamlit run app.py …`.

A container that is stopped tells its first process alone, and kills all others soon after. So this one asks every worker
to save, waits for them, and ends the server last.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from toolkit.errors import StorageError
from toolkit.jobs.launcher import enforce_stop, request_stop
from toolkit.jobs.run_dir import Run, list_runs

LOOK_EVERY_S = 0.2


def serve(command: Sequence[str]) -> int:
    """Run a command until it ends or SIGTERM or SIGINT arrives, let all workers save, and end it; returns its exit code."""
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    server = subprocess.Popen(command, start_new_session=True)
    while server.poll() is None and not asked.wait(LOOK_EVERY_S):
        pass
    stop_workers()  # also after a server that ended by itself: the container goes with it
    if server.poll() is None:
        server.terminate()
    return server.wait()


def stop_workers() -> None:
    """Ask every run that is queued or at work, also one that begins meanwhile, to save and end; wait until all have."""
    asked: set[Path] = set()
    while alive := [run for run in list_runs() if not run.ended]:
        for run in alive:
            if run.path not in asked and _ask(run):
                asked.add(run.path)
            enforce_stop(run)
        time.sleep(LOOK_EVERY_S)


def _ask(run: Run) -> bool:
    """Whether a worker could be asked: by the stop file, or where none can be written, on a full disk, by the signal that
    means the same when sent once."""
    try:
        request_stop(run.path)
    except StorageError:
        if run.status.worker_pid is None:
            return False
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(run.status.worker_pid, signal.SIGTERM)
    return True


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:]))
