"""Error bars against series whose correlation is known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.analysis.blocks import block_mean, correlated_mean, statistical_inefficiency
from toolkit.analysis.energy_drift import energy_drift
from toolkit.errors import DataError


def autoregressive(rng: np.random.Generator, memory: float, length: int) -> np.ndarray:
    """x(t+1) = memory·x(t) + noise, stationary with variance 1; its inefficiency is (1 + memory)/(1 − memory)."""
    noise = rng.standard_normal(length) * np.sqrt(1.0 - memory**2)
    series = np.empty(length)
    series[0] = rng.standard_normal()
    for t in range(1, length):
        series[t] = memory * series[t - 1] + noise[t]
    return series


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_inefficiency_of_an_autoregressive_series(memory):
    found = statistical_inefficiency(autoregressive(np.random.default_rng(1), memory, 200_000))
    assert found == pytest.approx((1.0 + memory) / (1.0 - memory), rel=0.1)


def coverage(memory: float, length: int, repeats: int = 500) -> tuple[float, float]:
    """How often the true mean lies within one standard error, and the scatter of the mean in standard errors."""
    rng = np.random.default_rng(2)
    estimates = [correlated_mean(autoregressive(rng, memory, length)) for _ in range(repeats)]
    scaled = np.asarray([e.mean / e.stderr for e in estimates])
    return float(np.mean(np.abs(scaled) < 1.0)), float(scaled.std())


@pytest.mark.parametrize(("memory", "length"), [(0.0, 400), (0.5, 400), (0.8, 1000), (0.9, 400)])
def test_two_error_bars_of_three_cover_the_truth(memory, length):
    inside, scatter = coverage(memory, length)  # 21 to 400 independent samples
    assert abs(inside - 0.683) < 3.0 * np.sqrt(0.683 * 0.317 / 500)
    assert 0.9 < scatter < 1.2


def test_forgetting_the_correlation_is_recognised():
    rng = np.random.default_rng(2)
    naive = [autoregressive(rng, 0.8, 1000).mean() * np.sqrt(1000) for _ in range(300)]
    assert np.mean(np.abs(naive) < 1.0) < 0.45


def test_slopes_and_their_errors():
    rng = np.random.default_rng(3)
    times = 2.0 * np.arange(3000)
    scaled, naive = [], []
    for _ in range(200):
        fluctuation = 1e-3 * autoregressive(rng, 0.8, 3000)
        drift = energy_drift(times, -17_000.0 + fluctuation + 5e-7 * times, num_atoms=21)
        expected = 5e-7 * 1e6 / 21
        scaled.append((drift.slope_meV_per_atom_per_ps - expected) / drift.stderr_meV_per_atom_per_ps)
        naive.append(drift)
    assert abs(np.mean(scaled)) < 3.0 / np.sqrt(200)
    assert 0.85 < np.std(scaled) < 1.15


def test_a_drift_below_a_thousandth_is_resolved_in_double_precision_and_lost_in_single():
    times = 5.0 * np.arange(20_001)  # 100 ps
    slope = 5e-4  # meV/atom/ps
    energies = -17_636.0 + 21 * slope * 1e-6 * times + 1e-5 * np.sin(0.1 * times)
    drift = energy_drift(times, energies, num_atoms=21)
    assert drift.slope_meV_per_atom_per_ps == pytest.approx(slope, rel=1e-3)
    assert drift.stderr_meV_per_atom_per_ps < 0.1 * slope
    single = energy_drift(times, energies.astype(np.float32), num_atoms=21)
    assert abs(single.slope_meV_per_atom_per_ps - slope) > 0.1 * slope


def test_vibrations_do_not_hide_a_slow_wandering_from_the_error_bar():
    """As in molecules at constant energy: the total energy rings with the fastest vibration and wanders for picoseconds."""
    rng, times = np.random.default_rng(8), np.arange(4096.0)
    scaled, naive = [], []
    for _ in range(100):
        wander = autoregressive(rng, 0.99, 4096)
        energies = 0.3 * wander + np.sqrt(2.0) * np.sin(1.3 * times + rng.uniform(0.0, 6.3))
        drift = energy_drift(times, energies, 1)
        scaled.append(drift.slope_meV_per_atom_per_ps / drift.stderr_meV_per_atom_per_ps)
        plain = drift.residual_rms_meV_per_atom / np.linalg.norm(1e-3 * (times - times.mean()))
        naive.append(drift.slope_meV_per_atom_per_ps / (plain * np.sqrt(statistical_inefficiency(energies))))
    assert 0.75 < np.std(scaled) < 1.35
    assert np.std(naive) > 2.5


def test_a_run_of_a_few_memory_times_is_not_told_as_certain():
    """The line takes with it what wanders slowly: 7 memory times leave residuals that are by far too small."""
    rng, times = np.random.default_rng(9), np.arange(140.0)
    drifts = [energy_drift(times, autoregressive(rng, np.exp(-1.0 / 20.0), 140), 1) for _ in range(600)]
    scatter = np.std([drift.slope_meV_per_atom_per_ps for drift in drifts])
    told = np.sqrt(np.mean([drift.stderr_meV_per_atom_per_ps**2 for drift in drifts]))
    assert 0.9 < scatter / told < 1.2  # 1.4 without what the line took


def test_exact_line_and_constant():
    times = np.arange(10.0)
    drift = energy_drift(times, 3.0 + 0.25 * times, num_atoms=2)
    assert drift.slope_meV_per_atom_per_ps == pytest.approx(0.25 / 2 * 1e6)
    assert drift.residual_rms_meV_per_atom == pytest.approx(0.0, abs=1e-6)
    assert energy_drift(times, np.ones(10), 2).slope_meV_per_atom_per_ps == 0.0


def test_blocks():
    values = np.random.default_rng(5).standard_normal((400, 3))
    mean, stderr = block_mean(values)
    assert np.abs(mean / stderr).max() < 3.5 and stderr == pytest.approx(np.full(3, 0.05), rel=0.15)
    assert np.isnan(block_mean(values[:1])[1]).all()


@pytest.mark.parametrize("series", [np.ones(3), np.ones((5, 2)), np.array([1.0, 2.0, np.nan, 3.0, 4.0])])
def test_series_without_an_answer_are_refused(series):
    with pytest.raises(DataError, match="expected at least 4"):
        correlated_mean(series)
    with pytest.raises(DataError):
        energy_drift(np.arange(float(len(series))), series, 1)


def test_times_must_increase_and_match():
    with pytest.raises(DataError, match="increasing"):
        energy_drift(np.array([0.0, 1.0, 1.0, 2.0]), np.ones(4), 1)
    with pytest.raises(DataError, match="5 times for 4"):
        energy_drift(np.arange(5.0), np.ones(4), 1)
