"""Distances of a simulation against those of reference frames, and how sure a counted fraction is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from toolkit.analysis.distance_error import ReferenceDistances, distance_error
from toolkit.analysis.proportions import wilson_interval
from toolkit.analysis.rdf import radial_distribution
from toolkit.errors import DataError

NITROGEN = np.array([7, 7])


def pairs(lengths: np.ndarray) -> np.ndarray:
    """Frames (T, 2, 3) of a diatomic with these bond lengths, Å."""
    frames = np.zeros((len(lengths), 2, 3))
    frames[:, 1, 2] = lengths
    return frames


def error_of(lengths: np.ndarray, reference: ReferenceDistances) -> float:
    found = radial_distribution(iter(np.array_split(pairs(lengths), 7)), NITROGEN, None, reference.r_max_A, 0.05)
    return distance_error(found, reference.distribution)


def test_equal_distributions_have_no_error_and_disjoint_ones_two():
    reference = ReferenceDistances(pairs(np.full(20, 1.22)), NITROGEN)
    assert error_of(np.full(7, 1.22), reference) == pytest.approx(0.0, abs=1e-12) == reference.noise
    assert error_of(np.full(7, 1.42), reference) == pytest.approx(2.0)
    assert error_of(np.array([1.22, 1.22, 1.22, 1.42, 1.42, 1.42, 1.42, 1.22]), reference) == pytest.approx(1.0)
    assert error_of(np.array([1.22, 8.0] * 4), reference) == pytest.approx(1.0)  # beyond the last bin, not lost


def test_a_shifted_gaussian_has_the_error_of_the_integral():
    generator, sigma, shift = np.random.default_rng(3), 0.3, 0.25
    reference = ReferenceDistances(pairs(generator.normal(2.0, sigma, 20_000)), NITROGEN)
    exact = 2.0 * (2.0 * norm.cdf(shift / (2.0 * sigma)) - 1.0)
    found = error_of(generator.normal(2.0 + shift, sigma, 200_000), reference)
    assert found == pytest.approx(exact, abs=2 * reference.noise)


def test_the_noise_is_what_an_exact_model_would_be_blamed_for():
    generator = np.random.default_rng(4)
    many = generator.normal(2.0, 0.3, 200_000)
    references = [ReferenceDistances(pairs(generator.normal(2.0, 0.3, 400)), NITROGEN) for _ in range(20)]
    blamed = np.mean([error_of(many, reference) for reference in references])
    assert np.mean([reference.noise for reference in references]) == pytest.approx(blamed, rel=0.15) and blamed > 0.05


def test_what_cannot_be_compared_is_refused():
    reference = ReferenceDistances(pairs(np.full(8, 1.2)), NITROGEN)
    with pytest.raises(DataError, match="different bins"):
        distance_error(radial_distribution(pairs(np.full(8, 1.2)), NITROGEN, None, 1.0, 0.05), reference.distribution)
    with pytest.raises(DataError, match="found 3 reference frames"):
        ReferenceDistances(pairs(np.full(3, 1.2)), NITROGEN)


@pytest.mark.parametrize(("successes", "trials"), [(0, 64), (1, 64), (32, 64), (64, 64), (3, 5)])
def test_the_interval_is_wilson_s(successes, trials):
    z, p = norm.ppf(0.975), successes / trials
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials**2))
    assert wilson_interval(successes, trials) == pytest.approx((centre - half, centre + half), abs=1e-9)
