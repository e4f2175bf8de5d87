"""Vibrations whose frequencies are known on paper, and agreement with ASE's finite differences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.optimize import BFGS
from ase.vibrations import Vibrations

from toolkit.analysis.normal_modes import CM1_PER_ROOT, NormalModes, normal_modes, rigid_motions
from toolkit.analysis.thermochemistry import rrho
from toolkit.errors import ConfigError, DataError
from toolkit.interfaces.ase_calculator import Calculator
from toolkit.interfaces.relaxation import Relaxed, cartesian_hessian, relax, vibrations
from toolkit.models.pair import HarmonicSprings, LennardJones, pair_potential
from toolkit.models.potential import Potential, build_potential

STIFFNESS, BOND = 40.0, 1.2
ARGON = pair_potential(LennardJones(("Ar",), 0.0104, 3.4, 12.0))


def springs(reach: float) -> Potential:
    """Springs of length BOND between all atoms nearer than `reach`."""
    return pair_potential(HarmonicSprings(("C", "O", "H"), STIFFNESS, BOND, 1.25 * reach))


def triangle() -> Atoms:
    """Three unequal atoms at the corners of an equilateral triangle: bent, and at rest for these springs."""
    return Atoms("OCH", [[0.0, 0.0, 0.0], [BOND, 0.0, 0.0], [BOND / 2, BOND * np.sqrt(0.75), 0.0]])


def chain() -> Atoms:
    """O–C–O in a line, askew in space."""
    direction = np.array([1.0, 2.0, -0.5]) / np.linalg.norm([1.0, 2.0, -0.5])
    return Atoms("OCO", np.array([-1.0, 0.0, 1.0])[:, None] * BOND * direction + [3.0, 1.0, 2.0])


def lj_cluster() -> Relaxed:
    """Thirteen argon atoms at a minimum of Lennard-Jones."""
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True) * (3, 3, 3)
    inner = np.argsort(np.linalg.norm(atoms.positions - atoms.positions[62], axis=1))[:13]
    cluster = Atoms("Ar13", atoms.positions[inner])
    cluster.rattle(0.05, seed=0)
    return relax(ARGON, cluster)


def test_a_diatomic_vibrates_with_the_root_of_k_over_mu():
    atoms = Atoms("CO", [[0.3, 0.2, 0.1], [0.3, 0.2, 0.1 + BOND]])
    modes = vibrations(springs(2.0), atoms)
    mass = np.prod(atoms.get_masses()) / atoms.get_masses().sum()
    assert modes.frequencies_cm1 == pytest.approx([CM1_PER_ROOT * np.sqrt(STIFFNESS / mass)], rel=1e-9)
    assert modes.linear and len(modes.zero_modes_cm1) == 5 and modes.n_imaginary == 0


def test_a_linear_triatomic_has_five_zero_modes_and_the_stretches_on_paper():
    """ω² = k/m_O (symmetric) and k (1/m_O + 2/m_C); nothing resists bending, so both bends have ω = 0."""
    modes = vibrations(springs(1.8), chain())
    oxygen, carbon = 15.999, 12.011
    exact = CM1_PER_ROOT * np.sqrt(STIFFNESS * np.array([1.0 / oxygen, 1.0 / oxygen + 2.0 / carbon]))
    assert len(modes.zero_modes_cm1) == 5 and len(modes.frequencies_cm1) == 4
    np.testing.assert_allclose(modes.frequencies_cm1[2:], exact, rtol=1e-6)
    assert np.abs(modes.frequencies_cm1[:2]).max() < 0.1
    assert modes.reduced_masses_amu[2] == pytest.approx(oxygen, rel=1e-6)


def test_a_bent_triatomic_has_six_zero_modes_and_orthonormal_vibrations():
    modes = vibrations(springs(2.0), triangle())
    assert not modes.linear and len(modes.zero_modes_cm1) == 6 and len(modes.frequencies_cm1) == 3
    assert modes.frequencies_cm1.min() > 500.0
    assert np.abs(modes.zero_modes_unprojected_cm1).max() < 5.0 and np.abs(modes.zero_modes_cm1).max() < 0.1
    vectors = modes.eigenvectors.reshape(3, 9)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-12)
    momentum = (np.sqrt(modes.masses)[:, None] * modes.eigenvectors).sum(axis=1)
    assert np.abs(momentum).max() < 1e-10


def test_forgetting_the_masses_is_noticed():
    """The frequencies of an isotope follow from the masses: a variant that treats all atoms alike gives others."""
    atoms = triangle()
    right = vibrations(springs(2.0), atoms)
    alike = normal_modes(cartesian_hessian(springs(2.0), atoms), atoms.positions, np.full(3, atoms.get_masses().mean()))
    product = np.prod(right.frequencies_cm1 / vibrations(springs(2.0), deuterated(atoms)).frequencies_cm1)
    assert product == pytest.approx(teller_redlich(atoms, deuterated(atoms)), rel=1e-9)
    wrong = np.prod(alike.frequencies_cm1 / right.frequencies_cm1)
    assert abs(wrong - teller_redlich(atoms, deuterated(atoms))) > 0.05


def deuterated(atoms: Atoms) -> Atoms:
    """The same molecule with deuterium for hydrogen."""
    heavy = atoms.copy()
    heavy.set_masses(np.where(atoms.numbers == 1, 2.014, atoms.get_masses()))
    return heavy


def teller_redlich(light: Atoms, heavy: Atoms) -> float:
    """Π ω/ω' of two isotopomers: √(Π m'/m · (M/M')³ · Π I/I') (Redlich, Z. Phys. Chem. B 28, 371 (1935))."""
    masses = np.prod(heavy.get_masses() / light.get_masses()) ** 3
    total = (light.get_masses().sum() / heavy.get_masses().sum()) ** 3
    inertia = np.prod(light.get_moments_of_inertia() / heavy.get_moments_of_inertia())
    return float(np.sqrt(masses * total * inertia))


def test_modes_of_a_lennard_jones_cluster_agree_with_ase(tmp_path: Path):
    relaxed = lj_cluster()
    found = vibrations(ARGON, relaxed.atoms)
    atoms = relaxed.atoms.copy()
    atoms.calc = Calculator(ARGON)
    theirs = Vibrations(atoms, delta=1e-3, name=str(tmp_path / "vib"))
    theirs.run()
    assert relaxed.fmax_eV_per_A <= 1e-4 and found.n_imaginary == 0
    assert np.abs(found.zero_modes_unprojected_cm1).max() < 5.0
    np.testing.assert_allclose(found.frequencies_cm1, theirs.get_frequencies().real[6:], atol=0.02)


def test_the_same_hessian_gives_the_same_modes_as_ase(tmp_path: Path):
    """EMT's Hessian of a copper cluster away from its minimum, so that imaginary frequencies occur too."""
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
    atoms.pbc = False
    atoms.calc = EMT()
    BFGS(atoms, logfile=None).run(fmax=1e-3)
    theirs = Vibrations(atoms, delta=1e-3, name=str(tmp_path / "vib"))
    theirs.run()
    data = theirs.get_vibrations()
    found = normal_modes(data.get_hessian_2d(), atoms.positions, atoms.get_masses())
    expected = data.get_frequencies()
    signed = np.sort(expected.real - expected.imag)
    together = np.sort(np.concatenate([found.frequencies_cm1, found.zero_modes_unprojected_cm1]))
    np.testing.assert_allclose(together, signed, atol=1.0)


