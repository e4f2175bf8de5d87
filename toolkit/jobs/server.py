"""The web server as a container's first process: `python -m toolkit.jobs.server streamlit run app.py …`.

A container that is stopped tells its first process alone, and kills all others soon after. So this one asks every worker
to save, waits for them, and ends the server last.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from toolkit.jobs.launcher import enforce_stop, request_stop
from toolkit.jobs.run_dir import list_runs

LOOK_EVERY_S = 0.2


def serve(command: Sequence[str]) -> int:
    """Run a command until it ends or SIGTERM or SIGINT arrives, and end its workers before it; returns its exit code."""
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    server = subprocess.Popen(command, start_new_session=True)
    while server.poll() is None and not asked.wait(LOOK_EVERY_S):
        pass
    if asked.is_set():
        stop_workers()
        server.terminate()
    return server.wait()


def stop_workers() -> None:
    """Ask every run that is queued or at work, also one that begins meanwhile, to save and end; wait until all have."""
    while alive := [run for run in list_runs() if not run.ended]:
        for run in alive:
            if not (run.path / "stop").exists():
                request_stop(run.path)
            enforce_stop(run)
        time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:]))
