"""Units are declared, stated or detected, never guessed; wrong signs and mixed units are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import toolkit.data
from toolkit.config import DataConfig, EnergyUnit, ForcesUnit, LengthUnit
from toolkit.data.formats import FrameSet, read_frames
from toolkit.errors import DataError
from toolkit.units import BOHR_A, ENERGY_UNITS_EV, FORCE_UNITS_EV_PER_A, HARTREE_EV, LENGTH_UNITS_A

EMBEDDED = Path(toolkit.data.__file__).parent / "embedded"


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


def test_every_unit_can_be_declared() -> None:
    assert set(get_args(EnergyUnit)) == {"auto", *ENERGY_UNITS_EV} and set(get_args(LengthUnit)) == {"auto", *LENGTH_UNITS_A}
    assert set(get_args(ForcesUnit)) == {"auto", *FORCE_UNITS_EV_PER_A}
    assert FORCE_UNITS_EV_PER_A["Hartree/Bohr"] == pytest.approx(51.42207)


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
    """And who does what the message says has the right forces."""
    energy, forces = MISMATCHES[case]
    path = npz_file(E=ethanol_arrays["E"] * energy, F=ethanol_arrays["F"] * forces)
    with pytest.raises(DataError) as refused:
        read_frames(str(path))
    assert "forces and energies are not in the same unit" in str(refused.value)
    assert f"it looks like {case}" in str(refused.value)
    if case == "energies per atom":
        assert "multiply the energies by the number of atoms" in refused.value.hint
        return
    declared = _as_advised(path, refused.value.hint)
    np.testing.assert_allclose(declared.frames[5].get_forces(), ethanol_arrays["F"][5], atol=1e-9)
    np.testing.assert_allclose(declared.frames[5].get_potential_energy(), ethanol_arrays["E"][5], rtol=1e-9)
    assert declared.report.warnings == () and "forces in" in declared.report.evidence


def _as_advised(path: Path, hint: str) -> FrameSet:
    """Read a file with the declarations that a message asks for."""
    units = dict(re.findall(r"data\.(energy_unit|forces_unit): ([^ ,]+)", hint))
    assert set(units) == {"energy_unit", "forces_unit"}
    return read_frames(str(path), DataConfig(train=str(path), **units))


def _embedded_aspirin(chosen: slice) -> dict[str, np.ndarray]:
    """Frames of 21 atoms far enough apart that −F·dr has a correlation of 0.75 … 0.83; energies in Hartree."""
    with np.load(EMBEDDED / "aspirin.npz", allow_pickle=False) as stored:
        return {"z": stored["atomic_numbers"], "R": stored["positions"][chosen].astype(float),
                "E": stored["energies"][chosen] / HARTREE_EV, "F": stored["forces"][chosen].astype(float) / HARTREE_EV}


@pytest.mark.parametrize("chosen", [slice(60), slice(0, None, 5)])
def test_hartree_per_bohr_beside_angstrom_is_seen_through_noise(npz_file, chosen: slice) -> None:
    """A factor of 1.9 on frames too far apart for −F·dr alone: bonds and it together refuse it, and nothing but it."""
    right = _embedded_aspirin(chosen)
    path = npz_file(**right)
    asked = DataConfig(train=str(path), energy_unit="Hartree")
    assert read_frames(str(path), asked).report.warnings == ()
    npz_file(**{**right, "F": right["F"] * BOHR_A})
    with pytest.raises(DataError, match="bond stiffness is 0.* it looks like forces per Bohr") as refused:
        read_frames(str(path), asked)
    np.testing.assert_allclose(_as_advised(path, refused.value.hint).frames[3].get_forces(), right["F"][3] * HARTREE_EV,
                               atol=1e-6)


def test_bonds_alone_ask_for_hartree_per_bohr(npz_file, ethanol_arrays) -> None:
    """Seven frames have no close pairs: bonds alone ask beside energies in Hartree, and are silent when they agree."""
    few = {key: ethanol_arrays[key][:42:6] for key in "REF"}
    path = npz_file(**few)
    asked = DataConfig(train=str(path), energy_unit="Hartree", length_unit="Å")
    npz_file(**{**few, "E": few["E"] / HARTREE_EV, "F": few["F"] / HARTREE_EV})
    assert read_frames(str(path), asked).report.warnings == ()
    npz_file(**{**few, "E": few["E"] / HARTREE_EV, "F": few["F"] * BOHR_A / HARTREE_EV})
    with pytest.raises(DataError, match="in Hartree/Bohr it would be 1.*or with Hartree/Å") as refused:
        read_frames(str(path), asked)
    declared = _as_advised(path, refused.value.hint)
    assert declared.report.warnings == () and declared.report.forces_unit == "Hartree/Bohr"
    np.testing.assert_allclose(declared.frames[0].get_forces(), few["F"][0], atol=1e-9)
    obeyed = read_frames(str(path), asked.model_copy(update={"forces_unit": "Hartree/Å"})).report
    assert "in Hartree/Bohr it would be 1." in obeyed.warnings[0] and "or with" not in obeyed.warnings[0]


@pytest.mark.parametrize("count", [7, 12, 30, 100])
def test_rydberg_per_bohr_is_not_taken_for_hartree_per_angstrom(npz_file, ethanol_arrays, count: int) -> None:
    """Units of Quantum ESPRESSO beside Å: bonds look right in Hartree/Å, and every energy would be twice what it is."""
    some = {key: ethanol_arrays[key][:count] if count == 100 else ethanol_arrays[key][:6 * count:6][:count] for key in "REF"}
    rydberg = {"E": some["E"] / ENERGY_UNITS_EV["Rydberg"], "F": some["F"] / FORCE_UNITS_EV_PER_A["Rydberg/Bohr"]}
    path = npz_file(**{**some, **rydberg})
    with pytest.raises(DataError) as refused:
        read_frames(str(path))
    declared = _as_advised(path, refused.value.hint)
    np.testing.assert_allclose(declared.frames[0].get_forces(), some["F"][0], atol=1e-9)
    assert declared.frames[0].get_potential_energy() == pytest.approx(some["E"][0])
    with pytest.raises(DataError) as refused:
        read_frames(str(path), DataConfig(train=str(path), energy_unit="Rydberg"))
    np.testing.assert_allclose(_as_advised(path, refused.value.hint).frames[0].get_forces(), some["F"][0], atol=1e-9)


def test_bonds_alone_warn_of_other_units(npz_file, ethanol_arrays) -> None:
    """Unusual bonds are no reason to refuse eV/Å; the warning names all there is to declare."""
    few = {key: ethanol_arrays[key][:42:6] for key in "REF"}
    path = npz_file(**{**few, "F": few["F"] * BOHR_A})
    warned = read_frames(str(path), DataConfig(train=str(path), energy_unit="eV", length_unit="Å")).report
    assert "declare data.energy_unit: eV with data.forces_unit: eV/Bohr" in warned.warnings[0]
    assert _as_advised(path, warned.warnings[0]).report.warnings == ()


def test_a_force_unit_against_physics_is_obeyed_with_a_warning(npz_file, ethanol_arrays) -> None:
    path = npz_file()
    read = read_frames(str(path), DataConfig(train=str(path), energy_unit="eV", forces_unit="kcal/mol/Å"))
    assert "forces unit declared as kcal/mol/Å, but forces and energies are not in the same unit" in read.report.warnings[-1]
    np.testing.assert_allclose(read.frames[0].get_forces(), ethanol_arrays["F"][0] * ENERGY_UNITS_EV["kcal/mol"])


def test_a_declared_force_unit_finds_the_energy(npz_file, ethanol_arrays) -> None:
    """Valence-only energies have no totals to compare: their unit follows from the work of forces in a known unit."""
    path = npz_file(E=ethanol_arrays["E"] / HARTREE_EV, F=ethanol_arrays["F"] * BOHR_A / HARTREE_EV)
    report = read_frames(str(path), DataConfig(train=str(path), forces_unit="Hartree/Bohr")).report
    assert (report.energy_unit, report.forces_unit) == ("Hartree", "Hartree/Bohr")
    assert "−F·dr between close frames is 0.96 × their energy difference in Hartree" in report.evidence


def test_names_of_keys_and_headers_state_the_force_unit(xyz_file, npz_file, ethanol_arrays) -> None:
    mixed = {"energy_factor": 1.0 / HARTREE_EV, "forces_factor": BOHR_A / HARTREE_EV}
    path = xyz_file(energy_key="energy_hartree", forces_key="forces_hartree_per_bohr", **mixed)
    config = DataConfig(train=str(path), energy_key="energy_hartree", forces_key="forces_hartree_per_bohr")
    read = read_frames(str(path), config)
    assert read.report.forces_unit == "Hartree/Bohr" and read.report.warnings == ()
    np.testing.assert_allclose(read.frames[7].get_forces(), ethanol_arrays["F"][7], atol=1e-6)
    about = {"energy_unit": "Hartree", "length_unit": "Å", "forces_unit": "Hartree/Bohr"}
    path = npz_file(E=ethanol_arrays["E"] / HARTREE_EV, F=ethanol_arrays["F"] * BOHR_A / HARTREE_EV,
                    metadata=np.array(json.dumps(about)))
    np.testing.assert_allclose(read_frames(str(path)).frames[7].get_forces(), ethanol_arrays["F"][7], atol=1e-6)


def test_unrelated_forces_prove_nothing(npz_file, ethanol_arrays) -> None:
    """Noise instead of forces has neither stiffness nor work: the reader asks instead of inventing a unit."""
    noise = np.random.default_rng(0).normal(size=ethanol_arrays["F"].shape)
    with pytest.raises(DataError, match="cannot tell the energy unit"):
        read_frames(str(npz_file(F=noise)))


@pytest.mark.parametrize("copies", [11, 60])
def test_copies_of_a_frame_do_not_hide_mixed_units(npz_file, ethanol_arrays, copies: int) -> None:
    """Hartree and Hartree/Bohr beside Å. Pairs at no distance say nothing, and must not crowd out those that do."""
    order = np.concatenate([np.arange(60), np.resize(np.arange(60 if copies == 60 else 1), copies)])
    arrays = {"R": ethanol_arrays["R"][order], "E": ethanol_arrays["E"][order] / HARTREE_EV,
              "F": ethanol_arrays["F"][order] * BOHR_A / HARTREE_EV}
    with pytest.raises(DataError):
        read_frames(str(npz_file(**arrays)))
    with pytest.raises(DataError, match="dr"):
        read_frames(str(npz_file(**arrays)), DataConfig(train="a.npz", energy_unit="Hartree", length_unit="Å"))


def _with_header(path: Path, entries: list[str], count: int) -> Path:
    """The file with entries appended to the headers of its frames, of `count` atoms, in turn."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, place in enumerate(range(1, len(lines), count + 2)):
        lines[place] += f" {entries[number % len(entries)]}"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_units_in_headers_are_read(xyz_file, ethanol_arrays) -> None:
    factor = 1.0 / ENERGY_UNITS_EV["kcal/mol"]
    path = _with_header(xyz_file(energy_factor=factor, forces_factor=factor), ["energy_unit=kcal/mol"], 9)
    found = read_frames(str(path))
    assert found.report.energy_unit == "kcal/mol" and "the file's header" in found.report.evidence
    assert found[3].get_potential_energy() == pytest.approx(ethanol_arrays["E"][3])


