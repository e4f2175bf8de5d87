"""T_g from V(T): found with an honest error bar where there is a kink, refused where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.analysis.glass_transition import glass_transition
from toolkit.errors import DataError

TEMPERATURES = np.linspace(2000.0, 300.0, 60)


def volumes(kink_K: float, change: float, noise: float, seed: int, memory: float = 0.0) -> np.ndarray:
    """Two lines with slopes 0.3 and 0.3 + change, Å³/K, and noise that remembers the last point."""
    generator = np.random.default_rng(seed)
    noises = np.zeros(len(TEMPERATURES))
    for k, fresh in enumerate(generator.normal(0.0, noise * np.sqrt(1.0 - memory**2), len(noises))):
        noises[k] = memory * noises[k - 1] + fresh
    return 8000.0 + 0.3 * TEMPERATURES + change * np.maximum(TEMPERATURES - kink_K, 0.0) + noises


def test_exact_lines_are_recovered():
    found = glass_transition(TEMPERATURES, volumes(950.0, 0.4, 0.0, 0))
    assert found.temperature_K == pytest.approx(950.0, abs=5.0)
    assert (found.slope_below, found.slope_above) == pytest.approx((0.3, 0.7), abs=0.01)
    assert found.at(np.array([300.0])) == pytest.approx(8090.0, abs=3.0)


@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_the_error_bar_is_the_scatter_of_repetitions(memory):
    found = [glass_transition(TEMPERATURES, volumes(950.0, 0.4, 5.0, seed, memory)) for seed in range(40)]
    temperatures = np.array([one.temperature_K for one in found])
    stderr = np.mean([one.stderr_K for one in found])
    assert abs(temperatures.mean() - 950.0) < 4.0 * temperatures.std() / np.sqrt(40)
    assert 0.6 < stderr / temperatures.std() < 1.6


def count_found(series):
    """Of how many series a T_g is given."""
    found = 0
    for one in series:
        try:
            found += glass_transition(TEMPERATURES, one).p_value <= 0.01
        except DataError:
            continue
    return found


@pytest.mark.parametrize(("memory", "at_most"), [(0.0, 3), (0.5, 5)])  # of 100, at a level of 1 %: more than 3 sigmas above
def test_a_straight_line_is_refused_as_often_as_promised(memory, at_most):
    assert count_found(volumes(950.0, 0.0, 8.0, seed, memory) for seed in range(100)) <= at_most


def test_kinks_beside_which_a_parabola_fails_are_kept():
    assert count_found(volumes(950.0, 0.4, 8.0, seed) for seed in range(40)) >= 39


@pytest.mark.parametrize("curvature", [2e-5, 1e-4])
def test_smooth_thermal_expansion_is_no_glass_transition(curvature):
    """A crystal that does not melt expands faster when hotter; two lines fit that better than one."""
    smooth = [volumes(950.0, 0.0, 4.0, seed) + curvature * TEMPERATURES**2 for seed in range(60)]
    assert count_found(smooth) <= 3
    with pytest.raises(DataError, match="a parabola does as well"):
        glass_transition(TEMPERATURES, smooth[0])


@pytest.mark.parametrize(("series", "message"), [
    (volumes(950.0, 0.0, 8.0, 1), "no kink"), (volumes(950.0, -0.4, 4.0, 1), "crystallisation"),
    (np.full(60, np.nan), "finite"), (np.ones(3), "one length")])
def test_what_is_no_glass_transition_is_refused(series, message):
    with pytest.raises(DataError, match=message):
        glass_transition(TEMPERATURES, series)
