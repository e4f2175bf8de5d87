"""Parity plots: the diagonal, groups, thinning that keeps the worst, arrows of errors."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from toolkit.figures.arrows import LONGEST_A
from toolkit.figures.parity import MAX_POINTS, force_error_scene, magnitude_plot, parity_plot


def test_points_keep_their_frame_and_their_error_below() -> None:
    label, error = np.array([1.0, 2.0, np.nan]), np.array([0.1, -0.2, np.nan])
    figure = parity_plot(label, label + error, error, np.array([4, 5, 6]), ("a", "b", "c"), np.array(["H", "O", "H"]))
    diagonal, zero, hydrogen, below, oxygen, _ = figure.data
    assert diagonal.x == diagonal.y == (1.0, 2.0) and zero.y == (0.0, 0.0)
    assert hydrogen.y.tolist() == [1.1] and below.y.tolist() == [0.1] and oxygen.customdata.tolist() == [5]
    assert figure.layout.xaxis2.title.text == "a" and figure.layout.yaxis.title.text == "b"


def test_thinning_never_hides_the_worst() -> None:
    error = np.zeros(5 * MAX_POINTS)
    error[12345] = -7.0
    figure = parity_plot(np.arange(error.size) * 1.0, error, error, np.arange(error.size), ("a", "b", "c"))
    assert figure.data[2].x.size <= MAX_POINTS and 12345 in figure.data[2].customdata
    assert len(parity_plot(error[:1] * np.nan, error[:1], error[:1] * np.nan, error[:1], ("", "", "")).data) == 0


def test_magnitudes_and_arrows_carry_units() -> None:
    figure = magnitude_plot(np.array([1.0]), np.array([20.0]), np.array([2.0]))
    assert figure.layout.yaxis.title.text == "force MAE, meV/Å" and figure.data[0].error_y.array.tolist() == [2.0]
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.7]])
    scene, scale = force_error_scene(atoms, np.array([[0.0, 0.0, 0.3], [0.0, 0.0, 0.0]]))
    assert np.isclose(scale * LONGEST_A, 0.3) and np.isclose(np.abs(scene.arrows[0].vectors).max(), LONGEST_A)
