"""Moduli of many grains: exact for bodies alike in all directions, textbook values, bounds, and no sense without stability."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from toolkit.analysis.polycrystal import is_stable, least_stiffness_GPa, polycrystal
from toolkit.errors import DataError

VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


def cubic(c11: float, c12: float, c44: float) -> np.ndarray:
    stiffness = np.zeros((6, 6))
    stiffness[:3, :3] = c12
    np.fill_diagonal(stiffness, [c11] * 3 + [c44] * 3)
    return stiffness


def turned(stiffness: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """The same crystal in another orientation."""
    tensor = np.zeros((3, 3, 3, 3))
    for row, (i, j) in enumerate(zip(*VOIGT, strict=True)):
        for column, (k, m) in enumerate(zip(*VOIGT, strict=True)):
            for a, b, c, d in ((i, j, k, m), (j, i, k, m), (i, j, m, k), (j, i, m, k)):
                tensor[a, b, c, d] = stiffness[row, column]
    tensor = np.einsum("ai,bj,ck,dm,ijkm->abcd", rotation, rotation, rotation, rotation, tensor)
    return np.array([[tensor[i, j, k, m] for k, m in zip(*VOIGT, strict=True)] for i, j in zip(*VOIGT, strict=True)])


def test_a_body_alike_in_all_directions_is_itself() -> None:
    lame, shear = 70.0, 30.0
    found = polycrystal(cubic(lame + 2.0 * shear, lame, shear))
    assert (found.bulk_voigt_GPa, found.bulk_reuss_GPa) == pytest.approx((lame + 2.0 / 3.0 * shear,) * 2)
    assert (found.shear_voigt_GPa, found.shear_reuss_GPa) == pytest.approx((shear, shear))
    assert found.youngs_GPa == pytest.approx(shear * (3.0 * lame + 2.0 * shear) / (lame + shear))
    assert found.poisson_ratio == pytest.approx(lame / (2.0 * (lame + shear)))
    assert found.universal_anisotropy == pytest.approx(0.0, abs=1e-12)


def test_copper() -> None:
    """C11 168.4, C12 121.4, C44 75.4 GPa: Voigt 54.6, Reuss 40.0 GPa by the formulas for cubes (Hirth & Lothe, 1982)."""
    found = polycrystal(cubic(168.4, 121.4, 75.4))
    assert found.bulk_GPa == pytest.approx((168.4 + 2.0 * 121.4) / 3.0)
    assert found.shear_voigt_GPa == pytest.approx((168.4 - 121.4 + 3.0 * 75.4) / 5.0)
    assert found.shear_reuss_GPa == pytest.approx(5.0 * 47.0 * 75.4 / (4.0 * 75.4 + 3.0 * 47.0))
    assert found.universal_anisotropy == pytest.approx(1.2 * (np.sqrt(2.0 * 75.4 / 47.0) - np.sqrt(47.0 / 150.8)) ** 2)


def test_grains_know_no_orientation_and_bounds_are_in_order() -> None:
    triclinic = np.random.default_rng(0).normal(0.0, 10.0, (6, 6))
    triclinic = cubic(160.0, 60.0, 50.0) + triclinic + triclinic.T
    assert least_stiffness_GPa(triclinic) > 0.0
    found = polycrystal(triclinic)
    again = polycrystal(turned(triclinic, Rotation.random(rng=1).as_matrix()))
    assert (again.bulk_GPa, again.shear_GPa, again.universal_anisotropy) == pytest.approx(
        (found.bulk_GPa, found.shear_GPa, found.universal_anisotropy))
    assert found.bulk_voigt_GPa > found.bulk_reuss_GPa and found.shear_voigt_GPa > found.shear_reuss_GPa


def test_an_unstable_crystal_has_no_moduli() -> None:
    assert least_stiffness_GPa(cubic(100.0, 110.0, 50.0)) == pytest.approx(-10.0)
    assert is_stable(cubic(100.0, 110.0, 50.0)) is False and is_stable(cubic(160.0, 60.0, 50.0)) is True
    with pytest.raises(DataError, match="eigenvalue -10 GPa, expected a stable crystal"):
        polycrystal(cubic(100.0, 110.0, 50.0))


def test_vacuum_in_a_cell_is_not_stiffness() -> None:
    """A layer: what is left of its stiffness across is noise of either sign."""
    for noise in (1e-5, -1e-5):
        layer = np.diag([100.0, 100.0, noise, noise, noise, 40.0])
        assert is_stable(layer) is None
        with pytest.raises(DataError, match="vacuum in the cell"):
            polycrystal(layer)
