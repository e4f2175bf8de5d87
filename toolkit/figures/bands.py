"""Curves with error bands: what most analyses of a trajectory show."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from toolkit.figures.plots import PALETTE, curves, outline

BAND_OPACITY = 0.25


def banded_curves(x: np.ndarray, ys: Mapping[str, tuple[np.ndarray, np.ndarray]], x_label: str,
                  y_label: str) -> go.Figure:
    """Several curves over one x, each in a band of one standard error; gaps where a value is not known.

    ys : name -> (values, standard errors), (T,); a standard error of NaN draws no band;  labels with their units
    """
    figure = curves(x, {name: values for name, (values, _) in ys.items()}, x_label, y_label)
    for i, (values, stderr) in enumerate(ys.values()):
        shown = outline(values)
        low, high = np.asarray(values) - np.nan_to_num(stderr), np.asarray(values) + np.nan_to_num(stderr)
        for part in _known(high[shown]):
            around = np.concatenate([np.asarray(x)[shown][part], np.asarray(x)[shown][part][::-1]])
            figure.add_trace(go.Scatter(x=around, y=np.concatenate([high[shown][part], low[shown][part][::-1]]),
                                        fill="toself", fillcolor=PALETTE[i % len(PALETTE)], opacity=BAND_OPACITY,
                                        line={"width": 0}, mode="lines", hoverinfo="skip", showlegend=False))
    return figure


def _known(values: np.ndarray) -> list[slice]:
    """Stretches of finite values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.isfinite(values), [False]]).astype(int)))
    return [slice(first, last) for first, last in edges.reshape(-1, 2)]
