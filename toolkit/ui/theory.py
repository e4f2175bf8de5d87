"""docs/theory.md as sections of a page, and the figures of some of them, drawn by the toolkit's own code."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st
import torch

from toolkit.analysis.spectra import verlet_shifted_cm1
from toolkit.config import OptimizerConfig
from toolkit.figures.plots import curves
from toolkit.figures.theory import lobes
from toolkit.nn.angular import SphericalHarmonics
from toolkit.nn.radial import BesselBasis, polynomial_envelope
from toolkit.training.schedule import learning_rate
from toolkit.ui.explanations import explained

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "theory.md"
_PART = re.compile(r"^## (.+)$", re.MULTILINE)
_SECTION = re.compile(r'^<a id="([a-z-]+)"></a>\n### (.+)$', re.MULTILINE)


@dataclass(frozen=True)
class Section:
    """A section of the document. text : Markdown with LaTeX"""

    anchor: str
    title: str
    text: str


@st.cache_data(show_spinner=False)
def theory_parts() -> dict[str, list[Section]]:
    """Title of each part -> its sections, in order."""
    _, *pieces = _PART.split(DOCUMENT.read_text(encoding="utf-8"))
    return {title: _sections(text) for title, text in zip(pieces[::2], pieces[1::2], strict=True)}


def _sections(text: str) -> list[Section]:
    _, *pieces = _SECTION.split(text)
    return [Section(anchor, title, body.strip())
            for anchor, title, body in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True)]


def draw_figure(anchor: str) -> None:
    """The figure of a section, where it has one."""
    if anchor in FIGURES:
        with st.container(border=True):
            FIGURES[anchor]()


def _envelopes() -> None:
    chosen = st.slider("Power p", 3, 16, 6, key="theory.p", help=explained("theory.p"))
    x = torch.linspace(0.0, 1.1, 221, dtype=torch.float64)
    shown = {f"p = {p}": polynomial_envelope(x, p).numpy() for p in sorted({3, 6, chosen})}
    st.plotly_chart(curves(x.numpy(), shown, "distance / cutoff", "envelope u"), key="theory.envelope")


def _bessels() -> None:
    left, right = st.columns(2, gap="large")
    count = left.slider("Radial functions", 1, 12, 4, key="theory.num_bessels", help=explained("theory.num_bessels"))
    r_max = right.slider("Cutoff radius, Å", 2.0, 8.0, 5.0, 0.5, key="theory.r_max", help=explained("theory.r_max"))
    r = torch.linspace(0.0, 1.05 * r_max, 241, dtype=torch.float64)
    with torch.no_grad():
        values = BesselBasis(r_max, count, p=6, trainable=False).double()(r).numpy()
    shown = {f"n = {n + 1}": values[:, n] for n in range(count)}
    st.plotly_chart(curves(r.numpy(), shown, "distance, Å", "b, 1/Å²"), key="theory.bessel")


def _harmonics() -> None:
    left, right = st.columns([1, 2], gap="large")
    degree = int(left.segmented_control("Degree l", range(4), default=2, required=True, key="theory.degree",
                                        help=explained("theory.degree")))
    order = int(left.segmented_control("Component m", range(-degree, degree + 1), default=0, required=True,
                                       key=f"theory.order.{degree}", help=explained("theory.order")))
    left.caption("The distance from the middle is the size of the harmonic in that direction; blue is positive, orange "
                 "negative. The axis of m = 0 is y, as in e3nn.")
    polar, azimuth = np.meshgrid(np.linspace(0.0, np.pi, 61), np.linspace(0.0, 2.0 * np.pi, 91), indexing="ij")
    directions = np.stack([np.sin(polar) * np.sin(azimuth), np.cos(polar), np.sin(polar) * np.cos(azimuth)], axis=-1)
    points = torch.from_numpy(directions.reshape(-1, 3))
    values = SphericalHarmonics(degree).double()(points, torch.linalg.vector_norm(points, dim=1))
    right.plotly_chart(lobes(directions, values[:, degree**2 + degree + order].numpy().reshape(polar.shape)),
                       key="theory.harmonic")


def _rates() -> None:
    epochs = np.linspace(0.0, 100.0, 401)
    plans = {"cosine": OptimizerConfig(), "cosine after a warm-up of 10 epochs": OptimizerConfig(warmup_epochs=10),
             "constant": OptimizerConfig(schedule="constant")}
    shown = {name: np.array([learning_rate(plan, epoch, 100, 1.0) for epoch in epochs])
             for name, plan in plans.items()}
    st.plotly_chart(curves(epochs, shown, "epoch", "learning rate"), key="theory.rates")


def _shifts() -> None:
    steps_fs = np.linspace(0.1, 2.0, 96)
    shown = {f"{name}, {wave:g} cm⁻¹": np.array([verlet_shifted_cm1(wave, h) - wave for h in steps_fs])
             for name, wave in {"C=O stretch": 1750.0, "C-H stretch": 3000.0, "O-H stretch": 3600.0}.items()}
    st.plotly_chart(curves(steps_fs, shown, "time step, fs", "shift of the frequency, cm⁻¹"), key="theory.shifts")


FIGURES: dict[str, Callable[[], None]] = {"cutoff": _envelopes, "radial-basis": _bessels, "timestep": _shifts,
                                          "spherical-harmonics": _harmonics, "learning-rate": _rates}
"""Anchor -> what draws the figure of that section."""
