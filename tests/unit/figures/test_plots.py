"""Figures carry their numbers and their units."""

from __future__ import annotations

import numpy as np

from toolkit.figures.plots import (MAX_POINTS, PALETTE, agreement, bar_chart, curves, histogram, log_axis, outline,
                                   with_reference)


def test_histogram_counts_finite_values_only() -> None:
    figure = histogram(np.array([0.0, 1.0, 1.0, np.nan, np.inf]), "force, eV/Å", bins=2)
    assert figure.data[0].y.tolist() == [1, 2] and figure.layout.xaxis.title.text == "force, eV/Å"
    assert histogram(np.array([]), "force, eV/Å").data[0].y.tolist() == [0.0]


def test_curves_are_thinned_and_labelled() -> None:
    x = np.arange(3 * MAX_POINTS + 1)
    figure = curves(x, {"potential": x, "total": -x}, "time, fs", "energy, eV")
    assert len(figure.data) == 2 and len(figure.data[0].x) <= MAX_POINTS
    assert np.array_equal(figure.data[1].y, -np.asarray(figure.data[1].x))
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("time, fs", "energy, eV")
    assert [line.line.color for line in figure.data] == list(PALETTE[:2])


def test_an_outline_keeps_ends_peaks_and_gaps() -> None:
    values = np.random.default_rng(0).normal(size=20 * MAX_POINTS + 7)
    values[[12_345, 20_001]] = 50.0, -50.0
    values[30_000:31_000] = np.nan
    shown = outline(values)
    assert 0.9 * MAX_POINTS < len(shown) <= MAX_POINTS and np.all(np.diff(shown) > 0)
    assert {0, 12_345, 20_001, len(values) - 1} <= set(shown.tolist()) and np.isnan(values[shown]).any()
    assert np.array_equal(outline(values[:MAX_POINTS]), np.arange(MAX_POINTS))


def test_reference_line_says_what_it_is() -> None:
    figure = curves(np.arange(3), {"": np.arange(3)}, "time, fs", "temperature, K")
    figure = with_reference(figure, 300.0, "bath, 300 K")
    assert figure.data[1].y == (300.0, 300.0) and figure.data[1].x == (0, 2) and figure.data[1].name == "bath, 300 K"


def test_agreement_has_a_diagonal_and_equal_axes() -> None:
    values = np.array([[-2.0, 1.0], [0.5, 0.0]])
    figure = agreement({"right": (values, values), "wrong": (values, -values)}, "expected", "found")
    diagonal, right, wrong = figure.data
    assert diagonal.x == diagonal.y and diagonal.x[1] > 2.0
    assert right.x.tolist() == right.y.tolist() == [-2.0, 1.0, 0.5, 0.0] and wrong.y.tolist() == [2.0, -1.0, -0.5, 0.0]
    assert figure.layout.xaxis.range == figure.layout.yaxis.range == diagonal.x
    assert right.marker.color != wrong.marker.color and right.marker.symbol != wrong.marker.symbol
    assert agreement({"none": (np.zeros(2), np.zeros(2))}, "x", "y").layout.xaxis.range == (-1.0, 1.0)


def test_bar_chart_has_one_bar_a_name() -> None:
    figure = bar_chart({"C": 9, "H": 8}, "element", "count")
    assert figure.data[0].x == ("C", "H") and figure.data[0].y == (9, 8)


def test_ticks_of_a_logarithmic_axis_have_room() -> None:
    assert log_axis(0.06, 1.5)["ticktext"] == ["0.1", "0.2", "0.5", "1"]
    for low, high in ((0.9, 1.6), (1e-5, 1e-2), (1e-9, 1e6)):
        axis = log_axis(low, high)
        assert 1 <= len(axis["tickvals"]) <= 16 and all(low <= tick <= high for tick in axis["tickvals"])
        np.testing.assert_allclose(10.0 ** np.array(axis["range"]), [low, high])
