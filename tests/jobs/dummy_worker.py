"""A worker process with small tasks instead of the real ones, so that the machinery is tested without torch."""

from __future__ import annotations

import sys
import time
import types
from pathlib import Path
from typing import Any

from toolkit.errors import DataError
from toolkit.jobs.worker import main
from toolkit.progress import Reporter
from toolkit.storage import write_text_atomic


def count(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
    """Count to config["steps"], keep the count in a file, go on from there on resume."""
    kept = run_dir / "count.txt"
    step = int(kept.read_text()) if resume and kept.exists() else 0
    while step < config["steps"] and not reporter.should_stop():
        step += 1
        write_text_atomic(kept, str(step))
        reporter.metrics({"kind": "count", "step": step})
        reporter.update(step, config["steps"], "counting")
        time.sleep(config.get("pause_s", 0.01))
    return {"count": step}


def fail(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
    """Fail in the way config["how"] names."""
    if config["how"] == "user":
        raise DataError("found NaN forces in frame 7", "remove that frame")
    raise RuntimeError("a bug nobody foresaw")


def deaf(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
    """Look for the wish to stop once and never act on it."""
    while True:
        reporter.update(1, 2, "deaf")
        reporter.should_stop()
        time.sleep(0.02)


stub = types.ModuleType("toolkit.jobs.tasks")
stub.TASKS = {"count": count, "fail": fail, "deaf": deaf}
stub.uses_gpu = lambda config: config.get("device") == "cuda"
sys.modules["toolkit.jobs.tasks"] = stub

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
