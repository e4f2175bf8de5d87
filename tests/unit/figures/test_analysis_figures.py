"""Figures of the analyses: numbers, units, bands and gaps."""

from __future__ import annotations

import numpy as np

from toolkit.figures.bands import banded_curves
from toolkit.figures.diffusion import mean_squared_displacements
from toolkit.figures.plots import MAX_POINTS, PALETTE
from toolkit.figures.spectra import density_of_states, infrared, with_peaks
from toolkit.figures.torsions import free_energy_profiles, torsion_map, torsion_series


def test_bands_surround_their_curves_and_leave_gaps() -> None:
    values = np.array([1.0, 2.0, np.nan, np.nan, 5.0, 4.0])
    figure = banded_curves(np.arange(6.0), {"a": (values, np.full(6, 0.5)), "b": (values + 1.0, np.full(6, np.nan))},
                           "time, ps", "length, Å")
    assert [trace.name for trace in figure.data[:2]] == ["a", "b"] and len(figure.data) == 2 + 2 + 2
    assert figure.data[2].x.tolist() == [0.0, 1.0, 1.0, 0.0] and figure.data[2].y.tolist() == [1.5, 2.5, 1.5, 0.5]
    assert figure.data[3].y.tolist() == [5.5, 4.5, 3.5, 4.5] and figure.data[2].fillcolor == PALETTE[0]
    unknown = figure.data[4]
    assert unknown.y.tolist() == [2.0, 3.0, 3.0, 2.0] and unknown.fillcolor == PALETTE[1]
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("time, ps", "length, Å")


def test_long_bands_are_thinned_like_their_curves() -> None:
    x = np.arange(2.5 * MAX_POINTS)
    figure = banded_curves(x, {"": (x, np.ones_like(x))}, "time, ps", "length, Å")
    assert len(figure.data[1].x) == 2 * len(figure.data[0].x) <= 2 * MAX_POINTS


def test_spectra_have_units_peaks_and_lines_of_the_hessian() -> None:
    x = np.arange(0.0, 100.0, 10.0)
    curve = (np.exp(-((x - 40.0) / 10.0) ** 2), np.full(10, 0.1))
    figure = density_of_states(x, {"total": curve, "H": curve}, harmonic_cm1=[38.0, 70.0])
    lines = figure.data[-1]
    assert lines.name == "Hessian" and lines.x[:2].tolist() == [38.0, 38.0] and np.isnan(lines.x[2])
    assert figure.layout.xaxis.title.text == "wavenumber, cm⁻¹" and "modes per cm⁻¹" in figure.layout.yaxis.title.text
    figure = with_peaks(infrared(x, *curve), [40.2, 70.0], [1.0, 0.2])
    assert "km/mol per cm⁻¹" in figure.layout.yaxis.title.text
    assert figure.data[-1].text == ("40", "70") and figure.data[-1].y == (1.0, 0.2)
    many = with_peaks(infrared(x, *curve), list(range(20)), list(range(20)))
    assert [text != "" for text in many.data[-1].text] == [False] * 8 + [True] * 12


def test_torsion_figures_cover_the_full_turn() -> None:
    angle = np.arange(-165.0, 180.0, 30.0)
    free = np.where(np.abs(angle) < 100.0, 0.02, np.nan)
    figure = free_energy_profiles(angle, {"C0-C1-O2-H3": (free, 0.1 * free)})
    assert np.nanmax(figure.data[0].y) == 20.0 and figure.layout.yaxis.title.text == "free energy, meV"
    assert figure.layout.xaxis.range == (-180.0, 180.0) and len(figure.data) == 2
    series = torsion_series(np.arange(5.0), {"replica 0": np.array([1.0, 2.0, 3.0])})
    assert len(series.data[0].x) == 3 and series.layout.yaxis.range == (-180.0, 180.0)
    assert series.layout.xaxis.title.text == "time, ps"
    table = np.arange(144.0).reshape(12, 12)
    found = torsion_map(angle, table, ("first", "second"))
    assert found.data[0].z[3][5] == 1e3 * table[5][3] and found.layout.xaxis.title.text == "first, °"


def test_mean_squared_displacements_are_drawn_on_logarithmic_axes() -> None:
    figure = mean_squared_displacements(np.array([0.1, 1.0]), {"total": (np.array([1.0, 10.0]), np.array([0.1, 2.0]))})
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log" and figure.layout.xaxis.title.text == "lag, ps"
