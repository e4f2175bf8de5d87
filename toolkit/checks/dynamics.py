"""Energy conservation in a simulation: the test that sees everything a long run will see."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from toolkit.analysis.energy_drift import energy_drift
from toolkit.checks.result import CheckResult, judge
from toolkit.config import MDConfig
from toolkit.md.simulation import simulate
from toolkit.md.trajectory import Trajectory
from toolkit.models.potential import Potential
from toolkit.progress import Reporter
from toolkit.units import FS_PER_PS, MEV_PER_EV

TIMESTEP_FS = 0.5
TEMPERATURE_K = 300.0
SAVE_EVERY = 10
MIN_PS = 0.1


def nve(potential: Potential, atoms: Atoms, length_ps: float, reporter: Reporter | None = None) -> CheckResult:
    """Drift of the total energy over a run at constant energy from 300 K velocities, time step 0.5 fs.

    value = (|slope| + 2 standard errors) · length / RMS fluctuation of the kinetic energy: with 95 % confidence the run
    gained or lost no more than that. The kinetic energy fluctuates by what it exchanges with the potential energy, so a
    drift of a tenth of it is invisible in every observable of the run. The standard error allows for correlation in
    time, so that a run too short to tell does not pass. A run that breaks or is stopped is a problem, not a value.
    """
    steps = round(max(length_ps, MIN_PS) * FS_PER_PS / TIMESTEP_FS)
    config = MDConfig(ensemble="nve", temperature_K=TEMPERATURE_K, timestep_fs=TIMESTEP_FS, steps=steps,
                      save_every=SAVE_EVERY, seed=1)
    with simulate(potential, atoms, config, reporter=reporter) as trajectory:
        if trajectory.breaks:
            first = trajectory.breaks[0]
            problem = f"the run broke after {first.time_fs / FS_PER_PS:.2f} ps: {first.reason}"
            return judge(potential, "nve", {}, problem=problem)
        if trajectory.stopped:
            return judge(potential, "nve", {}, problem="stopped before its end")
        return _judge_run(potential, trajectory)


def _judge_run(potential: Potential, trajectory: Trajectory) -> CheckResult:
    times_fs, kinetic = trajectory.times_fs, trajectory.kinetic_energy_eV[:, 0]
    drift = energy_drift(times_fs, trajectory.potential_energy_eV[:, 0] + kinetic, trajectory.num_atoms)
    length_ps = float(times_fs[-1] - times_fs[0]) / FS_PER_PS
    exchange = float(kinetic.std()) * MEV_PER_EV / trajectory.num_atoms
    worst = (abs(drift.slope_meV_per_atom_per_ps) + 2.0 * drift.stderr_meV_per_atom_per_ps) * length_ps
    return judge(potential, "nve", {"drift over the run": worst / exchange if exchange > 0.0 else np.nan}, details={
        "length_ps": length_ps,
        "slope_meV_per_atom_per_ps": drift.slope_meV_per_atom_per_ps,
        "slope_stderr_meV_per_atom_per_ps": drift.stderr_meV_per_atom_per_ps,
        "kinetic_rms_meV_per_atom": exchange,
        "total_energy_rms_meV_per_atom": drift.residual_rms_meV_per_atom,
        "temperature_mean_K": float(trajectory.temperature_K.mean()),
    })
