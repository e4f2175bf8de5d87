"""The glass transition from the volume of a melt under cooling: the kink between the lines of glass and liquid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.errors import DataError

MIN_POINTS = 12
NUM_CANDIDATES = 400
EDGE = 0.1
"""A kink is looked for in the range of temperatures without this share at either end."""
NUM_SERIES = 1000
NUM_TRIALS = 100
MEMORIES = np.linspace(0.0, 0.98, 25)
"""Correlations of neighbouring points that are tried for the noise."""
SIGNIFICANCE = 0.01


@dataclass(frozen=True)
class GlassTransition:
    """V = V_g + s₁ (T − T_g) below and V_g + s₂ (T − T_g) above T_g.

    temperature_K, stderr_K : T_g and the standard deviation of fits to such lines with noise;  volume_A3 : V_g
    slope_below, slope_above : s₁ < s₂, Å³/K
    p_value : probability that noise about one straight line would look as kinked
    memory : correlation of the noise of neighbouring points
    """

    temperature_K: float
    stderr_K: float
    volume_A3: float
    slope_below: float
    slope_above: float
    p_value: float
    memory: float

    def at(self, temperature_K: np.ndarray) -> np.ndarray:
        """The two lines, Å³."""
        above = temperature_K - self.temperature_K
        return self.volume_A3 + np.where(above > 0.0, self.slope_above, self.slope_below) * above


def glass_transition(temperature_K: np.ndarray, volume_A3: np.ndarray, seed: int = 0) -> GlassTransition:
    """Fit two lines that meet, by least squares over their slopes and T_g.

    A kink at T_k lowers the squared error of one line by (h_k · V)², with h_k = max(T − T_k, 0) made orthogonal to
    lines and normalised. The largest over T_k, relative to the squared error that is left, is compared with what noise
    gives (Davies, Biometrika 74, 33 (1987), for why no F table applies): Gaussian series in which each point remembers
    the one before, with the memory whose residuals after the same fit are as correlated as those found. The same beside
    a parabola: thermal expansion that rises smoothly has no kink. T_g has its error from two lines with such noise.

    temperature_K, volume_A3 : (n,), in the order of time; block means rather than single frames
    Raises DataError for too few points, when one line or one parabola does as well (p > 0.01), and when the liquid
    would expand less than the glass: that is crystallisation or melting, no glass transition.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (temperature_K, volume_A3))
    if x.shape != y.shape or x.ndim != 1 or len(x) < MIN_POINTS or not np.isfinite([x, y]).all() or np.ptp(x) == 0.0:
        raise DataError(f"found temperatures {x.shape} and volumes {y.shape}, expected two series of one length, "
                        f"finite, at least {MIN_POINTS} points", "run longer or save more often")
    low, high = x.min() + EDGE * np.ptp(x), x.max() - EDGE * np.ptp(x)
    candidates = np.linspace(low, high, NUM_CANDIDATES)
    generator = np.random.default_rng(seed)

    p_value, line = _significance(x, y, candidates, 1, generator)
    if p_value > SIGNIFICANCE:
        raise DataError(f"found no kink in V(T): one straight line does as well (p = {p_value:.2f})",
                        "cool over a wider range, more slowly, or with more atoms")
    kink = candidates[np.argmax((line.hinges @ y) ** 2)]
    solution, fitted = _two_lines(x, y, kink)
    if solution[2] <= 0.0:
        raise DataError(f"found a kink at {kink:.0f} K above which the volume rises less than below",
                        "this is no glass transition: look at V(T) and g(r) for crystallisation")
    smooth, _ = _significance(x, y, candidates, 2, generator)
    if smooth > SIGNIFICANCE:
        raise DataError(f"found no kink in V(T): it bends, but a parabola does as well (p = {smooth:.2f})",
                        "any solid or liquid expands faster when hotter; cool more slowly, or with more atoms")
    kinks = candidates[np.argmax((line.hinges @ (fitted[:, None] + line.noise)) ** 2, axis=0)]
    return GlassTransition(float(kink), float(kinks.std(ddof=1)), float(solution[0]), float(solution[1]),
                           float(solution[1] + solution[2]), p_value, line.memory)


@dataclass(frozen=True)
class _Fit:
    """The hinges beside a polynomial, (K, n); series of noise like what polynomial and best hinge leave, (n, S)."""

    hinges: np.ndarray
    noise: np.ndarray
    memory: float


def _significance(x: np.ndarray, y: np.ndarray, kinks: np.ndarray, degree: int,
                  generator: np.random.Generator) -> tuple[float, _Fit]:
    """How often noise about a polynomial of this degree looks as kinked as y does."""
    powers = np.linalg.qr(np.vander((x - x.mean()) / np.ptp(x), degree + 1))[0]
    hinges = _hinges(x, kinks, powers)
    share, rest = _kinked(y[:, None], powers, hinges)
    found = _memory(rest)[0]
    white = generator.standard_normal((len(x), NUM_SERIES))
    as_found = [np.mean(_memory(_kinked(_remembering(white[:, :NUM_TRIALS], memory), powers, hinges)[1])) for memory in MEMORIES]
    memory = float(np.interp(found, np.maximum.accumulate(as_found), MEMORIES))
    noise = _remembering(white, memory)
    by_noise, left = _kinked(noise, powers, hinges)
    p_value = float((1 + np.count_nonzero(by_noise >= share[0])) / (1 + NUM_SERIES))
    return p_value, _Fit(hinges, noise * np.sqrt((rest**2).sum() / (left**2).sum(axis=0).mean()), memory)


def _kinked(series: np.ndarray, powers: np.ndarray, hinges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each column: what the best hinge explains relative to what it leaves; and what it leaves."""
    rest = series - powers @ (powers.T @ series)
    along = hinges @ rest
    best = np.argmax(along**2, axis=0)
    explained = np.take_along_axis(along, best[None], axis=0)[0]
    left = rest - hinges[best].T * explained
    return explained**2 / np.maximum((left**2).sum(axis=0), np.finfo(np.float64).tiny), left


def _memory(series: np.ndarray) -> np.ndarray:
    """Correlation of neighbours, one number a column."""
    return (series[1:] * series[:-1]).sum(axis=0) / np.maximum((series**2).sum(axis=0), np.finfo(np.float64).tiny)


def _remembering(white: np.ndarray, memory: float) -> np.ndarray:
    """Stationary series e_k = memory · e_{k−1} + √(1 − memory²) w_k of unit variance, one a column."""
    series = white.copy()
    for k in range(1, len(white)):
        series[k] = memory * series[k - 1] + np.sqrt(1.0 - memory**2) * white[k]
    return series


def _hinges(x: np.ndarray, kinks: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """max(x − kink, 0) without its part along the polynomials, normalised, one row a kink, (K, n)."""
    rows = np.maximum(x - kinks[:, None], 0.0)
    rows -= (rows @ powers) @ powers.T
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _two_lines(x: np.ndarray, y: np.ndarray, kink: float) -> tuple[np.ndarray, np.ndarray]:
    """Volume at the kink, slope below, change of slope; and the fitted volumes."""
    design = np.stack([np.ones_like(x), x - kink, np.maximum(x - kink, 0.0)], axis=1)
    solution = np.linalg.lstsq(design, y, rcond=None)[0]
    return solution, design @ solution

