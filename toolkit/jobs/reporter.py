"""Binds running work to its run folder: progress and metrics go out, the wish to stop comes in."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from toolkit.errors import StorageError
from toolkit.jobs.run_dir import Status, write_status
from toolkit.progress import Reporter, SilentReporter

STATUS_EVERY_S = 0.5
LOOK_FOR_STOP_EVERY_S = 0.1
_log = logging.getLogger(__name__)


class RunReporter:
    """The `Reporter` of a job: keeps `status.json` and `metrics.jsonl`, watches for the file `stop`.

    run_dir : folder of the run, locked by this process
    status : its last status
    listener : a second reporter that hears everything and may stop the work too (the command line's progress bar)

    A disk that is full does not end the work: what could not be written is logged and tried again with the next report.
    """

    def __init__(self, run_dir: Path, status: Status, listener: Reporter | None = None) -> None:
        self.run_dir = run_dir
        self.status = status
        self.stopped = False
        self._listener = listener or SilentReporter()
        self._stop_wanted = False
        self._interrupted = False
        self._written = self._looked = 0.0
        self._unsaved_metrics: list[str] = []

    def update(self, step: int, total: int, message: str = "") -> None:
        """Note the progress; `status.json` follows at most twice a second."""
        self._listener.update(step, total, message)
        self.status = replace(self.status, step=step, total=total, message=message)
        if time.monotonic() - self._written > STATUS_EVERY_S:
            self._write()

    def metrics(self, record: dict[str, Any]) -> None:
        """Append one record to `metrics.jsonl`."""
        self._listener.metrics(record)
        self._unsaved_metrics.append(json.dumps(record))
        self._flush_metrics()

    def should_stop(self) -> bool:
        """True once the file `stop`, a signal or the listener asked to stop; the work then saves and returns."""
        now = time.monotonic()
        if not self._stop_wanted and now - self._looked > LOOK_FOR_STOP_EVERY_S:
            self._looked = now
            self._stop_wanted = self._listener.should_stop() or (self.run_dir / "stop").exists()
        if self._stop_wanted and not self.stopped:
            self.stopped = True
            self._enter(replace(self.status, state="stopping"))
        return self.stopped

    def begin(self, worker_pid: int | None) -> None:
        """Enter the state "running"."""
        self._enter(replace(self.status, state="running", message="", started=time.time(), worker_pid=worker_pid))

    def wait(self, message: str) -> None:
        """Say what keeps a queued run waiting."""
        if message != self.status.message:
            self._enter(replace(self.status, message=message))

    def end(self, state: str, error: str = "", hint: str = "") -> None:
        """Enter a last state: finished, stopped or failed."""
        self._flush_metrics()
        self._enter(replace(self.status, state=state, error=error, hint=hint, ended=time.time()))

    @contextmanager
    def stop_on_signals(self) -> Iterator[None]:
        """Make SIGTERM and Ctrl-C a stop request; a second one interrupts the work where it is (KeyboardInterrupt)."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals belong to the main thread
            return
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            return  # it is on its way out, and has its last state to write
        if self._stop_wanted and self.status.ended is None:
            self._interrupted = True
            raise KeyboardInterrupt
        self._stop_wanted = True

    def _enter(self, status: Status) -> None:
        self.status = status
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        try:
            self.status = write_status(self.run_dir, self.status)
        except StorageError as error:
            _log.warning("%s; the work goes on", error)

    def _flush_metrics(self) -> None:
        if not self._unsaved_metrics:
            return
        try:
            with open(self.run_dir / "metrics.jsonl", "a", encoding="utf-8") as stream:
                stream.write(self._line_start() + "\n".join(self._unsaved_metrics) + "\n")
        except OSError as error:
            _log.warning("cannot append to %s: %s; the work goes on", self.run_dir / "metrics.jsonl", error)
        else:
            self._unsaved_metrics.clear()

    def _line_start(self) -> str:
        """A line break when a killed worker left half a line at the end of `metrics.jsonl`."""
        with open(self.run_dir / "metrics.jsonl", "rb") as stream:
            if stream.seek(0, 2) == 0:
                return ""
            stream.seek(-1, 2)
            return "" if stream.read() == b"\n" else "\n"