def test_a_saddle_has_a_negative_frequency():
    """Lennard-Jones atoms in a row: stable along the line, unstable against bending."""
    atoms = Atoms("Ar3", [[-3.75, 0.0, 0.0], [0.0, 0.0, 0.0], [3.75, 0.0, 0.0]])
    modes = vibrations(ARGON, relax(ARGON, atoms).atoms)
    assert modes.linear and modes.n_imaginary == 2 and modes.frequencies_cm1[-1] > 10.0


def test_a_strained_crystal_relaxes_to_zero_stress():
    strained = bulk("Ar", "fcc", a=5.3, cubic=True)
    strained.set_cell(strained.cell.array @ (np.eye(3) + [[0.02, 0.01, 0.0], [0.0, -0.02, 0.0], [0.0, 0.0, 0.01]]),
                      scale_atoms=True)
    fixed, free = relax(ARGON, strained), relax(ARGON, strained, cell=True)
    assert np.abs(ARGON.predict(fixed.atoms)["stress"]).max() > 5e-4
    assert np.abs(ARGON.predict(free.atoms)["stress"]).max() * free.atoms.get_volume() < 2e-4
    assert free.energy_eV < fixed.energy_eV
    np.testing.assert_allclose(free.atoms.cell.angles(), 90.0, atol=0.1)
    large = relax(ARGON, strained * (2, 2, 2), cell=True, fmax=1e-3)  # the limit is that of the whole cell, not of an atom
    assert np.linalg.norm(ARGON.predict(large.atoms)["stress"], axis=1).max() * large.atoms.get_volume() < 1.5e-3


def test_fixed_atoms_are_not_moved_in_silence():
    held = triangle()
    held.set_constraint(FixAtoms([0]))
    with pytest.raises(DataError, match="FixAtoms.*this relaxation moves all atoms"):
        relax(springs(2.0), held)
    with pytest.raises(DataError, match="a normal mode moves all atoms"):
        vibrations(springs(2.0), held)


