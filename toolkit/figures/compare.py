"""Models beside each other: errors with error bars, and error against time. One colour and one marker a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import plotly.graph_objects as go

from toolkit.figures.plots import GREY, HEIGHT, MARKERS, PALETTE, log_axis

MARGIN = {"l": 60, "r": 20, "t": 40, "b": 50}
SOLID_MARKERS = tuple(marker for marker in MARKERS if not marker.endswith("-open"))
LEGEND = {"orientation": "h", "x": 0.0, "y": 1.02, "yanchor": "bottom"}
"""Above the figure, on the left."""


@dataclass(frozen=True)
class Point:
    """A model on the plane of cost and error: time of a step, ms, with its quartiles, and error with standard error."""

    ms: float
    ms_low: float
    ms_high: float
    error: float
    stderr: float | None


def error_bars(models: Mapping[str, Mapping[str, tuple[float, float | None]]], y_label: str) -> go.Figure:
    """Groups of bars with standard errors, one bar a model in each.

    models : label -> group -> (error, standard error)
    """
    figure = go.Figure()
    for number, (label, groups) in enumerate(models.items()):
        errors = [error for error, _ in groups.values()]
        bars = [stderr or 0.0 for _, stderr in groups.values()]
        figure.add_trace(go.Bar(x=list(groups), y=errors, name=label, error_y={"type": "data", "array": bars, "color": GREY},
                                marker_color=PALETTE[number % len(PALETTE)],
                                hovertemplate=f"%{{x}}: %{{y:.4g}} ± %{{error_y.array:.2g}}<extra>{label}</extra>"))
    figure.update_layout(barmode="group", height=HEIGHT, margin=MARGIN, legend=LEGEND, showlegend=True)
    figure.update_xaxes(title_text="atoms")
    return figure.update_yaxes(title_text=y_label, rangemode="tozero")


def pareto(points: Mapping[str, Point], x_label: str, y_label: str) -> go.Figure:
    """Error against time of a step on logarithmic axes, one point with both error bars a model.

    Down is more accurate, left is faster; a point with none below it on its left is worth its price.
    """
    figure = go.Figure()
    for number, (label, point) in enumerate(points.items()):
        symbol = SOLID_MARKERS[number % len(SOLID_MARKERS)]
        marker = {"color": PALETTE[number % len(PALETTE)], "symbol": symbol, "size": 12}
        figure.add_trace(go.Scatter(
            x=[point.ms], y=[point.error], name=label, mode="markers", marker=marker,
            error_x={"type": "data", "array": [point.ms_high - point.ms], "arrayminus": [point.ms - point.ms_low]},
            error_y={"type": "data", "array": [point.stderr or 0.0]},
            hovertemplate=f"%{{x:.3g}} ms, %{{y:.4g}}<extra>{label}</extra>"))
    figure.update_layout(height=HEIGHT, margin=MARGIN, legend=LEGEND, showlegend=True)
    for update, label, values in ((figure.update_xaxes, x_label, [x for p in points.values() for x in (p.ms_low, p.ms, p.ms_high)]),
                                  (figure.update_yaxes, y_label, [p.error for p in points.values()])):
        update(title_text=label, **log_axis(0.5 * min(value for value in values if value > 0.0), 2.0 * max(values)))
    return figure
