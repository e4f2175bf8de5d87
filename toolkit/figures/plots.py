"""Plotly figures from arrays. Every axis carries its unit; colours: Okabe and Ito, safe for colour-blind eyes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#7F8C99"
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW, GREY)
MARKERS = ("circle", "x-thin-open", "diamond", "triangle-up", "square", "cross", "star", "hexagon")
HEIGHT = 320
MAX_LOG_TICKS = 12
MAX_POINTS = 2000
"""Longer curves travel to the browser as `outline`, about two points for each of its pixels."""


def histogram(values: np.ndarray, x_label: str, color: str = BLUE, bins: int = 60) -> go.Figure:
    """How often values occur; values that are not finite are left out. x_label : with its unit."""
    finite = np.asarray(values, dtype=float).ravel()
    finite = finite[np.isfinite(finite)]
    counts, edges = np.histogram(finite, bins=bins) if finite.size else (np.zeros(1), np.array([0.0, 1.0]))
    figure = go.Figure(go.Bar(x=0.5 * (edges[1:] + edges[:-1]), y=counts, width=np.diff(edges), marker_color=color,
                              hovertemplate="%{x:.4g}: %{y}<extra></extra>"))
    return _finish(figure, x_label, "count")


def bar_chart(values: Mapping[str, float], x_label: str, y_label: str, color: str = BLUE) -> go.Figure:
    """One bar for each name."""
    figure = go.Figure(go.Bar(x=list(values), y=list(values.values()), marker_color=color))
    return _finish(figure, x_label, y_label)


def curve(x: np.ndarray, y: np.ndarray, x_label: str, y_label: str, color: str = BLUE) -> go.Figure:
    """One curve. x, y : arrays, (T,); labels with their units."""
    return curves(x, {"": y}, x_label, y_label, (color,))


def curves(x: np.ndarray, ys: Mapping[str, np.ndarray], x_label: str, y_label: str,
           colors: Sequence[str] = PALETTE) -> go.Figure:
    """Several curves over one x, with a legend when there is more than one. ys : name -> array, (T,)."""
    figure = go.Figure()
    for i, (name, y) in enumerate(ys.items()):
        shown = outline(y)
        figure.add_trace(_line(np.asarray(x)[shown], np.asarray(y)[shown], name, colors[i % len(colors)]))
    figure.update_layout(showlegend=len(ys) > 1)
    return _finish(figure, x_label, y_label)


def outline(values: np.ndarray, most: int = MAX_POINTS) -> np.ndarray:
    """Places of the values whose line looks like that of all: both ends, the smallest and the largest of each stretch.

    values : (T,), in which NaN leaves a gap. Returns at most so many places, rising; all where there are no more.
    """
    values = np.asarray(values, dtype=float)
    if len(values) <= most:
        return np.arange(len(values))
    stretch = -(-len(values) // (most // 2 - 1))
    rows = np.pad(values, (0, -len(values) % stretch), constant_values=np.nan).reshape(-1, stretch)
    starts = stretch * np.arange(len(rows))
    lowest = starts + np.where(np.isnan(rows), np.inf, rows).argmin(axis=1)
    highest = starts + np.where(np.isnan(rows), -np.inf, rows).argmax(axis=1)
    return np.unique(np.concatenate([[0], lowest, highest, [len(values) - 1]]))


def with_reference(figure: go.Figure, value: float, name: str) -> go.Figure:
    """Add a dashed horizontal line that says what would be expected, and a legend for it."""
    x = figure.data[0].x
    dashed = {"dash": "dash", "color": VERMILION, "width": 2}
    figure.add_trace(go.Scatter(x=[x[0], x[-1]], y=[value, value], name=name, mode="lines", line=dashed))
    return figure.update_layout(showlegend=True)


def agreement(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], x_label: str, y_label: str,
              colors: Sequence[str] = PALETTE) -> go.Figure:
    """Found against expected values, one colour and one marker a name; points on the dashed diagonal agree.

    pairs : name -> (expected, found), arrays of one shape
    """
    largest = max((float(np.abs(part).max()) for pair in pairs.values() for part in pair if part.size), default=0.0)
    limit = 1.08 * largest or 1.0
    ends = [-limit, limit]
    figure = go.Figure(go.Scatter(x=ends, y=ends, mode="lines", showlegend=False, hoverinfo="skip",
                                  line={"dash": "dash", "color": GREY, "width": 1.5}))
    for i, (name, (expected, found)) in enumerate(pairs.items()):
        shown = slice(None, None, max(1, -(-expected.size // MAX_POINTS)))
        marker = {"color": colors[i % len(colors)], "symbol": MARKERS[i % len(MARKERS)], "size": 8}
        figure.add_trace(go.Scatter(x=expected.ravel()[shown], y=found.ravel()[shown], name=name, mode="markers",
                                    marker=marker, hovertemplate="%{x:.4g}, %{y:.4g}<extra>" + name + "</extra>"))
    figure = _finish(figure, x_label, y_label)
    figure.update_xaxes(range=ends, zeroline=True)
    return figure.update_yaxes(range=ends, zeroline=True)


def _line(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, name: str, color: str) -> go.Scatter:
    few = len(x) < 40
    return go.Scatter(x=x, y=y, name=name, mode="lines+markers" if few else "lines", line={"color": color, "width": 2},
                      hovertemplate=f"%{{x:.5g}}: %{{y:.5g}}<extra>{name}</extra>")


def log_axis(low: float, high: float) -> dict[str, Any]:
    """A logarithmic axis from `low` to `high` (positive) with ticks at 1, 2 and 5 times powers of ten, as many as have room."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = next((steps for steps in ((1, 2, 5), (1, 3), (1,)) if len(steps) * len(decades) <= MAX_LOG_TICKS), (1,))
    ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
    return {"type": "log", "autorange": False, "range": [math.log10(low), math.log10(high)], "tickvals": ticks,
            "ticktext": [f"{tick:g}" for tick in ticks]}


def _finish(figure: go.Figure, x_label: str, y_label: str) -> go.Figure:
    figure.update_layout(height=HEIGHT, margin={"l": 60, "r": 20, "t": 30, "b": 50}, bargap=0.05,
                         legend={"orientation": "h", "x": 0.0, "y": 1.02, "yanchor": "bottom"})
    figure.update_xaxes(title_text=x_label)
    figure.update_yaxes(title_text=y_label)
    return figure
