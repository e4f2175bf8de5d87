"""Jobs that are stopped while they are at work, however fast the machine is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolkit.jobs.tasks import run_task
from toolkit.progress import SilentReporter


class StopAtOnce(SilentReporter):
    """Asks to stop at the first question."""

    def should_stop(self) -> bool:
        return True


class StopInside(SilentReporter):
    """Asks to stop once the work whose messages hold this text has made so many steps."""

    def __init__(self, text: str, steps: int = 1) -> None:
        self._text, self._steps = text, steps
        self._seen = False

    def update(self, step: int, total: int, message: str = "") -> None:
        self._seen |= self._text in message and step >= self._steps

    def should_stop(self) -> bool:
        return self._seen


def run_until(text: str, task: str, config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run a job that is stopped where its messages hold this text; its first result."""
    with pytest.MonkeyPatch.context() as patched:  # small jobs are over before they would be looked at
        patched.setattr("toolkit.jobs.reporter.LOOK_FOR_STOP_EVERY_S", -1.0)
        patched.setattr("toolkit.md.pace.COMMIT_INTERVAL_S", 0.0)
        return run_task(task, config, folder, reporter=StopInside(text))
