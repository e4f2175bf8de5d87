"""Arrows travel to the viewer with the structure they belong to."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule

from tests.packed_scene import unpack
from toolkit.figures.arrows import LONGEST_A, SLEEVE_LENGTH, arrow_scale, arrows_scene
from toolkit.figures.plots import ORANGE, SKY
from toolkit.figures.structures import Scene, frames_scene


def arrows_in(scene: Scene) -> list[tuple[dict, np.ndarray, np.ndarray]]:
    """Header, starts and vectors of each set, read from the bytes as viewer.js reads them."""
    header, found = unpack(scene.pack({}))
    return [(look, *(part[0] for part in parts)) for look, parts in zip(header["arrows"], found["arrows"], strict=True)]


def test_forces_start_at_the_atoms_of_a_crystal() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    forces = np.array([[1.0, 2.0, 2.0], [-1.0, 0.0, 0.5]])
    ((header, starts, vectors),) = arrows_in(arrows_scene(atoms, atoms.positions, 2.0, forces))
    assert (header["color"], header["heads"], header["count"]) == (SKY, True, 2)
    np.testing.assert_allclose(starts, atoms.positions, atol=1e-6)
    np.testing.assert_allclose(vectors, 2.0 * forces)


def test_expected_arrows_are_shorter_sleeves_behind_the_found_ones() -> None:
    atoms, expected = molecule("H2O"), np.eye(3)[:2]
    found, sleeves = arrows_in(arrows_scene(atoms, atoms.positions[1], 1.0, 0.5 * expected, expected))
    assert (sleeves[0]["color"], sleeves[0]["heads"], found[0]["color"]) == (ORANGE, False, SKY)
    assert sleeves[0]["radius"] > found[0]["radius"]
    np.testing.assert_allclose(sleeves[2], SLEEVE_LENGTH * expected, atol=1e-7)
    np.testing.assert_allclose(found[1], atoms.positions[[1, 1]], atol=1e-6)


def test_the_longest_arrow_has_a_fixed_length() -> None:
    vectors = np.array([[0.0, 3.0, 4.0], [1.0, 0.0, 0.0]])
    assert arrow_scale(vectors) * 5.0 == pytest.approx(LONGEST_A)
    assert arrow_scale(np.zeros((2, 3))) == arrow_scale(np.zeros((0, 3))) == 1.0


def test_scenes_without_arrows_say_so() -> None:
    assert arrows_in(frames_scene([molecule("H2O")])) == []
