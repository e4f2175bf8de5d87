"""Units are declared, stated or detected, never guessed; wrong signs and mixed units are refused."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.config import DataConfig
from toolkit.data.formats import read_frames
from toolkit.errors import DataError
from toolkit.units import BOHR_A, ENERGY_UNITS_EV, HARTREE_EV, LENGTH_UNITS_A


@pytest.mark.parametrize("energy_unit", sorted(ENERGY_UNITS_EV))
@pytest.mark.parametrize("length_unit", sorted(LENGTH_UNITS_A))
def test_every_unit_is_recognised(npz_file, ethanol_arrays, energy_unit: str, length_unit: str) -> None:
    energy, length = ENERGY_UNITS_EV[energy_unit], LENGTH_UNITS_A[length_unit]
    path = npz_file(R=ethanol_arrays["R"] / length, E=ethanol_arrays["E"] / energy,
                    F=ethanol_arrays["F"] * length / energy)
    read = read_frames(str(path))
    assert (read.report.energy_unit, read.report.length_unit) == (energy_unit, length_unit)
    assert read.report.evidence.count("detected") == 2
    np.testing.assert_allclose(read.frames[5].get_forces(), ethanol_arrays["F"][5], atol=1e-9)
    np.testing.assert_allclose(read.frames[5].positions, ethanol_arrays["R"][5], atol=1e-9)


def _all_electron(ethanol_arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Energies moved to where an all-electron code has them: −155.0 Hartree for ethanol (PBE)."""
    return ethanol_arrays["E"] - ethanol_arrays["E"].mean() - 155.0 * HARTREE_EV


@pytest.mark.parametrize("unit", ["eV", "kcal/mol", "kJ/mol", "Hartree"])
def test_all_electron_totals_alone_decide(npz_file, ethanol_arrays, unit: str) -> None:
    path = npz_file(E=_all_electron(ethanol_arrays) / ENERGY_UNITS_EV[unit], F=None)
    report = read_frames(str(path)).report
    assert report.energy_unit == unit and "all-electron" in report.evidence
    assert report.missing == {"forces": len(ethanol_arrays["E"])}


def test_contradictory_evidence_asks_for_a_declaration(npz_file, ethanol_arrays) -> None:
    shift = _all_electron(ethanol_arrays).mean() / ENERGY_UNITS_EV["kcal/mol"]
    path = npz_file(E=ethanol_arrays["E"] - ethanol_arrays["E"].mean() + shift)
    with pytest.raises(DataError, match=r"contradictory evidence for the energy unit: eV .* kcal/mol .*declare"):
        read_frames(str(path))
    declared = read_frames(str(path), DataConfig(train=str(path), energy_unit="eV"))
    assert declared.report.evidence.startswith("energy in eV: declared")


def test_insufficient_evidence_asks_for_a_declaration(npz_file, ethanol_arrays) -> None:
    path = npz_file(E=ethanol_arrays["E"][:3], R=ethanol_arrays["R"][:3], F=ethanol_arrays["F"][:3])
    with pytest.raises(DataError, match="cannot tell the energy unit.*declare data.energy_unit"):
        read_frames(str(path))
    assert read_frames(str(path), DataConfig(train=str(path), energy_unit="eV")).report.warnings == ()


def test_a_declaration_against_physics_is_obeyed_with_a_warning(npz_file) -> None:
    path = npz_file()
    report = read_frames(str(path), DataConfig(train=str(path), energy_unit="kcal/mol", length_unit="Å")).report
    assert report.energy_unit == "kcal/mol"
    assert "declared as kcal/mol, but physics points to eV" in report.warnings[0]


def test_a_statement_against_physics_is_refused(npz_file, xyz_file) -> None:
    with pytest.raises(DataError, match="the file's e_unit says kcal/mol, but physics points to eV"):
        read_frames(str(npz_file(e_unit=np.array("kcal/mol"))))
    factor = 1.0 / ENERGY_UNITS_EV["kcal/mol"]
    path = xyz_file(energy_factor=factor, forces_factor=factor)
    with pytest.raises(DataError, match="convention of extended XYZ says eV, but physics points to kcal/mol"):
        read_frames(str(path))
    assert read_frames(str(path), DataConfig(train=str(path), energy_unit="kcal/mol")).report.warnings == ()


def test_unknown_unit_strings_fall_back_to_detection(npz_file) -> None:
    assert "detected" in read_frames(str(npz_file(e_unit=np.array("furlong")))).report.evidence


@pytest.mark.parametrize("count", [20, 300])
def test_flipped_forces_are_refused(npz_file, ethanol_arrays, count: int) -> None:
    path = npz_file(R=ethanol_arrays["R"][:count], E=ethanol_arrays["E"][:count], F=-ethanol_arrays["F"][:count])
    with pytest.raises(DataError, match=r"forces have the wrong sign: .*expected forces = −dE/dr.*flip the sign"):
        read_frames(str(path))


def test_flipped_forces_are_refused_in_extended_xyz_even_when_units_are_declared(xyz_file) -> None:
    path = xyz_file(forces_factor=-1.0)
    with pytest.raises(DataError, match="forces have the wrong sign"):
        read_frames(str(path), DataConfig(train=str(path), energy_unit="eV", length_unit="Å"))


MISMATCHES = {
    "forces in kcal/mol/Å with energies in eV": (1.0, 1.0 / ENERGY_UNITS_EV["kcal/mol"]),
    "forces in eV/Å with energies in kcal/mol": (1.0 / ENERGY_UNITS_EV["kcal/mol"], 1.0),
    "forces in eV/Å with energies in Hartree": (1.0 / HARTREE_EV, 1.0),
    "forces in Hartree/Å with energies in eV": (1.0, 1.0 / HARTREE_EV),
    "forces in Hartree/Bohr with energies in eV": (1.0, BOHR_A / HARTREE_EV),
    "forces per Bohr with positions in Å": (1.0 / HARTREE_EV, BOHR_A / HARTREE_EV),
    "energies per atom": (1.0 / 9.0, 1.0),
}


@pytest.mark.parametrize("case", sorted(MISMATCHES))
def test_forces_in_another_unit_than_energies_are_refused(npz_file, ethanol_arrays, case: str) -> None:
    energy, forces = MISMATCHES[case]
    path = npz_file(E=ethanol_arrays["E"] * energy, F=ethanol_arrays["F"] * forces)
    with pytest.raises(DataError) as refused:
        read_frames(str(path))
    assert "forces and energies are not in the same unit" in str(refused.value)
    assert f"it looks like {case}" in str(refused.value)


def test_unrelated_forces_prove_nothing(npz_file, ethanol_arrays) -> None:
    """Noise instead of forces has neither stiffness nor work: the reader asks instead of inventing a unit."""
    noise = np.random.default_rng(0).normal(size=ethanol_arrays["F"].shape)
    with pytest.raises(DataError, match="cannot tell the energy unit"):
        read_frames(str(npz_file(F=noise)))
