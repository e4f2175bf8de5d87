"""How fast a simulation goes, told to whoever listens."""

from __future__ import annotations

import time

from toolkit.config import MDConfig
from toolkit.md.restart import RestartPoint
from toolkit.progress import Reporter

COMMIT_INTERVAL_S = 1.0
"""Frames are committed and progress is reported this often; so much work is lost to a kill."""
SECONDS_PER_DAY = 86_400.0
FS_PER_NS = 1e6


class Pace:
    """The clock of a run. `wall_s` adds to what earlier parts of a resumed run took."""

    def __init__(self, config: MDConfig, first_step: int, earlier_s: float, reporter: Reporter) -> None:
        self.config = config
        self._reporter = reporter
        self._first_step = first_step
        self._earlier_s = earlier_s
        self._begin = time.monotonic()
        self._next = self._begin

    @property
    def wall_s(self) -> float:
        """Time spent in the run, s."""
        return self._earlier_s + time.monotonic() - self._begin

    def due(self) -> bool:
        """True at the first call and then once per interval."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + COMMIT_INTERVAL_S
        return True

    def should_stop(self) -> bool:
        """True once the user asked to stop."""
        return self._reporter.should_stop()

    def report(self, point: RestartPoint, steps_alone: int = 0) -> None:
        """Tell how far the run is, how fast, how long it will take, and the means over the running replicas.

        steps_alone : so many, counted for each replica, were made without the inner potential
        """
        elapsed = time.monotonic() - self._begin
        steps_per_s = (point.step - self._first_step) / elapsed if elapsed > 0.0 else 0.0
        speed = ns_per_day(steps_per_s, self.config.timestep_fs)
        left_s = (self.config.steps - point.step) / steps_per_s if steps_per_s > 0.0 else None
        message = f"{speed:.3g} ns/day, {left_s:.0f} s left" if left_s is not None else "first steps"
        if steps_alone:
            message += f", {steps_alone:,} steps of single replicas without the inner model"
        self._reporter.update(point.step, self.config.steps, message)
        state = point.state
        alive = len(state.replica_ids)
        self._reporter.metrics({
            "kind": "md", "step": point.step, "time_fs": point.step * self.config.timestep_fs, "replicas_alive": alive,
            "potential_energy_eV": float(state.potential_energies.mean()) if alive else None,
            "kinetic_energy_eV": float(state.kinetic_energies.mean()) if alive else None,
            "steps_per_s": steps_per_s, "ns_per_day": speed, "time_left_s": left_s,
        })


def ns_per_day(steps_per_s: float, timestep_fs: float) -> float:
    """Simulated time of one replica per day of computing, ns."""
    return steps_per_s * timestep_fs * SECONDS_PER_DAY / FS_PER_NS