def test_bad_hessians_and_single_precision_are_refused(small_config, ethanol):
    positions, masses = triangle().positions, triangle().get_masses()
    with pytest.raises(DataError, match="shape"):
        normal_modes(np.eye(6), positions, masses)
    with pytest.raises(DataError, match="transpose"):
        normal_modes(np.arange(81.0).reshape(9, 9), positions, masses)
    with pytest.raises(ConfigError, match="float64"):
        relax(build_potential(small_config), ethanol)
    with pytest.raises(DataError, match="still"):
        relax(ARGON, Atoms("Ar3", [[0.0, 0.0, 0.0], [3.6, 0.0, 0.0], [0.0, 4.2, 0.5]]), max_steps=1)


@pytest.mark.parametrize(("name", "wavenumbers", "symmetry_number", "entropy"), [
    ("H2O", [1594.7, 3657.1, 3755.9], 2, 188.83), ("N2", [2358.6], 2, 191.61),
    ("CO2", [667.4, 667.4, 1333.0, 2349.0], 2, 213.79)])
def test_entropies_of_gases_are_the_measured_ones(name: str, wavenumbers: list[float], symmetry_number: int,
                                                  entropy: float):
    """Standard entropies at 298.15 K and 1 bar from measured fundamentals: CODATA and NIST, J/mol/K."""
    atoms = molecule(name)
    linear = name != "H2O"
    modes = NormalModes(np.array(wavenumbers), np.zeros((len(wavenumbers), len(atoms), 3)), np.ones(len(wavenumbers)),
                        np.zeros(5), np.zeros(5), atoms.positions, atoms.get_masses(), linear)
    gas = rrho(modes, symmetry_number=symmetry_number)
    assert gas.entropy_eV_per_K * 96485.33 == pytest.approx(entropy, abs=0.5)
    assert gas.gibbs_energy_eV == pytest.approx(gas.enthalpy_eV - 298.15 * gas.entropy_eV_per_K)
    wrong = rrho(modes, symmetry_number=1)
    gained = wrong.entropy_eV_per_K - gas.entropy_eV_per_K
    assert gained == pytest.approx(8.617333e-5 * np.log(symmetry_number), rel=1e-5)


def test_a_single_atom_has_only_its_translation():
    """Sackur and Tetrode: argon at 298.15 K and 1 bar has 154.85 J/mol/K (CODATA)."""
    modes = NormalModes(np.zeros(0), np.zeros((0, 1, 3)), np.ones(0), np.zeros(3), np.zeros(3), np.zeros((1, 3)), np.array([39.948]), False)
    gas = rrho(modes)
    assert gas.entropy_eV_per_K * 96485.33 == pytest.approx(154.85, abs=0.05) and gas.helmholtz_vibrational_eV == 0.0


def test_the_cell_of_a_molecule_is_not_relaxed():
    with pytest.raises(DataError, match="not periodic along all three"):
        relax(springs(2.0), triangle(), cell=True)


def test_imaginary_modes_are_left_out_of_the_free_energy_and_counted():
    modes = vibrations(springs(2.0), triangle())
    unstable = replace(modes, frequencies_cm1=modes.frequencies_cm1 * [-1.0, 1.0, 1.0])
    gas = rrho(unstable)
    assert gas.n_imaginary_left_out == 1
    assert gas.zero_point_energy_eV == pytest.approx(0.5 * 1.239842e-4 * modes.frequencies_cm1[1:].sum(), rel=1e-6)


def test_a_molecule_in_a_box_turns_freely():
    """As long as it feels no image of itself: then it has the modes that it has without a box."""
    free = vibrations(springs(1.3), triangle())
    boxed = triangle()
    boxed.set_cell([12.0] * 3)
    boxed.pbc = True
    found = vibrations(springs(1.3), boxed)
    assert found.turns and np.allclose(found.frequencies_cm1, free.frequencies_cm1, atol=1e-6)
    boxed.set_cell([12.0, 12.0, 1.5])
    assert not vibrations(springs(1.3), boxed).turns


def test_a_polymer_turns_about_its_axis():
    """A zigzag that repeats along z: four zero modes, wherever it lies; a straight chain has no turn to take out."""
    zigzag = Atoms("C2", [[0.0, 0.4, 0.0], [0.3, -0.4, 0.9]], cell=[0.0, 0.0, 1.8], pbc=[False, False, True])
    model = pair_potential(LennardJones(("C",), 0.5, 1.1, 3.0))
    for seed in range(4):
        moved = zigzag.copy()
        moved.rattle(0.03, seed=seed)
        moved.positions += [5.0, -3.0, 2.0]
        found = vibrations(model, relax(model, moved).atoms)
        assert len(found.zero_modes_cm1) == 4 and len(found.frequencies_cm1) == 2 and not found.turns
        assert found.n_imaginary == 0 and np.abs(found.zero_modes_unprojected_cm1).max() < 5.0 < 100.0 < found.frequencies_cm1[0]
    straight = rigid_motions(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.9]]), np.ones(2), rotations=False, axis=np.array([0.0, 0.0, 1.8]))
    assert len(straight) == 3
