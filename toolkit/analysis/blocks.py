"""Error bars of correlated time series: statistical inefficiency and block averages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.errors import DataError

MIN_SAMPLES = 4
BIAS_ITERATIONS = 4


@dataclass(frozen=True)
class MeanEstimate:
    """Mean of a correlated series, its standard error, and the number of effectively independent samples."""

    mean: float
    stderr: float
    effective_samples: float


def autocorrelation(series: np.ndarray) -> np.ndarray:
    """Normalised autocorrelation ρ(0 … T−1) of a series (T,), by FFT; ρ(0) = 1, then zeros for a constant series."""
    deviation = series - series.mean()
    size = 1 << (2 * len(series) - 1).bit_length()
    power = np.abs(np.fft.rfft(deviation, size)) ** 2
    covariance = np.fft.irfft(power, size)[:len(series)] / len(series)
    if covariance[0] <= np.finfo(np.float64).eps ** 2 * float(np.mean(series**2)):
        return np.eye(1, len(series))[0]
    return covariance / covariance[0]


def statistical_inefficiency(series: np.ndarray) -> float:
    """g = 1 + 2 Σ ρ(t): how many correlated samples are worth one independent sample; between 1 and T/2.

    The sum runs over pairs ρ(2k) + ρ(2k+1) as long as they are positive (initial positive sequence: Geyer, Statist.
    Sci. 7, 473 (1992)). A series that oscillates fast about a slow wandering is cut at its first lobe and then seems
    less correlated than it is: take means over blocks first, as `energy_drift` does.
    Deviations from the series' own mean make every ρ too small by (1 − ρ) g/T on average; that is put back.
    series : (T,)
    """
    rho = autocorrelation(np.asarray(series, dtype=np.float64))
    inefficiency = 1.0
    for _ in range(BIAS_ITERATIONS):
        lost = inefficiency / len(rho)
        inefficiency = min(max(1.0, _positive_sum(rho + (1.0 - rho) * lost)), 0.5 * len(rho))
    return inefficiency


def _positive_sum(rho: np.ndarray) -> float:
    pairs = rho[:len(rho) // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.nonzero(pairs <= 0.0)[0]
    positive = pairs[:negative[0]] if len(negative) else pairs
    return float(2.0 * positive.sum() - 1.0)


def correlated_mean(series: np.ndarray) -> MeanEstimate:
    """Mean of a stationary series (T,) with its standard error. Raises DataError below 4 finite samples.

    stderr² = g σ² / T, where σ² = Σ (x − x̄)² / (T − g): the mean takes g samples' worth of the scatter with it.
    """
    series = check_series(series)
    inefficiency = statistical_inefficiency(series)
    effective = len(series) / inefficiency
    variance = series.var() / (1.0 - 1.0 / effective)
    return MeanEstimate(float(series.mean()), float(np.sqrt(variance / effective)), effective)


def block_mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the blocks and its standard error σ_blocks / √B; NaN error for one block. values : (B, …)"""
    num_blocks = len(values)
    mean = values.mean(axis=0)
    if num_blocks < 2:
        return mean, np.full_like(mean, np.nan)
    return mean, values.std(axis=0, ddof=1) / np.sqrt(num_blocks)


def check_series(series: np.ndarray) -> np.ndarray:
    """The series (T,) as float64. Raises DataError when it is too short for an error bar or not finite."""
    series = np.asarray(series, dtype=np.float64)
    if series.ndim != 1 or len(series) < MIN_SAMPLES or not np.isfinite(series).all():
        raise DataError(f"found a series of shape {series.shape} with {int(np.isfinite(series).sum())} finite numbers, "
                        f"expected at least {MIN_SAMPLES} samples, all finite", "run longer or save more often")
    return series
