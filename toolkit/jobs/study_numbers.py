"""Figures of a study that no single analysis gives: bond lengths from distance curves, the energy of a run in time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from toolkit.analysis.energy_drift import energy_drift
from toolkit.analysis.peaks import spectrum_peaks
from toolkit.md.trajectory import Trajectory
from toolkit.units import MEV_PER_EV

LONGEST_BOND_A = 2.0
MIN_BOND_PEAK, SMOOTH_A = 0.05, 0.02
"""Rise of a peak, of the highest one; width of the Gaussian that smooths curves, as bonds vibrate by 0.03 Å and more."""
CURVE_POINTS = 400


def headline(results: Mapping[str, dict[str, Any]], folder: Path) -> dict[str, Any]:
    """What the command line shows of a study: where the report is, and the numbers one asks for first."""
    numbers: dict[str, Any] = {"folder": str(folder), "stages_done": list(results)}
    if (folder / "report.html").exists():
        numbers |= {"report": str(folder / "report.html"), "results": str(folder / "results.json")}
    for name in ("nve_float64", "nve_float32"):
        if name in results:
            energy = results[name]["energy"]
            key = f"energy_drift_{name.removeprefix('nve_')}_meV_per_atom_per_ps"
            numbers |= {key: energy["slope_meV_per_atom_per_ps"], f"{key}_stderr": energy["stderr_meV_per_atom_per_ps"]}
    if "modes" in results:
        numbers |= {name: results["modes"][name] for name in ("n_imaginary", "zero_point_energy_eV")}
    if "structure" in results:
        numbers["bond_peaks_A"] = results["structure"]["bond_peaks_A"]
    return numbers


def bond_peaks(distances: dict[str, Any]) -> dict[str, list[float]]:
    """Maxima below 2 Å of the distance curves between elements other than hydrogen, Å.

    distances : of `analyses.trajectory_rdf`
    """
    r = np.array(distances["r_A"])
    near = r < LONGEST_BOND_A
    heavy = [pair for pair in distances["pairs"] if pair != "total" and "H" not in pair.split("-")]
    found = {pair: [np.array(distances["pairs"][pair][name])[near] for name in ("values", "stderr")] for pair in heavy}
    smooth = {pair: _smoothed(values, stderr, SMOOTH_A / (r[1] - r[0])) for pair, (values, stderr) in found.items() if values.any()}
    return {pair: [peak.frequency_cm1 for peak in spectrum_peaks(r[near], values, stderr, min_prominence=MIN_BOND_PEAK)]
            for pair, (values, stderr) in smooth.items()}


def _smoothed(values: np.ndarray, stderr: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """A curve under a Gaussian of so many points, and its standard errors where those of the points are independent: the
    square of the Gaussian is one of width/√2 and area 1/(2√π width)."""
    variance = gaussian_filter1d(np.nan_to_num(stderr)**2, width / np.sqrt(2.0)) / (2.0 * np.sqrt(np.pi) * width)
    return gaussian_filter1d(values, width), np.sqrt(variance)


def energy_record(trajectory: Trajectory) -> dict[str, Any]:
    """Total energy per atom against time, meV above the first frame, as means over equal stretches; and its drift.

    `end_points_meV_per_atom_per_ps` is what two frames alone would say: the fluctuation divided by the length.
    """
    energy = (trajectory.potential_energy_eV + trajectory.kinetic_energy_eV)[:, 0]
    times = trajectory.times_fs
    per_atom = (energy - energy[0]) * MEV_PER_EV / trajectory.num_atoms
    size = max(1, len(energy) // CURVE_POINTS)
    used = len(energy) // size * size
    drift = energy_drift(times, energy, trajectory.num_atoms)
    return {
        "time_ps": (times[:used].reshape(-1, size).mean(axis=1) * 1e-3).tolist(),
        "energy_meV_per_atom": per_atom[:used].reshape(-1, size).mean(axis=1).tolist(),
        "length_ps": float(times[-1] * 1e-3),
        "fluctuation_meV_per_atom": drift.residual_rms_meV_per_atom,
        "slope_meV_per_atom_per_ps": drift.slope_meV_per_atom_per_ps,
        "stderr_meV_per_atom_per_ps": drift.stderr_meV_per_atom_per_ps,
        "end_points_meV_per_atom_per_ps": float(per_atom[-1] / (times[-1] * 1e-3)),
    }
