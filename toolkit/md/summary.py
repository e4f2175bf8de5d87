"""The figures of a run: what `md` prints, stores as its result and is judged by."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.analysis.blocks import MIN_SAMPLES, correlated_mean
from toolkit.analysis.energy_drift import energy_drift
from toolkit.errors import DataError
from toolkit.md.harvest import harvest_path
from toolkit.md.pace import ns_per_day
from toolkit.md.stability import stable_fraction
from toolkit.md.trajectory import Trajectory

EQUILIBRATION_FRACTION = 0.2
"""Part of a thermostatted run that is left out. A cut chosen by looking at the series picks lucky pieces of it, and its
error bars are a third too small."""


def summarize(trajectory: Trajectory) -> dict[str, Any]:
    """The result of a run as plain numbers, units in the names; None where the run is too short to tell.

    Temperature (None for a ramp and for a ladder of temperatures) and energy are averaged over the replicas that never broke, frame by frame; error bars allow for the
    correlation in time. Runs with a heat bath leave out their first fifth. The drift is a fitted slope of the conserved
    energy (potential + kinetic + what the baths hold) over the whole run. `stable_fraction` is that of the end, with
    Wilson's 95 % interval, and in `stable_fraction_of_time` as it fell. `breaks` tells when and why replicas were retired.
    """
    alive = np.ones(trajectory.num_replicas, dtype=bool)
    alive[[broken.replica for broken in trajectory.breaks]] = False
    stable = stable_fraction(trajectory)
    steps_per_s = trajectory.steps_done / trajectory.wall_s if trajectory.wall_s > 0.0 else 0.0
    result: dict[str, Any] = {
        "trajectory": None if trajectory.path is None else str(trajectory.path),
        "harvest": _harvest(trajectory),
        "steps": trajectory.steps_done,
        "stopped": trajectory.stopped,
        "steps_per_s": steps_per_s,
        "replica_steps_per_s": _replica_steps(trajectory) / trajectory.wall_s if trajectory.wall_s > 0.0 else 0.0,
        "ns_per_day": ns_per_day(steps_per_s, trajectory.timestep_fs),
        "temperature_mean_K": None,
        "temperature_sem_K": None,
        "energy_drift_meV_per_atom_per_ps": None,
        "energy_drift_meV_per_atom_per_ps_stderr": None,
        "equilibration_fraction": None,
        "stable_fraction": float(stable.fraction[-1]),
        "stable_fraction_low": float(stable.low[-1]),
        "stable_fraction_high": float(stable.high[-1]),
        "stable_fraction_of_time": {"time_fs": stable.times_fs.tolist(), "fraction": stable.fraction.tolist(),
                                    "low": stable.low.tolist(), "high": stable.high.tolist()},
        "breaks": [{"replica": broken.replica, "time_fs": broken.time_fs, "reason": broken.reason}
                   for broken in trajectory.breaks],
    }
    if alive.any() and trajectory.num_frames >= MIN_SAMPLES:
        result |= _averages(trajectory, alive) | _conservation(trajectory, alive)
    return result


def retired(summary: dict[str, Any]) -> list[str]:
    """A line for each replica that left the run: when and why. summary : of one system, or of several by number"""
    parts = summary.get("systems", {"": summary})
    return [f"{f'system {number}, ' if number else ''}replica {broken['replica']} ended at {broken['time_fs']:g} fs: {broken['reason']}"
            for number, part in parts.items() for broken in part["breaks"]]


def _replica_steps(trajectory: Trajectory) -> float:
    """Steps of all replicas together, each as far as it came."""
    broke = {broken.replica: broken.time_fs / trajectory.timestep_fs for broken in trajectory.breaks}
    return sum(broke.get(replica, trajectory.steps_done) for replica in range(trajectory.num_replicas))


def _harvest(trajectory: Trajectory) -> str | None:
    """The file of frames to be labelled, if there is one."""
    path = None if trajectory.path is None else harvest_path(trajectory.path)
    return str(path) if path is not None and path.exists() else None


def _averages(trajectory: Trajectory, alive: np.ndarray) -> dict[str, float]:
    skipped = 0.0 if trajectory.ensemble == "nve" else EQUILIBRATION_FRACTION
    start = min(int(skipped * trajectory.num_frames), trajectory.num_frames - MIN_SAMPLES)
    result = {"equilibration_fraction": start / trajectory.num_frames}
    if trajectory.config.has_one_temperature:
        temperature = correlated_mean(trajectory.temperature_K[start:, alive].mean(axis=1))
        result |= {"temperature_mean_K": temperature.mean, "temperature_sem_K": temperature.stderr}
    if trajectory.variable_cell:
        volumes = np.abs(np.linalg.det(trajectory.cells(start)[:, alive])).mean(axis=1)
        volume = correlated_mean(volumes)
        pressure = correlated_mean(trajectory.pressure_GPa[start:, alive].mean(axis=1))
        result |= {"volume_mean_A3": volume.mean, "volume_sem_A3": volume.stderr,
                   "pressure_mean_GPa": pressure.mean, "pressure_sem_GPa": pressure.stderr}
    return result


def _conservation(trajectory: Trajectory, alive: np.ndarray) -> dict[str, float]:
    try:
        energy = trajectory.conserved_energy_eV[:, alive].mean(axis=1)
    except DataError:  # version 1 did not record the energy of heat baths
        return {}
    drift = energy_drift(trajectory.times_fs, energy, trajectory.num_atoms)
    return {"energy_drift_meV_per_atom_per_ps": drift.slope_meV_per_atom_per_ps,
            "energy_drift_meV_per_atom_per_ps_stderr": drift.stderr_meV_per_atom_per_ps}
