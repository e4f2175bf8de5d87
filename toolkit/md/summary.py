"""The figures of a run: what `md` prints, stores as its result and is judged by."""

from __future__ import annotations

import numpy as np

from toolkit.analysis.blocks import MIN_SAMPLES, correlated_mean, equilibration_start
from toolkit.analysis.energy_drift import energy_drift
from toolkit.md.pace import ns_per_day
from toolkit.md.trajectory import Trajectory


def summarize(trajectory: Trajectory) -> dict[str, str | float | bool | None]:
    """The result of a run as plain numbers, units in the names; None where the run is too short to tell.

    Temperature and energy are averaged over the replicas that never broke, frame by frame; error bars allow for the
    correlation in time. Langevin runs leave out an equilibration phase, found automatically; `equilibration_fraction`
    says how much that was (0 for nve). The drift is a fitted slope of the potential + kinetic energy.
    """
    alive = np.ones(trajectory.num_replicas, dtype=bool)
    alive[[broken.replica for broken in trajectory.breaks]] = False
    steps_per_s = trajectory.steps_done / trajectory.wall_s if trajectory.wall_s > 0.0 else 0.0
    result: dict[str, str | float | bool | None] = {
        "trajectory": None if trajectory.path is None else str(trajectory.path),
        "steps": trajectory.steps_done,
        "stopped": trajectory.stopped,
        "steps_per_s": steps_per_s,
        "replica_steps_per_s": steps_per_s * trajectory.num_replicas,
        "ns_per_day": ns_per_day(steps_per_s, trajectory.timestep_fs),
        "temperature_mean_K": None,
        "temperature_sem_K": None,
        "energy_drift_meV_per_atom_per_ps": None,
        "energy_drift_meV_per_atom_per_ps_stderr": None,
        "equilibration_fraction": None,
        "stable_fraction": float(alive.mean()),
    }
    if alive.any() and trajectory.num_frames >= MIN_SAMPLES:
        result |= _averages(trajectory, alive)
    return result


def _averages(trajectory: Trajectory, alive: np.ndarray) -> dict[str, float]:
    temperature = trajectory.temperature_K[:, alive].mean(axis=1)
    energy = (trajectory.potential_energy_eV + trajectory.kinetic_energy_eV)[:, alive].mean(axis=1)
    start = 0 if trajectory.ensemble == "nve" else equilibration_start(temperature)
    mean = correlated_mean(temperature[start:])
    drift = energy_drift(trajectory.times_fs[start:], energy[start:], trajectory.num_atoms)
    return {
        "temperature_mean_K": mean.mean,
        "temperature_sem_K": mean.stderr,
        "energy_drift_meV_per_atom_per_ps": drift.slope_meV_per_atom_per_ps,
        "energy_drift_meV_per_atom_per_ps_stderr": drift.stderr_meV_per_atom_per_ps,
        "equilibration_fraction": start / trajectory.num_frames,
    }
