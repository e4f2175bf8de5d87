"""Figures of spectra: vibrational density of states and infrared absorption, with their peaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from toolkit.figures.bands import banded_curves
from toolkit.figures.plots import GREY, VERMILION

FREQUENCY_LABEL = "wavenumber, cm⁻¹"
LABELLED_PEAKS = 12


def density_of_states(frequency_cm1: np.ndarray, curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
                      harmonic_cm1: Sequence[float] = ()) -> go.Figure:
    """Vibrational density of states with error bands; dotted lines at harmonic frequencies, where they are given.

    frequency_cm1 : (F,);  curves : "total", "H", … -> (values, stderr), (F,), modes per cm⁻¹
    """
    figure = banded_curves(frequency_cm1, curves, FREQUENCY_LABEL, "density, modes per cm⁻¹")
    if len(harmonic_cm1):
        highest = max(float(np.max(values)) for values, _ in curves.values())
        x = np.ravel([[line, line, np.nan] for line in harmonic_cm1])
        y = np.tile([0.0, highest, np.nan], len(harmonic_cm1))
        figure.add_trace(go.Scatter(x=x, y=y, name="Hessian", mode="lines", hoverinfo="skip",
                                    line={"dash": "dot", "color": GREY, "width": 1}))
    return figure


def infrared(frequency_cm1: np.ndarray, values: np.ndarray, stderr: np.ndarray) -> go.Figure:
    """Infrared absorption with its error band. values, stderr : (F,), km/mol per cm⁻¹."""
    return banded_curves(frequency_cm1, {"": (values, stderr)}, FREQUENCY_LABEL, "absorption, km/mol per cm⁻¹")


def with_peaks(figure: go.Figure, frequency_cm1: Sequence[float], height: Sequence[float]) -> go.Figure:
    """Mark peaks, and write the wavenumber above the highest of them."""
    written = set(np.argsort(height)[::-1][:LABELLED_PEAKS].tolist())
    text = [f"{x:.0f}" if k in written else "" for k, x in enumerate(frequency_cm1)]
    figure.add_trace(go.Scatter(x=list(frequency_cm1), y=list(height), name="peaks", mode="markers+text", text=text,
                                textposition="top center", marker={"color": VERMILION, "symbol": "triangle-down"},
                                hovertemplate="%{x:.1f} cm⁻¹<extra></extra>"))
    return figure.update_layout(showlegend=True)
