"""Figures of a melt and its quench: volume against temperature, with the lines of glass and liquid."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from toolkit.figures.plots import MARKERS, PALETTE, VERMILION, curves


def volume_against_temperature(runs: Mapping[str, tuple[np.ndarray, np.ndarray]],
                               fit: tuple[np.ndarray, np.ndarray] | None = None,
                               kink_K: float | None = None) -> go.Figure:
    """Points of each run, the two lines, and where they meet.

    runs : name -> (temperature, K, volume, Å³/atom), (n,);  fit : the same of the lines;  kink_K : glass transition
    """
    figure = curves(np.zeros(0), {}, "temperature, K", "volume, Å³/atom")
    for i, (name, (temperature, volume)) in enumerate(runs.items()):
        marker = {"color": PALETTE[i % len(PALETTE)], "symbol": MARKERS[i % len(MARKERS)], "size": 6}
        figure.add_trace(go.Scatter(x=temperature, y=volume, name=name, mode="markers", marker=marker))
    if fit is not None:
        order = np.argsort(fit[0])
        line = {"color": VERMILION, "width": 2}
        figure.add_trace(go.Scatter(x=fit[0][order], y=fit[1][order], name="two lines", mode="lines", line=line))
    if kink_K is not None:
        figure.add_vline(x=kink_K, line={"dash": "dash", "color": VERMILION})
    return figure.update_layout(showlegend=True)
