"""Errors frame by frame, by element and by force, on numbers small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.analysis.parity import Parity, element_errors, frame_errors, magnitude_errors, worst_frames


@pytest.fixture
def parity() -> Parity:
    """Water and hydrogen; the forces of the third frame, hydrogen again, have no labels."""
    label = np.zeros((7, 3))
    label[0] = [3.0, 0.0, 4.0]
    label[1:5] = [1.0, 0.0, 0.0]
    label[5:] = np.nan
    found = np.nan_to_num(label).copy()
    found[0] += [0.003, 0.0, -0.004]
    found[4] += [0.0, 0.009, 0.0]
    return Parity(np.array([3, 2, 2]), np.array([8, 1, 1, 1, 1, 1, 1]), np.array([-10.0, -2.0, -2.0]),
                  np.array([-10.03, -2.001, np.nan]), found, label)


def test_frames_have_signed_energy_errors_and_their_worst_atom(parity: Parity) -> None:
    table = frame_errors(parity)
    np.testing.assert_allclose(table["energy_error_meV_per_atom"], [10.0, 0.5, np.nan])
    np.testing.assert_allclose(table["forces_mae_meV_per_A"], [7.0 / 9.0, 1.5, np.nan])
    np.testing.assert_allclose(table["largest_force_error_meV_per_A"], [5.0, 9.0, np.nan])
    assert table["worst_atom"].tolist() == [0, 1, -1]
    assert worst_frames(table, "energy_error_meV_per_atom", 5).tolist() == [0, 1]
    assert worst_frames(table, "largest_force_error_meV_per_A", 1).tolist() == [1]
    np.testing.assert_allclose(parity.forces_error_of_frame(1), [[0.0, 0.0, 0.0], [0.0, 0.009, 0.0]], atol=1e-15)


def test_elements_are_judged_against_their_own_forces(parity: Parity) -> None:
    hydrogen, oxygen = element_errors(parity)
    assert (hydrogen["element"], hydrogen["n_atoms"], oxygen["element"], oxygen["n_atoms"]) == ("H", 4, "O", 1)
    assert hydrogen["forces_mae_meV_per_A"] == pytest.approx(9.0 / 12.0)
    assert oxygen["forces_rmse_meV_per_A"] == pytest.approx(5.0 / np.sqrt(3.0))
    assert oxygen["relative_rmse_percent"] == pytest.approx(0.1)


def test_bins_by_force_hold_equally_many_atoms(parity: Parity) -> None:
    errors = magnitude_errors(parity, bins=5)
    np.testing.assert_allclose(errors.force_eV_per_A, [1.0, 1.0, 1.0, 1.0, 5.0])
    np.testing.assert_allclose(errors.mae_meV_per_A, [0.0, 0.0, 0.0, 3.0, 7.0 / 3.0], atol=1e-12)
    assert len(magnitude_errors(parity, bins=50).mae_meV_per_A) == 5


def test_without_any_labels_of_forces_there_is_nothing_to_show(parity: Parity) -> None:
    bare = Parity(parity.num_atoms, parity.atomic_numbers, parity.energy_eV, parity.label_energy_eV,
                  parity.forces_eV_per_A, np.full((7, 3), np.nan))
    assert element_errors(bare) == [] and magnitude_errors(bare).mae_meV_per_A.size == 0
    assert worst_frames(frame_errors(bare), "largest_force_error_meV_per_A", 5).size == 0
