"""Energy conservation as a fitted slope with an error bar that knows about correlated fluctuations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.analysis.blocks import check_series, statistical_inefficiency
from toolkit.errors import DataError
from toolkit.units import FS_PER_PS, MEV_PER_EV

MIN_BLOCKS = 64
"""Blocks are not made longer than leaves so many."""


@dataclass(frozen=True)
class EnergyDrift:
    """Slope of the energy and the scatter about the line; meV per atom (and ps)."""

    slope_meV_per_atom_per_ps: float
    stderr_meV_per_atom_per_ps: float
    residual_rms_meV_per_atom: float


def energy_drift(times_fs: np.ndarray, energies_eV: np.ndarray, num_atoms: int) -> EnergyDrift:
    """Least-squares line through the energy of one system (or the mean over replicas) against time.

    The standard error of ordinary least squares is multiplied by √g, g the statistical inefficiency of the residuals at
    the time scale where it is largest.
    times_fs : (T,);  energies_eV : (T,), float64
    Raises DataError for fewer than 4 samples, values that are not finite, or times that do not increase.
    """
    times_ps = check_series(times_fs) / FS_PER_PS
    energies = check_series(energies_eV)
    if len(times_ps) != len(energies) or not (np.diff(times_ps) > 0.0).all():
        raise DataError(f"found {len(times_ps)} times for {len(energies)} energies, expected as many, increasing")
    per_atom = (energies - energies[0]) * (MEV_PER_EV / num_atoms)
    centered = times_ps - times_ps.mean()
    spread = float(np.sum(centered**2))
    slope = float(np.sum(centered * per_atom)) / spread
    residuals = per_atom - per_atom.mean() - slope * centered
    variance = float(np.sum(residuals**2)) / (len(residuals) - 2)
    stderr = np.sqrt(_inefficiency(residuals) * variance / spread)
    return EnergyDrift(slope, float(stderr), float(np.sqrt(np.mean(residuals**2))))


def _inefficiency(residuals: np.ndarray) -> float:
    """Statistical inefficiency of a series (T,) that oscillates fast about a slow wandering, at least 1.

    Vibrations make the autocorrelation negative after a few samples and hide that the energy also wanders for
    picoseconds. Means over blocks of 1, 2, 4 … samples average them out (Flyvbjerg & Petersen, J. Chem. Phys. 91, 461
    (1989)): g = b · variance(block means) / variance · g(block means), the largest over all block lengths b.
    """
    found, size, variance = 1.0, 1, float(residuals.var())
    while variance > 0.0 and (size == 1 or len(residuals) // size >= MIN_BLOCKS):
        means = residuals[:len(residuals) // size * size].reshape(-1, size).mean(axis=1)
        found = max(found, size * float(means.var()) / variance * statistical_inefficiency(means))
        size *= 2
    return found
