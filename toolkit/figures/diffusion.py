"""Figures of mean squared displacements."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from toolkit.figures.bands import banded_curves


def mean_squared_displacements(lag_ps: np.ndarray, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> go.Figure:
    """MSD against the lag with error bands, both axes logarithmic: slope 2 is flight, slope 1 is diffusion.

    lag_ps : (L,);  curves : "total", "H", … -> (values, stderr), (L,), Å²
    """
    figure = banded_curves(lag_ps, curves, "lag, ps", "mean squared displacement, Å²")
    return figure.update_xaxes(type="log").update_yaxes(type="log")
