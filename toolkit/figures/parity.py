"""Predictions against labels with the residuals below; errors by the size of the force; force errors as arrows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
from ase import Atoms
from plotly.subplots import make_subplots

from toolkit.figures.arrows import arrow_scale, arrows_scene
from toolkit.figures.plots import BLUE, GREY, HEIGHT, PALETTE
from toolkit.figures.structures import Scene, vector_coloring

MAX_POINTS, ALWAYS_SHOWN = 4000, 200
"""Of more points an even choice is drawn, and always those with the largest errors."""


def parity_plot(label: np.ndarray, predicted: np.ndarray, error: np.ndarray, frames: np.ndarray,
                axes: tuple[str, str, str], groups: np.ndarray | None = None) -> go.Figure:
    """Predicted against label with the diagonal, and the error against the label below, one colour a group.

    label, predicted, error : (P,);  frames : (P,), kept with each point as `customdata`;  groups : (P,) names
    axes : texts for label, prediction and error, each with its unit
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.62, 0.38], vertical_spacing=0.06)
    shown = _shown(error)
    if len(shown):
        ends = [float(label[shown].min()), float(label[shown].max())]
        dashed = {"dash": "dash", "color": GREY, "width": 1.5}
        for row, y in ((1, ends), (2, [0.0, 0.0])):
            figure.add_trace(go.Scatter(x=ends, y=y, mode="lines", line=dashed, showlegend=False, hoverinfo="skip"),
                             row=row, col=1)
    names = np.full(len(label), "") if groups is None else groups
    for k, name in enumerate(np.unique(names[shown]).tolist()):
        part = shown[names[shown] == name]
        for row, y in ((1, predicted), (2, error)):
            figure.add_trace(go.Scatter(
                x=label[part], y=y[part], customdata=frames[part], name=name, mode="markers", legendgroup=name,
                showlegend=row == 1 and groups is not None, marker={"size": 4, "color": PALETTE[k % len(PALETTE)]},
                hovertemplate=f"frame %{{customdata}}: %{{x:.5g}}, %{{y:.5g}}<extra>{name}</extra>"), row=row, col=1)
    figure.update_xaxes(title_text=axes[0], row=2, col=1)
    figure.update_yaxes(title_text=axes[1], row=1, col=1)
    figure.update_yaxes(title_text=axes[2], row=2, col=1)
    return figure.update_layout(height=int(1.6 * HEIGHT), margin={"l": 60, "r": 20, "t": 30, "b": 50}, dragmode="pan",
                                legend={"orientation": "h", "x": 0.0, "y": 1.02, "yanchor": "bottom"})


def magnitude_plot(force_eV_per_A: np.ndarray, mae_meV_per_A: np.ndarray, stderr_meV_per_A: np.ndarray) -> go.Figure:
    """Force MAE with standard errors against the mean length of the labels, (B,) each, one point a bin."""
    bars = {"type": "data", "array": stderr_meV_per_A}
    figure = go.Figure(go.Scatter(x=force_eV_per_A, y=mae_meV_per_A, error_y=bars, mode="lines+markers",
                                  line={"color": BLUE, "width": 2},
                                  hovertemplate="%{x:.3g} eV/Å: %{y:.4g} meV/Å<extra></extra>"))
    figure.update_xaxes(title_text="length of the force label, eV/Å")
    figure.update_yaxes(title_text="force MAE, meV/Å", rangemode="tozero")
    return figure.update_layout(height=HEIGHT, margin={"l": 60, "r": 20, "t": 30, "b": 50})


def force_error_scene(atoms: Atoms, errors_eV_per_A: np.ndarray) -> tuple[Scene, float]:
    """A frame with an arrow for the error of each force, (N, 3), and how many eV/Å one Å of arrow stands for."""
    scale = arrow_scale(errors_eV_per_A)
    scene = arrows_scene(atoms, atoms.positions, scale, errors_eV_per_A)
    return replace(scene, colorings=(vector_coloring("force error", "eV/Å", errors_eV_per_A[None]),)), 1.0 / scale


def _shown(error: np.ndarray) -> np.ndarray:
    """Indices of points to draw; those without a label are left out."""
    known = np.flatnonzero(np.isfinite(error))
    if len(known) <= MAX_POINTS:
        return known
    even = known[np.linspace(0, len(known) - 1, MAX_POINTS - ALWAYS_SHOWN).astype(int)]
    worst = known[np.argpartition(-np.abs(error[known]), ALWAYS_SHOWN)[:ALWAYS_SHOWN]]
    return np.union1d(even, worst)
