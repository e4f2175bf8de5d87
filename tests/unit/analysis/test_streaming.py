"""Averages over streams: the same numbers whatever the pieces, error bars that cover, memory that does not grow."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.analysis.observables import observable_statistics
from toolkit.analysis.streaming import BlockSums
from toolkit.errors import DataError


def correlated(rng: np.random.Generator, memory: float, shape: tuple[int, int]) -> np.ndarray:
    """Rows x(t+1) = memory·x(t) + noise of variance 1."""
    series = rng.standard_normal(shape)
    for t in range(1, shape[1]):
        series[:, t] = memory * series[:, t - 1] + np.sqrt(1.0 - memory**2) * series[:, t]
    return series


@pytest.mark.parametrize("pieces", [1, 3, 19, 20, 21, 1000])
def test_blocks_stay_few_and_hold_everything(pieces):
    values = np.arange(2000.0)
    sums = BlockSums()
    for piece in np.array_split(values, pieces):
        sums.add(piece.sum(), len(piece))
    assert sums.count == 2000 and sums.mean() == pytest.approx(values.mean())
    assert min(pieces, 10) <= len(sums.blocks()) <= 20
    assert np.isnan(sums.stderr()) == (pieces == 1)


@pytest.mark.parametrize(("memory", "frames"), [(0.9, 4000), (0.98, 2000)])
def test_error_bars_cover_the_truth_although_samples_are_correlated(memory, frames):
    """Blocks of a tenth of the shorter series still remember each other."""
    scaled, naive = [], []
    for series in correlated(np.random.default_rng(1), memory, (300, frames)):
        found = observable_statistics(series[:, None])
        scaled.append(found.mean[0] / found.stderr[0])
        naive.append(found.mean[0] / (found.std[0] / np.sqrt(frames)))
    assert 0.85 < np.std(scaled) < 1.3
    assert np.std(naive) > 3.0  # what forgetting the correlation would claim


def test_statistics_do_not_depend_on_the_pieces_and_lose_no_digits():
    values = 1e6 + np.random.default_rng(2).standard_normal((5000, 2))
    whole = observable_statistics(values)
    cut = observable_statistics(values[first:first + 7] for first in range(0, 5000, 7))
    for found in (whole, cut):
        assert np.allclose(found.mean - 1e6, values.mean(axis=0) - 1e6, atol=1e-8)
        assert np.allclose(found.std, values.std(axis=0), rtol=1e-6)
        assert np.array_equal(found.minimum, values.min(axis=0)) and np.array_equal(found.maximum, values.max(axis=0))


@pytest.mark.parametrize(("values", "words"), [
    (np.zeros((0, 1)), "no frames"), (np.full((4, 1), np.nan), "not finite")])
def test_what_has_no_mean_is_refused(values, words):
    with pytest.raises(DataError, match=words):
        observable_statistics(values)
