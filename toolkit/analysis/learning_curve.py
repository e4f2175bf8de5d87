"""How an error falls with the number of training frames: a power law, with an honest error bar on its exponent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import f as f_distribution
from scipy.stats import t as student_t

from toolkit.errors import DataError

ONE_SIGMA = 0.6827


@dataclass(frozen=True)
class PowerLaw:
    """y = e^intercept · n^(−slope), fitted to the logarithms.

    sizes, mean : (K,), numbers of frames and geometric means of y over the runs of each
    relative_stderr : (K,), standard error of ln(mean) from the scatter of repeated runs; NaN without repeats
    slope_stderr : NaN for two sizes without repeats, where nothing is left to judge by
    error_source : "replicates" (scatter of repeated runs, `degrees_of_freedom` of it), "residuals" (scatter about the
        line) or "none"
    misfit_p : how often points on a true power law would lie this far from their line or farther (F test against the
        replicates); a small number says that the curve is bent. None without replicates.
    """

    sizes: np.ndarray
    mean: np.ndarray
    relative_stderr: np.ndarray
    intercept: float
    slope: float
    slope_stderr: float
    error_source: str
    degrees_of_freedom: int
    misfit_p: float | None

    def at(self, sizes: np.ndarray) -> np.ndarray:
        """The fitted y at numbers of frames, of the same shape."""
        return np.exp(self.intercept) * np.asarray(sizes, dtype=np.float64) ** -self.slope

    def slope_interval(self, confidence: float = ONE_SIGMA) -> tuple[float, float]:
        """Where the slope is with this probability: Student's t, as the scatter itself is known from few runs only."""
        half = self.slope_stderr * float(student_t.ppf(0.5 + 0.5 * confidence, max(self.degrees_of_freedom, 1)))
        return self.slope - half, self.slope + half


def fit_power_law(sizes: np.ndarray, values: np.ndarray) -> PowerLaw:
    """Weighted least squares of ln y = a − b ln n; the weight of a size is its number of runs.

    Runs of one size are replicates. They share one relative scatter, pooled over the sizes: two or three runs say too
    little about the scatter of their own size to weight it by.

    sizes, values : (P,), one entry a run, both positive
    Raises DataError for fewer than two sizes and for values that are not positive.
    """
    sizes, values = np.asarray(sizes, dtype=np.float64), np.asarray(values, dtype=np.float64)
    usable = sizes.shape == values.shape and sizes.ndim == 1
    if not usable or not (np.isfinite(values) & (values > 0.0) & (sizes > 0.0)).all():
        raise DataError(f"found sizes {sizes.tolist()} and errors {values.tolist()}, expected as many positive numbers")
    distinct, group, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    if len(distinct) < 2:
        raise DataError(f"found {len(distinct)} training set sizes, expected at least two for a slope")
    logs = np.log(values)
    means = np.bincount(group, weights=logs) / counts
    within = float(np.square(logs - means[group]).sum())
    design = np.stack([np.ones(len(distinct)), -np.log(distinct)], axis=1)
    inverse = np.linalg.inv(design.T @ (counts[:, None] * design))
    intercept, slope = inverse @ design.T @ (counts * means)
    about_line = float((counts * np.square(means - design @ (intercept, slope))).sum())
    repeats, freedom = len(sizes) - len(distinct), len(distinct) - 2
    source, degrees, sum_of_squares = (("replicates", repeats, within) if repeats else
                                       ("residuals", freedom, about_line) if freedom else ("none", 0, np.nan))
    variance = sum_of_squares / max(degrees, 1)
    misfit = about_line / freedom / variance if repeats and freedom and variance > 0.0 else None
    return PowerLaw(
        sizes=distinct, mean=np.exp(means), intercept=float(intercept), slope=float(slope),
        relative_stderr=np.sqrt(variance / counts) if repeats else np.full(len(distinct), np.nan),
        slope_stderr=float(np.sqrt(variance * inverse[1, 1])), error_source=source, degrees_of_freedom=degrees,
        misfit_p=None if misfit is None else float(f_distribution.sf(misfit, freedom, repeats)))
