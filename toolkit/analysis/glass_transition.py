"""The glass transition from the volume of a melt under cooling: the kink between the lines of glass and liquid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.analysis.blocks import statistical_inefficiency
from toolkit.errors import DataError

MIN_POINTS = 12
NUM_CANDIDATES = 400
EDGE = 0.1
"""A kink is looked for in the range of temperatures without this share at either end."""
NUM_RESAMPLES = 1000
SIGNIFICANCE = 0.01


@dataclass(frozen=True)
class GlassTransition:
    """V = V_g + s₁ (T − T_g) below and V_g + s₂ (T − T_g) above T_g.

    temperature_K, stderr_K : T_g and the standard deviation of its bootstrap;  volume_A3 : V_g
    slope_below, slope_above : s₁ < s₂, Å³/K
    p_value : probability that noise about one straight line would look as kinked
    block_points : neighbouring points that were resampled together, because they are correlated
    """

    temperature_K: float
    stderr_K: float
    volume_A3: float
    slope_below: float
    slope_above: float
    p_value: float
    block_points: int

    def at(self, temperature_K: np.ndarray) -> np.ndarray:
        """The two lines, Å³."""
        above = temperature_K - self.temperature_K
        return self.volume_A3 + np.where(above > 0.0, self.slope_above, self.slope_below) * above


def glass_transition(temperature_K: np.ndarray, volume_A3: np.ndarray, seed: int = 0) -> GlassTransition:
    """Fit two lines that meet, by least squares over their slopes and T_g.

    A kink at T_k lowers the squared error of one line by (h_k · V)², with h_k = max(T − T_k, 0) made orthogonal to
    lines and normalised. The largest over T_k is compared with what resampled residuals of one line give (Davies,
    Biometrika 74, 33 (1987), for why no F table applies); T_g has its error from resampled residuals of two lines.
    Residuals are resampled in blocks as long as they are correlated (Künsch, Ann. Statist. 17, 1217 (1989)).

    temperature_K, volume_A3 : (n,), in the order of time; block means rather than single frames
    Raises DataError for too few points, when one line does as well (p > 0.01), and when the liquid would expand less
    than the glass: that is crystallisation or melting, no glass transition.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (temperature_K, volume_A3))
    if x.shape != y.shape or x.ndim != 1 or len(x) < MIN_POINTS or not np.isfinite([x, y]).all() or np.ptp(x) == 0.0:
        raise DataError(f"found temperatures {x.shape} and volumes {y.shape}, expected two series of one length, "
                        f"finite, at least {MIN_POINTS} points", "run longer or save more often")
    lines = np.linalg.qr(np.stack([np.ones_like(x), x], axis=1))[0]
    low, high = x.min() + EDGE * np.ptp(x), x.max() - EDGE * np.ptp(x)
    candidates = np.linspace(low, high, NUM_CANDIDATES)
    hinges = _hinges(x, candidates, lines)
    generator = np.random.default_rng(seed)

    kink = candidates[np.argmax((hinges @ y) ** 2)]
    solution, fitted = _two_lines(x, y, kink)
    rest = y - fitted
    block = min(max(1, round(statistical_inefficiency(rest))), len(x) // 4)
    straight = y - lines @ (lines.T @ y)
    by_noise = ((hinges @ _resampled(rest, block, generator)) ** 2).max(axis=0)
    p_value = float((1 + np.count_nonzero(by_noise >= ((hinges @ straight) ** 2).max())) / (1 + NUM_RESAMPLES))
    if p_value > SIGNIFICANCE:
        raise DataError(f"found no kink in V(T): one straight line does as well (p = {p_value:.2f})",
                        "cool over a wider range, more slowly, or with more atoms")
    if solution[2] <= 0.0:
        raise DataError(f"found a kink at {kink:.0f} K above which the volume rises less than below",
                        "this is no glass transition: look at V(T) and g(r) for crystallisation")
    again = fitted[:, None] + _resampled(rest, block, generator)
    kinks = candidates[np.argmax((hinges @ again) ** 2, axis=0)]
    return GlassTransition(float(kink), float(kinks.std(ddof=1)), float(solution[0]), float(solution[1]),
                           float(solution[1] + solution[2]), p_value, block)


def _hinges(x: np.ndarray, kinks: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """max(x − kink, 0) without its straight part, normalised, one row a kink, (K, n)."""
    rows = np.maximum(x - kinks[:, None], 0.0)
    rows -= (rows @ lines) @ lines.T
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _two_lines(x: np.ndarray, y: np.ndarray, kink: float) -> tuple[np.ndarray, np.ndarray]:
    """Volume at the kink, slope below, change of slope; and the fitted volumes."""
    design = np.stack([np.ones_like(x), x - kink, np.maximum(x - kink, 0.0)], axis=1)
    solution = np.linalg.lstsq(design, y, rcond=None)[0]
    return solution, design @ solution


def _resampled(residuals: np.ndarray, block: int, generator: np.random.Generator) -> np.ndarray:
    """Series made of random pieces of the residuals, (n, NUM_RESAMPLES), spread as noise before three were fitted."""
    n = len(residuals)
    starts = generator.integers(0, n - block + 1, size=(-(-n // block), NUM_RESAMPLES))
    places = (starts[:, None] + np.arange(block)[:, None]).reshape(-1, NUM_RESAMPLES)[:n]
    return (residuals - residuals.mean())[places] * np.sqrt(n / max(n - 4, 1))
