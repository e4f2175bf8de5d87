"""Figures of a comparison: every axis has its unit, error bars are drawn, points stay inside logarithmic axes."""

from __future__ import annotations

import numpy as np

from toolkit.figures.compare import Point, error_bars, pareto


def test_points_and_ticks_lie_within_the_axes() -> None:
    points = {"slow": Point(80.0, 75.0, 90.0, 3.0, 0.1), "fast": Point(2.5, 2.4, 2.6, 40.0, None)}
    figure = pareto(points, "time, ms", "force MAE, meV/Å")
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("time, ms", "force MAE, meV/Å")
    np.testing.assert_allclose(10.0 ** np.array(figure.layout.xaxis.range), [1.2, 180.0])
    assert list(figure.layout.xaxis.tickvals) == [2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
    assert list(figure.layout.yaxis.tickvals) == [2.0, 5.0, 10.0, 20.0, 50.0]
    slow, fast = figure.data
    assert (slow.error_x.array[0], slow.error_x.arrayminus[0], slow.error_y.array[0]) == (10.0, 5.0, 0.1)
    assert fast.error_y.array[0] == 0.0 and slow.marker.symbol != fast.marker.symbol


def test_every_model_has_a_bar_in_every_group() -> None:
    figure = error_bars({"a": {"all": (3.0, 0.1), "H": (2.0, None)}, "b": {"all": (4.0, 0.2), "H": (5.0, 0.3)}},
                        "force MAE, meV/Å")
    assert [list(bar.y) for bar in figure.data] == [[3.0, 2.0], [4.0, 5.0]]
    assert list(figure.data[0].error_y.array) == [0.1, 0.0] and figure.layout.yaxis.title.text == "force MAE, meV/Å"
    assert figure.data[0].marker.color != figure.data[1].marker.color
