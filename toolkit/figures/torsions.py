"""Figures of torsion angles: free-energy profiles, angles in time, and maps of two angles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from toolkit.figures.bands import banded_curves
from toolkit.figures.plots import HEIGHT, MARKERS, PALETTE
from toolkit.units import MEV_PER_EV

HALF_TURN_DEG = 180.0
TICKS_DEG = 60.0
ANGLE_LABEL = "torsion angle, °"
FREE_ENERGY_LABEL = "free energy, meV"


def free_energy_profiles(angle_deg: np.ndarray, profiles: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> go.Figure:
    """Free energy along torsions with error bands; gaps where no frame was.

    angle_deg : (B,);  profiles : name -> (free energy, stderr), (B,), eV (drawn in meV)
    """
    scaled = {name: (MEV_PER_EV * np.asarray(values, dtype=float), MEV_PER_EV * np.asarray(stderr, dtype=float))
              for name, (values, stderr) in profiles.items()}
    return _angle_axis(banded_curves(angle_deg, scaled, ANGLE_LABEL, FREE_ENERGY_LABEL), "x")


def torsion_series(time_ps: np.ndarray, angles_deg: Mapping[str, np.ndarray]) -> go.Figure:
    """Torsion angles in time, as points, since ±180° is one angle. angles_deg : name -> (T,)"""
    figure = go.Figure()
    for i, (name, angles) in enumerate(angles_deg.items()):
        marker = {"color": PALETTE[i % len(PALETTE)], "symbol": MARKERS[i % len(MARKERS)], "size": 3}
        figure.add_trace(go.Scattergl(x=time_ps[:len(angles)], y=angles, name=name, mode="markers", marker=marker))
    figure.update_layout(height=HEIGHT, xaxis_title="time, ps", yaxis_title=ANGLE_LABEL)
    return _angle_axis(figure, "y")


def torsion_map(angle_deg: np.ndarray, free_energy_eV: np.ndarray, names: Sequence[str]) -> go.Figure:
    """Free energy of two torsions, in the manner of Ramachandran; empty where no frame was.

    angle_deg : (B,);  free_energy_eV : (B, B), rows belong to the first of the two names
    """
    values = MEV_PER_EV * np.asarray(free_energy_eV, dtype=float).T
    figure = go.Figure(go.Heatmap(x=angle_deg, y=angle_deg, z=values, colorscale="Cividis",
                                  colorbar={"title": FREE_ENERGY_LABEL},
                                  hovertemplate="%{x:.0f}°, %{y:.0f}°: %{z:.1f} meV<extra></extra>"))
    figure.update_layout(height=1.4 * HEIGHT, xaxis_title=f"{names[0]}, °", yaxis_title=f"{names[1]}, °")
    figure.update_yaxes(scaleanchor="x")
    return _angle_axis(_angle_axis(figure, "x"), "y")


def _angle_axis(figure: go.Figure, axis: str) -> go.Figure:
    settings = {"range": [-HALF_TURN_DEG, HALF_TURN_DEG], "dtick": TICKS_DEG}
    return figure.update_xaxes(settings) if axis == "x" else figure.update_yaxes(settings)
