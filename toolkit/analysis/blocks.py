"""Error bars of correlated time series: statistical inefficiency, block averages, equilibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.errors import DataError

MIN_SAMPLES = 4


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
    """g = 1 + 2 Σ ρ(t): how many correlated samples are worth one independent sample; at least 1.

    The sum runs over pairs ρ(2k) + ρ(2k+1) as long as they are positive (initial positive sequence: Geyer, Statist.
    Sci. 7, 473 (1992)). A series that oscillates is cut at its first lobe, which can only make the error larger.
    series : (T,)
    """
    rho = autocorrelation(np.asarray(series, dtype=np.float64))
    pairs = rho[:len(rho) // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.nonzero(pairs <= 0.0)[0]
    positive = pairs[:negative[0]] if len(negative) else pairs
    return max(1.0, float(2.0 * positive.sum() - 1.0))


def correlated_mean(series: np.ndarray) -> MeanEstimate:
    """Mean of a stationary series (T,) with stderr = √(g · variance / T). Raises DataError below 4 finite samples."""
    series = check_series(series)
    inefficiency = statistical_inefficiency(series)
    effective = len(series) / inefficiency
    return MeanEstimate(float(series.mean()), float(np.sqrt(series.var(ddof=1) / effective)), effective)


def block_mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the blocks and its standard error σ_blocks / √B; NaN error for one block. values : (B, …)"""
    num_blocks = len(values)
    mean = values.mean(axis=0)
    if num_blocks < 2:
        return mean, np.full_like(mean, np.nan)
    return mean, values.std(axis=0, ddof=1) / np.sqrt(num_blocks)


def equilibration_start(series: np.ndarray, candidates: int = 20) -> int:
    """First sample of the stationary part: the start, within the first half, that leaves most effective samples.

    Chodera, J. Chem. Theory Comput. 12, 1799 (2016). series : (T,)
    """
    series = check_series(series)
    starts = np.unique(np.linspace(0, len(series) // 2, candidates, dtype=int))
    starts = starts[len(series) - starts >= MIN_SAMPLES]
    effective = [(len(series) - t) / statistical_inefficiency(series[t:]) for t in starts]
    return int(starts[int(np.argmax(effective))])


def check_series(series: np.ndarray) -> np.ndarray:
    """The series (T,) as float64. Raises DataError when it is too short for an error bar or not finite."""
    series = np.asarray(series, dtype=np.float64)
    if series.ndim != 1 or len(series) < MIN_SAMPLES or not np.isfinite(series).all():
        raise DataError(f"found a series of shape {series.shape} with {int(np.isfinite(series).sum())} finite numbers, "
                        f"expected at least {MIN_SAMPLES} samples, all finite", "run longer or save more often")
    return series
