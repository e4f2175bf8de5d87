"""Turns at a GPU that several trainings share: steps overlap, what is launched kernel by kernel does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Shared by runs that each have a thread: a run either does steps beside the others, or something else alone.

    A validation is thousands of launches, each of which waits in the driver behind the recorded steps of the others: with
    five neighbours it took up to half a minute on an H200. With the others waiting it takes a moment.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._nobody_is_alone = threading.Event()
        self._nobody_is_alone.set()

    def wait(self) -> None:
        """Return when no run is alone on the device; called before every step."""
        self._nobody_is_alone.wait()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside the block the other runs begin no step. Not to be nested."""
        with self._turn:
            self._nobody_is_alone.clear()
            try:
                yield
            finally:
                self._nobody_is_alone.set()
