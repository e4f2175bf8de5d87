"""Pictures of a data set: distributions of several files, energies along a file, frames with their forces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
from ase import Atoms

from toolkit.figures.plots import HEIGHT, PALETTE, SKY, outline
from toolkit.figures.structures import Arrows, Scene, frames_scene, thinning_step, vector_coloring

MOST_BINS = 60
MAX_POINTS = 6000
LONG_ARROW_A = 2.0
"""Length in the picture of a force at the 99th percentile."""


def distributions(values: Mapping[str, np.ndarray], x_label: str) -> go.Figure:
    """One outline a name over common bins, as a share of its own values. x_label : with its unit."""
    finite = {name: array[np.isfinite(array)] for name, array in values.items()}
    joined = np.concatenate([np.zeros(0), *finite.values()])
    bins = int(np.clip(2.0 * np.sqrt(joined.size), 1, MOST_BINS))
    edges = np.histogram_bin_edges(joined, bins) if joined.size else np.linspace(0.0, 1.0, 2)
    figure = go.Figure()
    for k, (name, array) in enumerate(finite.items()):
        share = 100.0 * np.histogram(array, edges)[0] / max(array.size, 1)
        figure.add_trace(go.Scatter(
            x=edges, y=[*share, 0.0], name=name, mode="lines", fill="tozeroy" if len(finite) == 1 else None,
            line={"shape": "hv", "color": PALETTE[k % len(PALETTE)], "width": 2},
            hovertemplate="from %{x:.4g}: %{y:.2f} %<extra>" + name + "</extra>"))
    return _finish(figure, x_label, "share, %", legend=len(finite) > 1)


def along_file(series: Mapping[str, tuple[np.ndarray, np.ndarray]], y_label: str) -> go.Figure:
    """Values against the place of their frame in its file, one marker a frame; of very many the lowest and the highest of each
    stretch (`outline`).

    series : name -> (places, values), (T,) each;  y_label : with its unit
    """
    figure = go.Figure()
    for k, (name, (places, values)) in enumerate(series.items()):
        shown = outline(values, MAX_POINTS)
        figure.add_trace(go.Scatter(
            x=places[shown], y=values[shown], name=name, mode="markers",
            marker={"size": 4, "color": PALETTE[k % len(PALETTE)]},
            hovertemplate="frame %{x}: %{y:.4g}<extra>" + name + "</extra>"))
    return _finish(figure, "frame in the file", y_label, legend=len(series) > 1).update_layout(dragmode="select")


def frames_with_forces(frames: Sequence[Atoms], places: np.ndarray,
                       forces: Sequence[np.ndarray] | None) -> tuple[Scene, float]:
    """A scene of frames of the same atoms with arrows for forces, and how many eV/Å one Å of arrow stands for.

    places : (T,), where the frames stand in their file;  forces : (N, 3) for each frame, eV/Å, or None for no arrows
    (scale 0 then). Raises DataError when the frames hold different atoms.
    """
    scene = frames_scene(frames, "frame #", places)
    if forces is None:
        return scene, 0.0
    vectors = np.stack(forces[::thinning_step(len(frames), len(frames[0]))])
    coloring = vector_coloring("force", "eV/Å", vectors)
    scale = LONG_ARROW_A / coloring.top
    arrows = Arrows(scene.positions, scale * vectors, SKY)
    return replace(scene, arrows=(arrows,), colorings=(coloring,)), 1.0 / scale


def _finish(figure: go.Figure, x_label: str, y_label: str, *, legend: bool) -> go.Figure:
    figure.update_layout(height=HEIGHT, margin={"l": 60, "r": 20, "t": 30, "b": 50}, showlegend=legend,
                         legend={"orientation": "h", "x": 0.0, "y": 1.02, "yanchor": "bottom"})
    figure.update_xaxes(title_text=x_label)
    return figure.update_yaxes(title_text=y_label)
