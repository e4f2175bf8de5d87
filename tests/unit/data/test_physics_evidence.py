"""The witnesses on systems whose energy, forces and stress are known functions, and on ones that are broken."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from tests.unit.data.corruptions import relabelled
from toolkit.data.detective.pair_witness import pair_witness
from toolkit.data.detective.references import reference_energies
from toolkit.data.detective.species import misfit_share
from toolkit.data.detective.strain import extra_pressures, stress_work
from toolkit.data.formats import read_frames
from toolkit.data.similarity import close_frames
from toolkit.units import EV_PER_A3_GPA


@pytest.fixture(scope="module")
def argon() -> list[Atoms]:
    """Rattled and strained Lennard-Jones crystals with exact labels."""
    rng = np.random.default_rng(0)
    frames = []
    for seed in range(24):
        atoms = bulk("Ni", "fcc", a=3.6, cubic=True) * 2
        strain = rng.normal(0.0, 0.01, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        atoms.rattle(0.03, seed=seed)
        atoms.calc = LennardJones(sigma=2.3, epsilon=0.4, rc=4.8, ro=4.0, smooth=True)
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    return frames


def test_a_pair_potential_is_recognised_as_one(argon: list[Atoms]) -> None:
    witness = pair_witness(argon)
    assert witness.correlation > 0.995 and witness.frames == len(argon)
    assert witness.stress.value == pytest.approx(1.0, abs=0.1) and witness.stress.correlation > 0.97
    r, sigma, epsilon = 3.6 / np.sqrt(2.0), 2.3, 0.4
    exact = 4.0 * epsilon * (156.0 * (sigma / r) ** 12 - 42.0 * (sigma / r) ** 6) / r**2
    assert witness.metal_stiffness == pytest.approx(exact, rel=0.25)


def test_forces_of_other_frames_mean_nothing_to_the_witness(argon: list[Atoms]) -> None:
    shuffled = [relabelled(atoms, forces=argon[t - 5].get_forces()) for t, atoms in enumerate(argon)]
    assert abs(pair_witness(shuffled).correlation) < 0.1


def test_the_witness_declines_where_it_cannot_know(argon: list[Atoms]) -> None:
    assert pair_witness(argon[:3]) is None
    many = [relabelled(atoms, numbers=np.arange(1, len(atoms) + 1)) for atoms in argon]
    assert pair_witness(many) is None
    assert pair_witness([relabelled(atoms, forces=None) for atoms in argon]) is None


def strained_nickel(largest: float, pressure: float = 0.0) -> list[Atoms]:
    """Crystals strained by up to so much, whose stress lacks a pressure, eV/Å³."""
    cells = []
    for k, step in enumerate(np.linspace(-largest, largest, 9)):
        atoms = bulk("Ni", "fcc", a=3.55, cubic=True) * 2
        atoms.set_cell(atoms.cell.array * (1.0 + step * np.roll([1.0, -0.3, 0.5], k)), scale_atoms=True)
        atoms.calc = LennardJones(sigma=2.3, epsilon=0.4, rc=4.8, ro=4.0, smooth=True)
        stress = atoms.get_stress() - pressure * np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces(),
                                           stress=stress)
        cells.append(atoms)
    return cells


def test_work_of_the_stress_is_the_energy_gained() -> None:
    """Cells strained by up to 0.3 %: exact labels give 1, the other sign −1, and GPa a factor of 160."""
    cells = strained_nickel(0.003)
    measured = stress_work(cells)
    assert measured.value == pytest.approx(1.0, abs=0.01) and measured.correlation > 0.999
    wrong = stress_work([relabelled(atoms, stress=-160.2 * atoms.get_stress()) for atoms in cells])
    assert wrong.value == pytest.approx(-160.2, rel=0.01)
    assert stress_work(cells[:3]) is None


def test_the_pressure_that_stresses_lack_is_found() -> None:
    """As in plane-wave calculations whose basis is too small (Pulay stress); none where stress is the slope of the energy."""
    found, = extra_pressures(strained_nickel(0.01, -2.0 / EV_PER_A3_GPA))
    assert found.pressure_eV_per_A3 * EV_PER_A3_GPA == pytest.approx(-2.0, abs=0.02)
    assert found.explained > 100.0 and found.samples > 8
    clean, = extra_pressures(strained_nickel(0.01))
    assert abs(clean.pressure_eV_per_A3) * EV_PER_A3_GPA < 0.02
    assert clean.explained < 2.0
    moving = [relabelled(atoms, forces=np.ones((len(atoms), 3))) for atoms in strained_nickel(0.01)]
    assert extra_pressures(moving) == []


def _labelled(formula: str, energy: float) -> Atoms:
    atoms = Atoms(formula)
    atoms.calc = SinglePointCalculator(atoms, energy=energy)
    return atoms


def test_reference_energies_tell_what_compositions_determine() -> None:
    """Water and hydrogen peroxide fix H and O; carbon comes only as CO2 and CO, which then fix it too."""
    e = {"H": -13.0, "C": -1000.0, "O": -2000.0, "N": -1500.0}
    total = lambda formula: sum(e[symbol] for symbol in Atoms(formula).get_chemical_symbols())  # noqa: E731
    full = reference_energies([_labelled(f, total(f)) for f in ("H2O", "H2O2", "CO2", "CO")], {"C": -1001.0})
    assert full.rank == 3 and full.supply == () and all(entry.determined for entry in full.elements)
    assert {entry.element: entry.fitted_eV for entry in full.elements} == pytest.approx(
        {k: e[k] for k in ("H", "C", "O")}, abs=1e-3)
    assert full.residual_meV_per_atom < 1e-2 and full.elements[1].isolated_atom_eV == -1001.0
    partial = reference_energies([_labelled(f, total(f)) for f in ("H2O", "H2O2", "CN")], {})
    assert [entry.determined for entry in partial.elements] == [True, False, False, True]
    assert partial.rank == 3 and partial.supply == ("C",)
    assert reference_energies([Atoms("H2O")], {}) is None


def test_close_frames_agree_with_comparing_all() -> None:
    rng = np.random.default_rng(1)
    first = rng.normal(size=(80, 50))
    second = np.vstack([first[::9] + 0.02 * rng.normal(size=(9, 50)), rng.normal(size=(30, 50))])
    everything = np.sqrt(np.mean((first[:, None] - second[None]) ** 2, axis=2))
    expected = np.flatnonzero((everything < 0.025).any(axis=0))
    assert close_frames(first, second, 0.025).tolist() == expected.tolist() and len(expected) >= 8
    assert close_frames(first, first, 100.0, earlier=True).tolist() == list(range(1, 80))
    assert close_frames(first, second, 0.025, lambda a, b: a == 9).tolist() == np.flatnonzero(everything[9] < 0.025).tolist()


def test_hot_molecules_fit_their_elements_and_permuted_ones_do_not() -> None:
    frames = read_frames("embedded:ethanol").frames[:200]
    assert max(misfit_share(atoms) for atoms in frames) == 0.0
    assert misfit_share(relabelled(frames[0], numbers=frames[0].numbers[::-1])) > 0.5
