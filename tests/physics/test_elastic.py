"""Elastic constants of pair potentials against what theory says of them, and of matrices that are known."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from toolkit.analysis.elastic import cubic_constants, strain_matrix, strain_set
from toolkit.errors import ConfigError, DataError
from toolkit.interfaces.elasticity import Elasticity, elastic_constants
from toolkit.models.pair import LennardJones, pair_potential
from toolkit.progress import SilentReporter
from toolkit.units import EV_PER_A3_GPA

ARGON = bulk("Ar", "fcc", a=5.3, cubic=True)


@pytest.fixture(scope="module")
def argon() -> Elasticity:
    return elastic_constants(pair_potential(LennardJones(("Ar",), 0.0104, 3.4, 8.0)), ARGON, strain=0.002, fmax=1e-6)


def test_pair_forces_obey_cauchys_relation_at_zero_pressure(argon):
    """C12 = C44 where every atom is a centre of inversion and forces are central (Born & Huang, 1954, section 11)."""
    found = argon.constants
    assert found.c12_GPa > 1.0
    assert found.c44_GPa == pytest.approx(found.c12_GPa, rel=2e-3)
    assert max(found.c11_stderr_GPa, found.c12_stderr_GPa, found.c44_stderr_GPa) < 1e-3 * found.c12_GPa
    assert found.stable
    assert 1.5 < found.zener_ratio < 4.0


def test_the_bulk_modulus_is_the_curvature_of_the_energy(argon):
    """B = V d²E/dV² of E(V), by a polynomial through nine volumes."""
    pot = pair_potential(LennardJones(("Ar",), 0.0104, 3.4, 8.0))
    atoms, ratios = argon.relaxed.atoms, np.linspace(0.98, 1.02, 9)
    energies = []
    for ratio in ratios:
        scaled = atoms.copy()
        scaled.set_cell(scaled.cell.array * ratio ** (1.0 / 3.0), scale_atoms=True)
        energies.append(pot.predict(scaled)["energy"])
    curvature = np.polynomial.Polynomial.fit(ratios, energies, 5).deriv(2)(1.0) / atoms.get_volume()
    assert argon.constants.bulk_modulus_GPa == pytest.approx(curvature * EV_PER_A3_GPA, rel=1e-3)


def test_ions_that_may_move_make_a_disordered_crystal_softer():
    pot = pair_potential(LennardJones(("Ar",), 0.0104, 3.4, 6.0))
    vacancy = (ARGON * 2)[1:]
    found = elastic_constants(pot, vacancy, strain=0.003, fmax=1e-5)
    assert found.constants.c44_GPa < 0.999 * found.clamped.c44_GPa
    assert found.constants.bulk_modulus_GPa < found.clamped.bulk_modulus_GPa


def test_known_constants_are_recovered_from_their_stresses():
    generator, strains = np.random.default_rng(0), strain_set(0.01)
    stiffness = np.zeros((6, 6))
    stiffness[:3, :3] = 120.0
    np.fill_diagonal(stiffness, [170.0] * 3 + [75.0] * 3)
    stresses = strains @ stiffness / EV_PER_A3_GPA + 0.003  # the stress of the reference does not matter
    found = cubic_constants(strains, stresses)
    assert (found.c11_GPa, found.c12_GPa, found.c44_GPa) == pytest.approx((170.0, 120.0, 75.0))
    assert found.bulk_modulus_GPa == pytest.approx(410.0 / 3.0)
    noisy = cubic_constants(strains, stresses + generator.normal(0.0, 1e-4, stresses.shape))
    assert noisy.c11_stderr_GPa > 0.01
    assert abs(noisy.c11_GPa - 170.0) < 5.0 * noisy.c11_stderr_GPa


def test_a_crystal_that_does_not_stand_along_its_axes_is_known():
    """Copper with [111] along z would otherwise come out as C11 225, C12 92, C44 46 GPa."""
    tensor = np.zeros((3, 3, 3, 3))
    one = np.eye(3)
    for (i, j, k, m), _ in np.ndenumerate(tensor):
        cubic = sum(one[i, a] * one[j, a] * one[k, a] * one[m, a] for a in range(3))
        tensor[i, j, k, m] = (121.0 * one[i, j] * one[k, m] + 75.0 * (one[i, k] * one[j, m] + one[i, m] * one[j, k])
                              + (168.0 - 121.0 - 150.0) * cubic)
    axes = np.array([[1.0, -1.0, 0.0], [1.0, 1.0, -2.0], [1.0, 1.0, 1.0]])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    for turn, smallest, largest in ((np.eye(3), 0.0, 1e-9), (axes, 0.3, 1.0)):
        turned = np.einsum("ai,bj,ck,dm,ijkm->abcd", turn, turn, turn, turn, tensor)
        stresses = [np.einsum("ijkm,km->ij", turned, strain_matrix(strain))[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
                    for strain in strain_set(0.01)]
        assert smallest <= cubic_constants(strain_set(0.01), np.array(stresses) / EV_PER_A3_GPA).misfit <= largest


def test_shears_are_engineering_strains_and_all_kinds_are_needed():
    assert strain_matrix(np.array([0, 0, 0, 0.02, 0, 0]))[1, 2] == 0.01
    with pytest.raises(DataError, match="all six kinds"):
        cubic_constants(strain_set(0.01)[:5], np.zeros((5, 6)))


def test_single_precision_is_refused():
    pot = pair_potential(LennardJones(("Ar",), 0.0104, 3.4, 8.0).float())
    with pytest.raises(ConfigError, match="float64"):
        elastic_constants(pot, ARGON)


class StopAfter(SilentReporter):
    """Asks to stop once so many relaxations have ended, known by how their steps begin again."""

    def __init__(self, relaxations: int) -> None:
        self._left, self._step = relaxations, -1

    def update(self, step: int, total: int, message: str = "") -> None:
        self._left -= step <= self._step
        self._step = step

    def should_stop(self) -> bool:
        return self._left <= 0


@pytest.mark.parametrize("relaxations", [0, 1, 5])
def test_asked_to_stop_in_any_relaxation_there_are_no_constants(relaxations):
    pot = pair_potential(LennardJones(("Ar",), 0.0104, 3.4, 6.0))
    assert elastic_constants(pot, bulk("Ar", "hcp", a=3.7, c=6.1), fmax=1e-5, reporter=StopAfter(relaxations)) is None
