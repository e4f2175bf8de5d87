"""Whether error bars are right: predicted standard deviations beside errors that are known. Arrays in, numbers out.

P values, each with an error and the standard deviation σ that was predicted for it, in one unit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import norm, spearmanr

from toolkit.errors import DataError

EXPECTED = np.array([0.5, 0.6827, 0.8, 0.9, 0.95, 0.99])
"""Parts of the errors that should lie within the central intervals of a normal distribution."""
BINS = 10
MIN_BIN = 20
"""Values in a bin, at least."""

Verdict = Literal["right", "wrong size", "no better than one σ"]


@dataclass(frozen=True)
class Calibration:
    """How well standard deviations describe errors. B bins of equally many values, sorted by σ; L coverage levels.

    z_std : √⟨(error/σ)²⟩, 1 when the size is right;  z_std_stderr : its standard error, over independent groups
    spearman : rank correlation of σ with the size of the error
    nll, nll_constant : mean −ln of the normal density, with σ and with one σ for all, the RMS error; lower is better
    ence : mean over bins of |RMV − RMSE| / RMV (Levi, Gispan, Giladi & Fetaya, Sensors 22, 5540 (2022))
    expected, observed : (L,), parts of the errors within the central interval
    rmv, rmse : (B,), root mean σ² and root mean squared error
    """

    n: int
    z_std: float
    z_std_stderr: float
    spearman: float
    nll: float
    nll_constant: float
    ence: float
    expected: np.ndarray
    observed: np.ndarray
    rmv: np.ndarray
    rmse: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers and lists."""
        return {name: np.asarray(value).tolist() for name, value in asdict(self).items()}

    def verdict(self, tolerance: float = 0.1, sigmas: float = 3.0) -> Verdict:
        """"right", "wrong size" when z_std is further from 1 than the tolerance and so many of its standard errors, or "no
        better than one σ" when the same σ for all, the RMS error, is as likely."""
        if abs(self.z_std - 1.0) > tolerance + sigmas * self.z_std_stderr:
            return "wrong size"
        return "right" if self.nll <= self.nll_constant else "no better than one σ"

    def is_calibrated(self) -> bool:
        """True when the verdict is "right"."""
        return self.verdict() == "right"


def calibration(errors: np.ndarray, std: np.ndarray, groups: np.ndarray | None = None) -> Calibration:
    """Compare errors (P, D) with their standard deviations (P,), those of one component of D; or both (P,).

    groups : (P,), which values belong together (the atoms of a frame); by default all are independent
    Errors that are NaN do not count. Raises DataError with fewer than two groups, or when a σ is not positive.
    """
    errors = errors.reshape(len(std), -1)
    known = np.isfinite(errors).all(axis=1)
    errors, std = errors[known], std[known]
    groups = np.arange(len(std)) if groups is None else groups[known]
    num_groups = len(np.unique(groups))
    if num_groups < 2 or not (std > 0.0).all():
        raise DataError(f"found {len(std)} labelled values in {num_groups} independent groups, the smallest σ "
                        f"{std.min(initial=np.inf):.3g}", "give two or more frames with labels, in which no σ is zero")
    z = errors / std[:, None]
    size = np.sqrt((errors**2).mean(axis=1))
    variance = np.full_like(std, size @ size / len(size))
    rmv, rmse = _bins(std, size)
    z_std, stderr = _rms_with_error((z**2).mean(axis=1), groups)
    half_widths = norm.ppf(0.5 + 0.5 * EXPECTED)
    return Calibration(
        n=errors.size, z_std=z_std, z_std_stderr=stderr, spearman=float(spearmanr(std, size).statistic),
        nll=_negative_log_likelihood(errors, std**2), nll_constant=_negative_log_likelihood(errors, variance),
        ence=float(np.mean(np.abs(rmv - rmse) / rmv)), expected=EXPECTED,
        observed=np.array([(np.abs(z) <= width).mean() for width in half_widths]), rmv=rmv, rmse=rmse)


def _rms_with_error(squares: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Root of the mean of (P,) values and its standard error, from the spread of whole groups of about equal size."""
    _, numbers = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(numbers, squares), np.bincount(numbers)
    mean = squares.mean()
    spread = np.sqrt(((sums - mean * counts)**2).sum() / max(len(counts) - 1, 1) * len(counts)) / counts.sum()
    return float(np.sqrt(mean)), float(0.5 * spread / np.sqrt(mean)) if mean > 0.0 else 0.0


def _negative_log_likelihood(errors: np.ndarray, variance: np.ndarray) -> float:
    return float(0.5 * np.mean(np.log(2.0 * np.pi * variance)[:, None] + errors**2 / variance[:, None]))


def _bins(std: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Root mean σ² and root mean squared error, (B,), in bins of equally many values sorted by σ."""
    parts = np.array_split(np.argsort(std, kind="stable"), max(1, min(BINS, len(std) // MIN_BIN)))
    return tuple(np.array([np.sqrt((values[part]**2).mean()) for part in parts]) for values in (std, size))