@pytest.mark.parametrize(("entry", "key"), [("energy_unit=kcal", "energy_unit"), ("length_unit=furlong", "length_unit"),
                                            ("energy_unit=eV forces_unit=hartree/atom", "forces_unit")])
def test_a_unit_in_a_header_that_is_not_known_is_refused_unless_declared(xyz_file, entry: str, key: str) -> None:
    path = _with_header(xyz_file(), [entry], 9)
    with pytest.raises(DataError, match=f"found {key}=.*declare data.{key}"):
        read_frames(str(path))
    declared = {"energy_unit": "eV", "length_unit": "Å", "forces_unit": "eV/Å"}
    assert len(read_frames(str(path), DataConfig(train=str(path), **{key: declared[key]}))) == 60


def test_frames_of_different_units_are_refused(xyz_file) -> None:
    path = _with_header(xyz_file(), ["energy_unit=eV", "energy_unit=kcal/mol"], 9)
    with pytest.raises(DataError, match="different energy_units, eV, kcal/mol"):
        read_frames(str(path))


def test_a_length_unit_alone_in_a_header_counts(tmp_path) -> None:
    path = tmp_path / "h2.xyz"
    path.write_text("".join(f"2\nlength_unit=Bohr energy={-31.0 - k} Properties=species:S:1:pos:R:3\n"
                            f"H 0 0 0\nH 0 0 {1.4 + 0.01 * k}\n" for k in range(3)), encoding="utf-8")
    found = read_frames(str(path))
    assert found.report.length_unit == "Bohr" and found[0].get_distance(0, 1) == pytest.approx(1.4 * BOHR_A)
