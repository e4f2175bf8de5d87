"""The judge of error bars finds honest ones right, and refuses those of wrong size, of wrong place, or of no use."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.analysis.calibration import EXPECTED, calibration
from toolkit.errors import DataError

RNG = np.random.default_rng(3)
STD = np.exp(RNG.normal(-3.0, 0.6, 6000))
NEARLY_ONE = np.linspace(1.0, 1.001, 6000)
ERRORS = STD[:, None] * RNG.normal(size=(6000, 3))


def test_honest_error_bars_are_found_right():
    found = calibration(ERRORS, STD)
    assert abs(found.z_std - 1.0) < 3.0 * found.z_std_stderr < 0.02
    assert (np.abs(found.observed - EXPECTED) < 3.0 * np.sqrt(EXPECTED * (1.0 - EXPECTED) / ERRORS.size)).all()
    assert found.ence < 0.05 and found.spearman > 0.6 and found.nll < found.nll_constant - 0.1
    assert np.abs(found.rmse / found.rmv - 1.0).max() < 0.1 and found.rmv[-1] > 4.0 * found.rmv[0]
    assert found.is_calibrated()


@pytest.mark.parametrize("wrong", [2.0 * STD, 0.5 * STD, RNG.permutation(STD), STD[::-1] ** -1 * 1e-3],
                         ids=["too large", "too small", "shuffled", "unrelated"])
def test_wrong_error_bars_are_refused(wrong):
    assert not calibration(ERRORS, wrong).is_calibrated()


def test_the_log_likelihood_is_that_of_the_normal_distribution():
    found = calibration(np.array([[0.1], [-0.3]]), np.array([0.2, 0.4]))
    by_hand = np.mean([0.5 * np.log(2.0 * np.pi * s**2) + 0.5 * (e / s) ** 2 for e, s in ((0.1, 0.2), (0.3, 0.4))])
    assert found.nll == pytest.approx(by_hand, rel=1e-12)
    assert found.nll_constant == pytest.approx(0.5 * np.log(2.0 * np.pi * 0.05) + 0.5, rel=1e-12)


def test_the_standard_error_allows_for_frames_whose_errors_belong_together():
    frames = np.repeat(np.arange(300), 20)
    scatter = [calibration(np.repeat(RNG.normal(size=300), 20), NEARLY_ONE, frames) for _ in range(60)]
    spread = np.std([found.z_std for found in scatter], ddof=1)
    assert np.mean([found.z_std_stderr for found in scatter]) == pytest.approx(spread, rel=3.0 / np.sqrt(2.0 * 60))
    assert calibration(np.repeat(RNG.normal(size=300), 20), NEARLY_ONE).z_std_stderr < 0.5 * spread


def test_missing_labels_do_not_count_and_a_sigma_of_zero_is_refused():
    holes = ERRORS.copy()
    holes[::3, 1] = np.nan
    assert calibration(holes, STD).n == 12000
    with pytest.raises(DataError, match="found 0 labelled values"):
        calibration(np.full((5, 3), np.nan), np.ones(5))
    with pytest.raises(DataError, match="no σ is zero"):
        calibration(ERRORS[:3], np.array([0.1, 0.0, 0.1]))


def test_one_frame_has_no_verdict():
    with pytest.raises(DataError, match="in 1 independent groups"):
        calibration(ERRORS[:50], STD[:50], np.zeros(50))
