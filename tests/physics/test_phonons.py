"""Phonons of a crystal with springs between nearest neighbours, whose bands are known on paper."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from toolkit.analysis.normal_modes import wavenumber_cm1
from toolkit.analysis.phonons import phonons
from toolkit.errors import ConfigError, DataError
from toolkit.interfaces.relaxation import cartesian_hessian
from toolkit.models.pair import HarmonicSprings, pair_potential
from toolkit.units import PER_FS_CM1

pytest.importorskip("phonopy")
STIFFNESS, SIDE = 1.7, 4.0
NEIGHBOUR = SIDE / np.sqrt(2.0)
CM1_PER_THZ = PER_FS_CM1 / 1e3


def springs(atoms: Atoms) -> np.ndarray:
    """Second derivatives of springs that reach nearest neighbours and rest at their distance."""
    return cartesian_hessian(pair_potential(HarmonicSprings(("Cu",), STIFFNESS, NEIGHBOUR, 1.3 * NEIGHBOUR)), atoms)


def on_paper(q_points: np.ndarray, cell: np.ndarray, mass: float) -> np.ndarray:
    """D(q) = k/m Σ_R (1 − cos q·R) R̂R̂ᵀ over the twelve neighbours of fcc; frequencies (Q, 3), THz."""
    vectors = [np.array(v) @ cell for v in np.ndindex(3, 3, 3)] - np.ones(3) @ cell
    near = vectors[np.isclose(np.linalg.norm(vectors, axis=1), NEIGHBOUR)]
    assert len(near) == 12
    unit = near / NEIGHBOUR
    phases = 2.0 * np.pi * q_points @ np.linalg.inv(cell).T @ near.T
    dynamical = STIFFNESS / mass * np.einsum("qr,ra,rb->qab", 1.0 - np.cos(phases), unit, unit)
    return wavenumber_cm1(np.linalg.eigvalsh(dynamical)) / CM1_PER_THZ


@pytest.mark.parametrize("cubic", [False, True])
def test_bands_of_nearest_neighbour_springs_are_those_on_paper(cubic):
    crystal = bulk("Cu", "fcc", a=SIDE, cubic=cubic)
    found = phonons(crystal, (2, 2, 2) if cubic else (4, 4, 4), springs)
    primitive = bulk("Cu", "fcc", a=SIDE).cell.array  # phonopy's own choice differs by a rotation of the indices only
    exact = on_paper(found.q_points, primitive, crystal.get_masses()[0])
    assert found.n_atoms == 1 and exact.max() > 3.0
    np.testing.assert_allclose(found.frequencies_THz, exact, atol=2e-5 * exact.max())
    assert np.abs(found.acoustic_THz).max() < 1e-4 and found.sum_rule_error_eV_per_A2 < 1e-10


def test_a_left_handed_cell_is_the_same_crystal():
    crystal = bulk("Cu", "fcc", a=SIDE)
    mirrored = crystal.copy()
    mirrored.set_cell(crystal.cell.array[[1, 0, 2]])
    assert np.linalg.det(mirrored.cell.array) < 0.0
    found, expected = phonons(mirrored, (3, 4, 2), springs), phonons(crystal, (4, 3, 2), springs)
    np.testing.assert_allclose(found.frequencies_THz, expected.frequencies_THz, atol=1e-6)


def test_labels_mark_special_points_and_the_density_counts_every_mode():
    found = phonons(bulk("Cu", "fcc", a=SIDE), (3, 3, 3), springs)
    at = dict((name, place) for name, place in reversed(found.labels))
    assert found.labels[0] == ("G", 0.0)
    assert at["X"] == pytest.approx(1.0 / SIDE)  # Γ–X of fcc is 2π/a
    assert np.trapezoid(found.dos_per_THz, found.dos_THz) == pytest.approx(3.0, rel=0.01)


def test_a_supercell_too_small_for_the_springs_gives_other_bands():
    crystal = bulk("Cu", "fcc", a=SIDE)
    small = phonons(crystal, (2, 1, 1), springs)
    exact = on_paper(small.q_points, crystal.cell.array, crystal.get_masses()[0])
    assert np.abs(small.frequencies_THz - exact).max() > 0.1 * exact.max()


def test_one_atom_that_only_meets_its_images_is_refused():
    with pytest.raises(DataError, match="no restoring force"):
        phonons(bulk("Cu", "fcc", a=SIDE), (1, 1, 1), springs)


def test_what_is_no_crystal_or_no_supercell_is_refused():
    with pytest.raises(DataError, match="periodicity"):
        phonons(molecule("H2O"), (2, 2, 2), springs)
    with pytest.raises(ConfigError, match="three whole numbers"):
        phonons(bulk("Cu"), (2, 0, 2), springs)


def test_isotopes_are_told_apart_by_their_masses():
    """Layers of two isotopes: twelve modes at Γ, those of the cell's own Hessian, and one density along any axis."""
    densities = []
    for axis in (0, 2):
        crystal = bulk("Cu", "fcc", a=SIDE, cubic=True)
        crystal.set_masses(np.where(crystal.positions[:, axis] < 0.1, 63.0, 5.0))
        found = phonons(crystal, (2, 2, 2), springs)
        roots = np.sqrt(np.repeat(crystal.get_masses(), 3))
        exact = wavenumber_cm1(np.linalg.eigvalsh(springs(crystal) / np.outer(roots, roots))) / CM1_PER_THZ
        assert found.n_atoms == 4 and found.labels[0] == ("G", 0.0)
        np.testing.assert_allclose(found.frequencies_THz[0], exact, atol=2e-5 * exact.max())
        densities.append(found.dos_per_THz)
    np.testing.assert_allclose(densities[0], densities[1], atol=1e-3 * densities[0].max())
