"""Calibration of error bars: the errors that occur beside those that were announced, and how many lie within."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from toolkit.figures.plots import GREY, HEIGHT, MARKERS, PALETTE, log_axis


def calibration_plot(sets: Mapping[str, Mapping[str, Sequence[float]]]) -> go.Figure:
    """Left: RMS error against predicted σ, one point a bin; right: coverage. On the dashed lines error bars are right.

    sets : name -> rmv, rmse, eV/Å, expected, observed, as `analysis.calibration.Calibration` has them
    """
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.12)
    sizes = [1e3 * value for found in sets.values() for key in ("rmv", "rmse") for value in found[key] if value > 0.0]
    ends = [0.8 * min(sizes, default=1.0), 1.25 * max(sizes, default=10.0)]
    dashed = {"dash": "dash", "color": GREY, "width": 1.5}
    for column, line in ((1, ends), (2, [0.0, 100.0])):
        figure.add_trace(go.Scatter(x=line, y=line, mode="lines", line=dashed, showlegend=False, hoverinfo="skip"),
                         row=1, col=column)
    for k, (name, found) in enumerate(sets.items()):
        pairs = (([1e3 * v for v in found["rmv"]], [1e3 * v for v in found["rmse"]]),
                 ([100.0 * v for v in found["expected"]], [100.0 * v for v in found["observed"]]))
        for column, (x, y) in enumerate(pairs, start=1):
            figure.add_trace(go.Scatter(
                x=x, y=y, name=name, legendgroup=name, showlegend=column == 1, mode="lines+markers",
                marker={"color": PALETTE[k % len(PALETTE)], "symbol": MARKERS[k % len(MARKERS)], "size": 8},
                line={"width": 1.5}, hovertemplate="%{x:.3g}: %{y:.3g}<extra>" + name + "</extra>"), row=1, col=column)
    for axis in (figure.update_xaxes, figure.update_yaxes):
        axis(**log_axis(*ends), row=1, col=1)
        axis(range=[0.0, 102.0], row=1, col=2)
    figure.update_xaxes(title_text="predicted σ of a force component, meV/Å", row=1, col=1)
    figure.update_yaxes(title_text="RMS error of a force component, meV/Å", row=1, col=1)
    figure.update_xaxes(title_text="expected within the interval, %", row=1, col=2)
    figure.update_yaxes(title_text="found within the interval, %", row=1, col=2)
    return figure.update_layout(height=int(1.3 * HEIGHT), margin={"l": 60, "r": 20, "t": 40, "b": 50},
                                legend={"orientation": "h", "x": 0.0, "y": 1.02, "yanchor": "bottom"})
