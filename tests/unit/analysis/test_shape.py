"""Superposition: nothing is left of a turned copy, and a mirror image is not one."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule
from scipy.spatial.transform import Rotation

from toolkit.analysis.shape import kabsch_rmsd, radius_of_gyration
from toolkit.errors import DataError

CHIRAL = molecule("CH3CHO").positions + np.random.default_rng(1).normal(scale=0.2, size=(7, 3))
WEIGHTS = np.array([16.0, 12.0, 1.0, 12.0, 1.0, 1.0, 1.0])


def turned(positions: np.ndarray, count: int) -> np.ndarray:
    turns = Rotation.random(count, random_state=2).as_matrix()
    return np.einsum("tab,nb->tna", turns, positions) + np.random.default_rng(3).normal(scale=5.0, size=(count, 1, 3))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_turned_copy_is_superposed_and_a_mirror_image_is_not(weights):
    assert kabsch_rmsd(turned(CHIRAL, 50), CHIRAL, weights).max() < 1e-13
    mirrored = kabsch_rmsd(turned(CHIRAL * [1.0, 1.0, -1.0], 50), CHIRAL, weights)
    assert mirrored.min() > 0.1 and np.ptp(mirrored) < 1e-12


def test_agrees_with_scipy_and_rejects_a_worse_turn():
    rng = np.random.default_rng(4)
    frames = turned(CHIRAL, 20) + rng.normal(scale=0.1, size=(20, 7, 3))
    found = kabsch_rmsd(frames, CHIRAL, WEIGHTS)
    share = WEIGHTS / WEIGHTS.sum()
    for frame, value in zip(frames, found, strict=True):
        centered, target = frame - share @ frame, CHIRAL - share @ CHIRAL
        rotation, _ = Rotation.align_vectors(target, centered, weights=share)
        expected = np.sqrt((share * ((rotation.apply(centered) - target) ** 2).sum(axis=1)).sum())
        assert value == pytest.approx(expected, rel=1e-6)
        worse = rotation * Rotation.from_rotvec([0.05, 0.0, 0.0])
        assert np.sqrt((share * ((worse.apply(centered) - target) ** 2).sum(axis=1)).sum()) > value + 1e-4


def test_flat_and_straight_molecules():
    for shape in (molecule("C6H6").positions, molecule("CO2").positions, np.zeros((1, 3))):
        assert kabsch_rmsd(turned(shape, 20), shape).max() < 1e-12


def test_radius_of_gyration_of_two_balls_and_a_ring():
    pair = np.array([[[0.0, 0.0, 0.0], [3.0, 0.0, 0.0]]]) + 7.0
    assert radius_of_gyration(pair, np.array([1.0, 1.0])) == pytest.approx([1.5])
    assert radius_of_gyration(pair, np.array([2.0, 1.0])) == pytest.approx([np.sqrt(2.0)])
    ring = molecule("C6H6")[:6].positions
    radius = np.linalg.norm(ring, axis=1).mean()
    assert radius_of_gyration(turned(ring, 5), np.ones(6)) == pytest.approx(radius, rel=1e-6)


def test_another_number_of_atoms_is_refused():
    with pytest.raises(DataError, match="as the reference"):
        kabsch_rmsd(np.zeros((3, 5, 3)), CHIRAL)
