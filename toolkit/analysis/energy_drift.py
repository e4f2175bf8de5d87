"""Energy conservation as a fitted slope with an error bar that knows about correlated fluctuations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.analysis.blocks import check_series, statistical_inefficiency
from toolkit.errors import DataError
from toolkit.units import FS_PER_PS, MEV_PER_EV

MIN_BLOCKS = 48
"""Blocks are not made longer than leaves so many."""

MIN_LEFT = 0.25
"""Share of the scatter that a line leaves, at least: where a series wanders as slowly as it is long, none of it is known."""


@dataclass(frozen=True)
class EnergyDrift:
    """Slope of the energy and the scatter about the line; meV per atom (and ps)."""

    slope_meV_per_atom_per_ps: float
    stderr_meV_per_atom_per_ps: float
    residual_rms_meV_per_atom: float


def energy_drift(times_fs: np.ndarray, energies_eV: np.ndarray, num_atoms: int) -> EnergyDrift:
    """Least-squares line through the energy of one system (or the mean over replicas) against time.

    The standard error is that of ordinary least squares with the variance that the residuals have at their slowest time scale.
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
    stderr = np.sqrt(_slow_variance(residuals) / spread)
    return EnergyDrift(slope, float(stderr), float(np.sqrt(np.mean(residuals**2))))


def _slow_variance(residuals: np.ndarray) -> float:
    """What the variance of residuals (T,) would be were they independent, and as uncertain in their line as they are.

    Vibrations make the autocorrelation negative after a few samples and hide that the energy also wanders for
    picoseconds. Means over blocks of 1, 2, 4 … samples average them out (Flyvbjerg & Petersen, J. Chem. Phys. 91, 461
    (1989)): v = b · variance(block means) · g(block means), the largest over all block lengths b, with the statistical
    inefficiency g. A line takes two independent samples' worth of the scatter with it, 2 g of B blocks, which is put back.
    """
    found, size = 0.0, 1
    while size == 1 or len(residuals) // size >= MIN_BLOCKS:
        means = residuals[:len(residuals) // size * size].reshape(-1, size).mean(axis=1)
        inefficiency = statistical_inefficiency(means)
        left = max(1.0 - 2.0 * inefficiency / len(means), MIN_LEFT)
        found = max(found, size * float(means.var()) * inefficiency / left)
        size *= 2
    return found
