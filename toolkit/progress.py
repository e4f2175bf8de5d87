"""How long work talks to whoever started it: a page's worker, the command line, a test, or nobody."""

from __future__ import annotations

from typing import Any, Protocol


class Reporter(Protocol):
    """Receives progress and says when to stop. Training, MD and analyses call it; they never print."""

    def update(self, step: int, total: int, message: str = "") -> None:
        """Report that `step` of `total` units of work are done."""

    def metrics(self, record: dict[str, Any]) -> None:
        """Append one record of named numbers (units in the names)."""

    def should_stop(self) -> bool:
        """Return True once the user asked to stop; the work then saves and returns."""


def tell(reporter: Reporter, *messages: str) -> None:
    """Notes for the user, each once: the command line prints them, pages show them."""
    for message in dict.fromkeys(messages):
        reporter.metrics({"kind": "note", "message": message})


class SilentReporter:
    """A reporter that ignores everything and never stops the work."""

    def update(self, step: int, total: int, message: str = "") -> None:
        """Ignore progress."""

    def metrics(self, record: dict[str, Any]) -> None:
        """Ignore metrics."""

    def should_stop(self) -> bool:
        """Never stop."""
        return False
