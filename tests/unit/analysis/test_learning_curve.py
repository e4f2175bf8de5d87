"""Power laws through errors of training runs: the slope, and whether its error bar means what it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from toolkit.analysis.learning_curve import ONE_SIGMA, fit_power_law
from toolkit.errors import DataError

SIZES = np.array([50, 100, 200, 400, 950])
SLOPE, SCATTER, TRIALS = 0.6, 0.15, 600


def runs(generator: np.random.Generator, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and errors of so many runs of each size on a power law with a relative scatter."""
    sizes = np.repeat(SIZES, repeats)
    return sizes, 300.0 * sizes**-SLOPE * np.exp(generator.normal(0.0, SCATTER, len(sizes)))


def test_an_exact_power_law_is_found_exactly():
    law = fit_power_law(SIZES, 300.0 * SIZES**-SLOPE)
    assert (law.slope, np.exp(law.intercept)) == pytest.approx((SLOPE, 300.0))
    assert law.slope_stderr == pytest.approx(0.0, abs=1e-12) and law.error_source == "residuals"
    assert law.at(np.array([2000])) == pytest.approx(300.0 * 2000.0**-SLOPE)


@pytest.mark.parametrize(("repeats", "source", "degrees"), [(1, "residuals", 3), (2, "replicates", 5)])
def test_the_interval_holds_the_truth_in_two_of_three_experiments(repeats, source, degrees):
    generator = np.random.default_rng(11)
    laws = [fit_power_law(*runs(generator, repeats)) for _ in range(TRIALS)]
    assert {(law.error_source, law.degrees_of_freedom) for law in laws} == {(source, degrees)}
    hits = sum(low <= SLOPE <= high for low, high in (law.slope_interval() for law in laws))
    low, high = binom(TRIALS, ONE_SIGMA).interval(0.997)
    assert low <= hits <= high
    half_as_wide = sum(abs(law.slope - SLOPE) < 0.5 * (law.slope_interval()[1] - law.slope) for law in laws)
    assert half_as_wide < low  # the test would notice error bars that are too small
    variance = np.mean([law.slope_stderr**2 for law in laws])
    assert variance == pytest.approx(np.var([law.slope for law in laws]), rel=0.2)


def test_points_count_by_their_number_of_runs():
    sizes = np.array([100, 100, 100, 100, 200, 400])
    logs = np.log([2.0, 2.2, 1.8, 2.0, 1.0, 0.7])
    law = fit_power_law(sizes, np.exp(logs))
    slope, intercept = np.polyfit(-np.log(sizes), logs, 1)  # every run by itself is the same least squares
    assert (law.slope, law.intercept) == pytest.approx((slope, intercept))
    assert law.relative_stderr[1] == pytest.approx(2.0 * law.relative_stderr[0])


def test_a_bent_curve_is_called_bent_and_a_straight_one_is_not():
    generator = np.random.default_rng(5)
    sizes, errors = runs(generator, 3)
    assert fit_power_law(sizes, errors).misfit_p > 0.05
    bent = np.exp(0.4 * np.log(sizes / 200.0) ** 2)
    assert fit_power_law(sizes, errors * bent).misfit_p < 1e-3
    assert fit_power_law(*runs(generator, 1)).misfit_p is None


def test_too_little_is_refused_and_two_points_have_no_error_bar():
    law = fit_power_law(np.array([50, 100]), np.array([2.0, 1.0]))
    assert law.slope == pytest.approx(1.0) and np.isnan(law.slope_stderr) and law.error_source == "none"
    with pytest.raises(DataError, match="at least two"):
        fit_power_law(np.array([50, 50]), np.array([2.0, 1.0]))
    with pytest.raises(DataError, match="positive"):
        fit_power_law(np.array([50, 100]), np.array([2.0, np.nan]))
