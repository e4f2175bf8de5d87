"""Figures beside the equations of the Theory page."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from toolkit.figures.plots import BLUE, HEIGHT, VERMILION

SIGNS = [[0.0, VERMILION], [0.5, "#F5F5F5"], [1.0, BLUE]]


def lobes(directions: np.ndarray, values: np.ndarray) -> go.Figure:
    """A function on the sphere as a surface whose distance from the origin is |value|; blue positive, orange negative.

    directions : (P, Q, 3), unit vectors on a grid of angles;  values : (P, Q)
    """
    x, y, z = np.moveaxis(np.abs(values)[..., None] * directions, -1, 0)
    limit = float(np.abs(values).max())
    figure = go.Figure(go.Surface(x=x, y=y, z=z, surfacecolor=values, cmin=-limit, cmax=limit, colorscale=SIGNS,
                                  showscale=False, hoverinfo="skip"))
    axis = {"range": [-limit, limit], "showticklabels": False, "title": {"text": ""}, "showbackground": False}
    return figure.update_layout(height=HEIGHT + 40, margin={"l": 0, "r": 0, "t": 0, "b": 0}, scene={
        **{f"{name}axis": {**axis, "title": {"text": name}} for name in "xyz"}, "aspectmode": "cube"})
