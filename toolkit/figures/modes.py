"""Vibrations as pictures: sticks, spectra against the harmonic frequencies, and a mode in motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from ase import Atoms

from toolkit.figures.plots import BLUE, GREY, HEIGHT, PALETTE, VERMILION
from toolkit.figures.structures import Scene, atoms_scene

FRAMES_PER_PERIOD = 24
LARGEST_MOVE_A = 0.35
"""How far the atom that moves most goes in the picture: real amplitudes are too small to see, or too different."""


def mode_scene(atoms: Atoms, displacements: np.ndarray, name: str) -> Scene:
    """One period of a vibration, enlarged to be seen. displacements : (N, 3), of any length;  name : shown beside it"""
    moves = displacements * (LARGEST_MOVE_A / np.linalg.norm(displacements, axis=1).max())
    phases = np.sin(2.0 * np.pi * np.arange(FRAMES_PER_PERIOD) / FRAMES_PER_PERIOD)
    return atoms_scene(atoms, atoms.positions + phases[:, None, None] * moves, name)


def sticks(frequencies_cm1: np.ndarray, heights: np.ndarray, y_label: str, chosen: int | None = None) -> go.Figure:
    """A line and a point for each mode; the chosen one in another colour. Imaginary frequencies lie below zero."""
    colors = [VERMILION if k == chosen else BLUE for k in range(len(frequencies_cm1))]
    figure = go.Figure(_comb(frequencies_cm1, heights))
    figure.add_trace(go.Scatter(
        x=frequencies_cm1, y=heights, mode="markers", marker={"color": colors, "size": 9}, showlegend=False,
        customdata=np.arange(len(frequencies_cm1)) + 1,
        hovertemplate="mode %{customdata}: %{x:.1f} cm⁻¹, %{y:.3g}<extra></extra>"))
    return _axes(figure, y_label)


def spectra_against_modes(frequency_cm1: np.ndarray, spectra: Mapping[str, np.ndarray], harmonic_cm1: np.ndarray,
                          y_label: str, highest_cm1: float | None = None) -> go.Figure:
    """Spectra of a simulation as curves, the Hessian's frequencies as a comb under them.

    spectra : name -> (F,);  highest_cm1 : end of the axis, by default a tenth above the highest mode
    """
    end = highest_cm1 or 1.1 * float(harmonic_cm1.max())
    shown = frequency_cm1 <= end
    top = max(float(np.max(values[shown])) for values in spectra.values())
    figure = go.Figure(_comb(harmonic_cm1, np.full(len(harmonic_cm1), -0.08 * top), "Hessian modes"))
    for (name, values), color in zip(spectra.items(), _colors(len(spectra)), strict=True):
        figure.add_trace(go.Scatter(x=frequency_cm1[shown], y=values[shown], name=name, mode="lines",
                                    line={"color": color, "width": 1.5},
                                    hovertemplate=f"%{{x:.1f}} cm⁻¹: %{{y:.4g}}<extra>{name}</extra>"))
    figure.update_xaxes(range=[0.0, end])
    return _axes(figure, y_label)


def mode_temperatures(harmonic_cm1: np.ndarray, kinetic_K: np.ndarray, stderr_K: np.ndarray,
                      bath_K: float) -> go.Figure:
    """Temperature of each mode with error bars of one standard error, and that of the bath as a dashed line."""
    bars = {"type": "data", "array": stderr_K, "color": GREY, "thickness": 1}
    figure = go.Figure(go.Scatter(x=harmonic_cm1, y=kinetic_K, error_y=bars, mode="markers", showlegend=False,
                                  marker={"color": BLUE, "size": 7}))
    figure.add_hline(bath_K, line_dash="dash", line_color=VERMILION, annotation_text=f"{bath_K:.0f} K")
    return _axes(figure, "2⟨E_kin⟩/k, K")


def bands(distances_per_A: np.ndarray, frequencies_THz: np.ndarray, labels: Sequence[tuple[str, float]]) -> go.Figure:
    """Phonon bands along a path. frequencies_THz : (P, 3n);  labels : special points and where they are."""
    figure = go.Figure([go.Scatter(x=distances_per_A, y=band, mode="lines", line={"color": BLUE, "width": 1.5},
                                   showlegend=False, hovertemplate="%{y:.3f} THz<extra></extra>")
                        for band in frequencies_THz.T])
    names: dict[float, str] = {}
    for name, place in labels:
        shown = "Γ" if name == "G" else name
        names[place] = shown if names.get(place, shown) == shown else f"{names[place]}|{shown}"
    for place in names:
        figure.add_vline(place, line_color=GREY, line_width=1)
    figure.update_layout(height=HEIGHT, margin={"l": 60, "r": 20, "t": 30, "b": 50})
    figure.update_xaxes(tickvals=list(names), ticktext=list(names.values()))
    return figure.update_yaxes(title_text="frequency, THz", rangemode="tozero")


def _comb(frequencies: np.ndarray, heights: np.ndarray, name: str = "") -> go.Scatter:
    """Vertical lines from zero, as one trace with gaps."""
    x = np.repeat(frequencies, 3)
    y = np.stack([np.zeros_like(heights), heights, np.full_like(heights, np.nan)], axis=1).ravel()
    return go.Scatter(x=x, y=y, mode="lines", name=name, showlegend=bool(name), hoverinfo="skip",
                      line={"color": GREY, "width": 1})


def _colors(count: int) -> Sequence[str]:
    return [PALETTE[k % len(PALETTE)] for k in range(count)]


def _axes(figure: go.Figure, y_label: str) -> go.Figure:
    figure.update_layout(height=HEIGHT, margin={"l": 60, "r": 20, "t": 30, "b": 50},
                         legend={"orientation": "h", "x": 0.0, "y": 1.02, "yanchor": "bottom"})
    figure.update_xaxes(title_text="wavenumber, cm⁻¹")
    return figure.update_yaxes(title_text=y_label)
