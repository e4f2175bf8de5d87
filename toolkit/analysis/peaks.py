"""Peaks of a spectrum, located between the points of its axis."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.signal import find_peaks, peak_widths

from toolkit.errors import DataError

MIN_PROMINENCE = 0.02
"""Of the highest point: smaller bumps are left out."""
MIN_STDERRS = 3.0
SPIKE = 1e-6
"""A neighbour lower than this times a peak does not help to locate it."""


@dataclass(frozen=True)
class SpectrumPeak:
    """A maximum, its height, its full width at half prominence, and the area between the minima at its sides."""

    frequency_cm1: float
    height: float
    width_cm1: float
    area: float

    def to_dict(self) -> dict[str, float]:
        """As plain numbers."""
        return asdict(self)


def spectrum_peaks(frequency_cm1: np.ndarray, values: np.ndarray, stderr: np.ndarray | None = None,
                   min_prominence: float = MIN_PROMINENCE) -> list[SpectrumPeak]:
    """Peaks in the order of their frequency, at the vertex of a parabola through the logarithm of each upper half.

    That is exact for a Gaussian line and within 0.02 points for a pure tone under a Hann window, and it averages over
    the noise of a broad line. Where the upper half has no vertex, its centre of mass counts.

    frequency_cm1, values : (F,), evenly spaced;  stderr : (F,), peaks must rise by three of these (NaN: not known)
    min_prominence : of the highest value
    Raises DataError for values that are negative or not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape != np.shape(frequency_cm1) or not np.isfinite(values).all() or (values < 0.0).any():
        raise DataError(f"found a spectrum of shape {values.shape}, expected that of its axis, finite and not negative")
    padded = np.pad(values, 1)  # so that the ends may be peaks
    noise = np.zeros_like(padded) if stderr is None else np.pad(np.nan_to_num(stderr), 1)
    least = max(min_prominence * values.max(), np.finfo(np.float64).tiny)
    tops, _ = find_peaks(padded, prominence=np.maximum(least, MIN_STDERRS * noise))
    if not len(tops):
        return []
    widths, _, left, right = peak_widths(padded, tops)
    minima = [int(a + np.argmin(padded[a:b])) for a, b in zip(tops[:-1], tops[1:], strict=True)]
    borders = zip([0, *minima], [*minima, len(padded)], strict=True)
    step = float(frequency_cm1[1] - frequency_cm1[0])
    places = [_vertex(padded, top, a, b) for top, a, b in zip(tops, left, right, strict=True)]
    return [SpectrumPeak(float(frequency_cm1[0] + (place - 1.0) * step), float(padded[top]), float(width * step),
                         float(padded[a:b].sum() * step))
            for place, top, width, (a, b) in zip(places, tops, widths, borders, strict=True)]


def _vertex(values: np.ndarray, top: int, left: float, right: float) -> float:
    """Index, between the points, of the maximum of the peak that is above half prominence from left to right."""
    points = np.arange(min(int(np.ceil(left)), top - 1), max(int(right), top + 1) + 1)
    points = points[values[points] > SPIKE * values[top]]
    if len(points) > 2:
        curvature, slope, _ = np.polyfit(points - top, np.log(values[points]), 2, w=values[points] / values[top])
        if curvature < 0.0 and left <= top - 0.5 * slope / curvature <= right:
            return top - 0.5 * slope / curvature
    return float((points * values[points]).sum() / values[points].sum())
