"""Energy shifts, force RMS and neighbours against values known in advance."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from toolkit.data.statistics import compute_statistics, fit_energy_shifts
from toolkit.errors import DataError

SHIFTS = {"H": -13.6, "C": -1029.4, "O": -2042.0}


def _labelled(formula: str, extra: float = 0.0, forces: np.ndarray | None = None) -> Atoms:
    atoms = Atoms(formula)
    atoms.positions[:, 0] = 1.2 * np.arange(len(atoms))
    energy = sum(SHIFTS[s] for s in atoms.get_chemical_symbols()) + extra
    results = {"energy": energy} | ({} if forces is None else {"forces": forces})
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def test_full_rank_compositions_give_the_shifts_back() -> None:
    frames = [_labelled(formula) for formula in ("CH4", "H2O", "CO2", "C2H6", "CH4O")]
    statistics = compute_statistics(frames, 2.0)
    assert statistics.warnings == ()
    assert statistics.per_species_energy_shifts == pytest.approx(SHIFTS, abs=1e-6)
    assert statistics.energy_residual_rms_eV_per_atom < 1e-6


def test_least_squares_averages_what_it_cannot_explain() -> None:
    frames = [_labelled("CH4", extra) for extra in (-0.5, 0.5)] + [_labelled("CO2"), _labelled("H2O")]
    statistics = compute_statistics(frames, 2.0)
    assert statistics.per_species_energy_shifts == pytest.approx(SHIFTS, abs=1e-6)
    assert statistics.energy_residual_rms_eV_per_atom == pytest.approx(np.sqrt(2 * 0.1**2 / 4), rel=1e-6)


def test_one_composition_warns_and_still_fits() -> None:
    statistics = compute_statistics([_labelled("C9H8O4", extra) for extra in (-1.0, 1.0)], 2.0)
    assert "compositions fix only 1 of 3 energy shifts (H, C, O)" in statistics.warnings[0]
    assert statistics.energy_residual_rms_eV_per_atom == pytest.approx(1.0 / 21.0, rel=1e-6)
    shifts = statistics.per_species_energy_shifts
    assert shifts["C"] / 9 == pytest.approx(shifts["H"] / 8) == pytest.approx(shifts["O"] / 4)


def test_shifts_are_exact_far_from_zero() -> None:
    """Ridge damping and float64 must not cost accuracy at −10⁵ eV."""
    frames = [Atoms(formula) for formula in ("Au2", "Au3", "AuH", "AuH4")]
    for atoms in frames:
        numbers = atoms.get_chemical_symbols()
        atoms.calc = SinglePointCalculator(atoms, energy=-535000.0 * numbers.count("Au") - 13.6 * numbers.count("H"))
    shifts, warnings = fit_energy_shifts(frames)
    assert warnings == () and shifts == pytest.approx({"H": -13.6, "Au": -535000.0}, abs=1e-5)


def test_isolated_atoms_are_taken_as_they_are() -> None:
    statistics = compute_statistics([_labelled("CH4", -17.0)], 2.0, SHIFTS | {"N": -1484.0})
    assert statistics.per_species_energy_shifts == {"H": -13.6, "C": -1029.4}
    assert statistics.energy_residual_rms_eV_per_atom == pytest.approx(3.4) and statistics.warnings == ()


def test_isolated_atoms_of_another_method_warn_and_missing_ones_are_refused() -> None:
    wrong = {"H": -0.5, "C": -37.8}
    assert "belong to another method or unit" in compute_statistics([_labelled("CH4")], 2.0, wrong).warnings[0]
    with pytest.raises(DataError, match=r"no isolated-atom energy for \['C'\], expected one for each of \['H', 'C'\]"):
        compute_statistics([_labelled("CH4")], 2.0, {"H": -13.6})


def test_force_rms_counts_components() -> None:
    forces = np.array([[3.0, 0.0, 0.0], [0.0, -4.0, 0.0]])
    frames = [_labelled("H2", forces=forces), _labelled("H2")]
    assert compute_statistics(frames, 2.0).force_rms_eV_per_A == pytest.approx(np.sqrt(25.0 / 6.0))
    assert np.isnan(compute_statistics([_labelled("H2")], 2.0).force_rms_eV_per_A)


@pytest.mark.parametrize(("r_max", "neighbors"), [(2.7, 12), (3.7, 18), (4.5, 42)])
def test_neighbours_of_copper(r_max: float, neighbors: int) -> None:
    assert compute_statistics([bulk("Cu", a=3.6)], r_max).avg_num_neighbors == neighbors


def test_no_frames_and_no_energies() -> None:
    with pytest.raises(DataError, match="no training frames"):
        compute_statistics([], 2.0)
    statistics = compute_statistics([Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]])], 2.0)
    assert statistics.per_species_energy_shifts == {"H": 0.0} and np.isnan(statistics.energy_residual_rms_eV_per_atom)
