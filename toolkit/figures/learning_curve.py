"""Errors against the number of training frames, with the power laws fitted to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from toolkit.figures.plots import HEIGHT, MARKERS, PALETTE


@dataclass(frozen=True)
class LearningCurve:
    """Points and fitted line, (K,) each; `stderr` is None where a point is a single run."""

    num_train: Sequence[float]
    error: Sequence[float]
    stderr: Sequence[float] | None
    fitted: Sequence[float]


def learning_curves(curves: Mapping[str, LearningCurve], y_label: str) -> go.Figure:
    """Points with error bars and fitted lines on two logarithmic axes, one colour and marker a name.

    y_label : what the error is, with its unit
    """
    figure = go.Figure()
    for k, (name, curve) in enumerate(curves.items()):
        color = PALETTE[k % len(PALETTE)]
        bars = None if curve.stderr is None else {"type": "data", "array": curve.stderr}
        marker = {"color": color, "symbol": MARKERS[k % len(MARKERS)], "size": 9}
        figure.add_trace(go.Scatter(x=curve.num_train, y=curve.fitted, mode="lines", showlegend=False, hoverinfo="skip",
                                    legendgroup=name, line={"color": color, "width": 1.5, "dash": "dash"}))
        figure.add_trace(go.Scatter(x=curve.num_train, y=curve.error, name=name, mode="markers", legendgroup=name,
                                    error_y=bars, marker=marker,
                                    hovertemplate=f"%{{x}} frames: %{{y:.4g}}<extra>{name}</extra>"))
    ticks = sorted({size for curve in curves.values() for size in curve.num_train})
    figure.update_xaxes(title_text="training frames", type="log", tickvals=ticks, ticktext=[f"{n:g}" for n in ticks])
    figure.update_yaxes(title_text=y_label, type="log", tickformat="~g", nticks=8)
    return figure.update_layout(height=int(1.3 * HEIGHT), margin={"l": 60, "r": 20, "t": 30, "b": 50},
                                legend={"orientation": "h", "x": 0.0, "y": 1.02, "yanchor": "bottom"})
