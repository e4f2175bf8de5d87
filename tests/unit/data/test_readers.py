"""Every layout and unit ends as the same frames in eV and Å, with a report that says what was found."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from toolkit.config import DataConfig, ModelConfig
from toolkit.data.formats import FrameSet, read_frames
from toolkit.data.graph import total_charge
from toolkit.errors import DataError
from toolkit.models.potential import build_potential
from toolkit.training.metrics import evaluate_potential
from toolkit.units import BOHR_A, HARTREE_EV, KCAL_PER_MOL_EV

LAYOUTS = {
    "md17": {"z": "z", "R": "R", "E": "E", "F": "F"},
    "rmd17": {"z": "nuclear_charges", "R": "coords", "E": "energies", "F": "forces"},
    "plain": {"z": "atomic_numbers", "R": "positions", "E": "energy", "F": "forces"},
}


def _assert_same(frame_set: FrameSet, arrays: dict[str, np.ndarray], tolerance: float = 1e-9) -> None:
    for t, atoms in enumerate(frame_set.frames):
        np.testing.assert_array_equal(atoms.numbers, arrays["z"])
        np.testing.assert_allclose(atoms.positions, arrays["R"][t], atol=tolerance)
        np.testing.assert_allclose(atoms.calc.results["energy"], arrays["E"][t], atol=tolerance)
        np.testing.assert_allclose(atoms.calc.results["forces"], arrays["F"][t], atol=tolerance)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_npz_layouts(layout: str, npz_file, ethanol_arrays) -> None:
    names = LAYOUTS[layout]
    path = npz_file(**{**dict.fromkeys("zREF"), **{names[key]: ethanol_arrays[key] for key in "zREF"}})
    read = read_frames(str(path))
    assert len(read.frames) == read.report.num_frames == len(ethanol_arrays["E"])
    assert (read.report.energy_key, read.report.forces_key) == (names["E"], names["F"])
    assert (read.report.energy_unit, read.report.length_unit) == ("eV", "Å")
    assert "Badger" in read.report.evidence and read.report.missing == {} and read.report.warnings == ()
    _assert_same(read, ethanol_arrays)


def test_what_was_read_is_the_sequence_of_its_frames(npz_file, ethanol_arrays) -> None:
    read = read_frames(str(npz_file(**ethanol_arrays)))
    assert len(read) == len(ethanol_arrays["E"]) and read[-1] is list(read)[-1]
    errors = evaluate_potential(build_potential(ModelConfig(species=["H", "C", "O"], l_max=0, num_layers=1)), read[:3])
    assert errors["n_frames"] == 3


def test_npz_energies_of_shape_frames_by_one(npz_file, ethanol_arrays) -> None:
    _assert_same(read_frames(str(npz_file(E=ethanol_arrays["E"][:, None]))), ethanol_arrays)


@pytest.mark.parametrize("as_bytes", [False, True])
def test_sgdml_unit_strings_decide(npz_file, ethanol_arrays, as_bytes: bool) -> None:
    unit = np.array(b"kcal/mol" if as_bytes else "kcal/mol")
    path = npz_file(E=ethanol_arrays["E"] / KCAL_PER_MOL_EV, F=ethanol_arrays["F"] / KCAL_PER_MOL_EV,
                    e_unit=unit, r_unit=np.array("Ang"), type=np.array("d"))
    read = read_frames(str(path))
    assert read.report.energy_unit == "kcal/mol" and "e_unit and r_unit" in read.report.evidence
    _assert_same(read, ethanol_arrays)


def test_sgdml_lattice_vectors_are_columns(npz_file) -> None:
    lattice = np.array([[9.0, 1.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    first = read_frames(str(npz_file(lattice=lattice, type="d"))).frames[0]
    np.testing.assert_array_equal(first.cell.array, lattice.T)
    assert first.pbc.all()
    with pytest.raises(DataError, match="these may be rows"):
        read_frames(str(npz_file(lattice=lattice)))
    np.testing.assert_array_equal(read_frames(str(npz_file(cell=lattice))).frames[0].cell.array, lattice)
    box = np.diag([9.0, 8.0, 7.0])
    np.testing.assert_array_equal(read_frames(str(npz_file(lattice=box))).frames[0].cell.array, box)


def test_padded_atomic_numbers_give_smaller_molecules(npz_file, ethanol_arrays) -> None:
    z = np.tile(ethanol_arrays["z"], (len(ethanol_arrays["E"]), 1))
    z[::2, -1] = 0
    frames = read_frames(str(npz_file(z=z))).frames
    assert [len(atoms) for atoms in frames[:4]] == [8, 9, 8, 9]
    assert frames[0].calc.results["forces"].shape == (8, 3)


def test_npz_keys_can_be_declared(npz_file, ethanol_arrays) -> None:
    path = npz_file(E_pbe=ethanol_arrays["E"] + 3.0)
    read = read_frames(str(path), DataConfig(train=str(path), energy_key="E_pbe"))
    assert read.report.energy_key == "E_pbe"
    assert read.frames[0].calc.results["energy"] == pytest.approx(ethanol_arrays["E"][0] + 3.0)


@pytest.mark.parametrize(("energy_key", "forces_key"), [("energy", "forces"), ("REF_energy", "REF_forces"),
                                                        ("dft_energy", "DFT_forces"), ("TotEnergy", "force")])
def test_extended_xyz_key_names(xyz_file, ethanol_arrays, energy_key: str, forces_key: str) -> None:
    path = xyz_file(energy_key=energy_key, forces_key=forces_key)
    config = DataConfig(train=str(path), energy_key=energy_key if energy_key == "TotEnergy" else None)
    read = read_frames(str(path), config)
    assert (read.report.energy_key, read.report.forces_key) == (energy_key, forces_key)
    assert read.report.evidence.startswith("energy in eV: the convention of extended XYZ, bond stiffness")
    assert energy_key not in read.frames[0].info and forces_key not in read.frames[0].arrays
    _assert_same(read, ethanol_arrays, tolerance=1e-7)


def test_several_energies_are_reported(xyz_file) -> None:
    path = xyz_file(energy_key="REF_energy", forces_key="REF_forces", count=10)
    text = path.read_text().replace("REF_energy=", "total_energy=-1.0 REF_energy=")
    path.write_text(text)
    report = read_frames(str(path)).report
    assert report.energy_key == "REF_energy" and "'total_energy'" in report.warnings[0]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_compressed_files(xyz_file, ethanol_arrays, suffix: str) -> None:
    _assert_same(read_frames(str(xyz_file(name=f"frames.extxyz{suffix}", count=8))), ethanol_arrays, tolerance=1e-7)


def test_unit_in_the_key_name(tmp_path: Path) -> None:
    path = tmp_path / "atomisation.xyz"
    path.write_text("3\nProperties=species:S:1:pos:R:3 heat_kcal_mol=-232.0\n"
                    "O 0 0 0.12\nH 0 0.76 -0.48\nH 0 -0.76 -0.48\n")
    read = read_frames(str(path), DataConfig(train=str(path), energy_key="heat_kcal_mol"))
    assert read.report.energy_unit == "kcal/mol" and "the key 'heat_kcal_mol'" in read.report.evidence
    assert read.frames[0].calc.results["energy"] == pytest.approx(-232.0 * KCAL_PER_MOL_EV)
    assert read.report.missing == {"forces": 1}


def test_unrecognised_labels_are_named(tmp_path: Path) -> None:
    path = tmp_path / "scan.xyz"
    path.write_text("2\nProperties=species:S:1:pos:R:3 e_total=-1.0\nH 0 0 0\nH 0 0 0.74\n")
    report = read_frames(str(path)).report
    assert report.missing == {"energy": 1, "forces": 1}
    assert "e_total" in report.warnings[0] and "energy_key" in report.warnings[0]


STRESS = np.array([[0.010, 0.001, 0.002], [0.001, 0.020, 0.003], [0.002, 0.003, 0.030]])


@pytest.mark.parametrize(("key", "sign"), [("stress", 1.0), ("virial", -1.0), ("REF_virial", -1.0), ("my_stress", 1.0)])
def test_stress_and_virial(tmp_path: Path, key: str, sign: float) -> None:
    crystal = bulk("Si", cubic=True)
    crystal.rattle(0.05, seed=1)
    crystal.calc = SinglePointCalculator(crystal, energy=-30.0, forces=np.zeros((8, 3)))
    ase.io.write(tmp_path / "si.xyz", crystal, format="extxyz")
    values = STRESS if sign > 0 else -crystal.get_volume() * STRESS
    text = (tmp_path / "si.xyz").read_text()
    (tmp_path / "si.xyz").write_text(text.replace("energy=", f'{key}="{" ".join(map(str, values.ravel()))}" energy='))
    config = DataConfig(train="si.xyz", stress_key=key if key == "my_stress" else None)
    read = read_frames(str(tmp_path / "si.xyz"), config)
    assert read.report.stress_key == key
    np.testing.assert_allclose(read.frames[0].get_stress(voigt=False), STRESS, atol=1e-12)


@pytest.mark.parametrize(("key", "scale"), [("virial", -1.0 / 64.0), ("virial_stress", 1.0), ("stress", 1.0)])
def test_virials_are_understood_in_archives_too(tmp_path: Path, key: str, scale: float) -> None:
    rng = np.random.default_rng(3)
    values = np.diag([1.0, 2.0, 3.0])[None].repeat(5, axis=0)
    np.savez(tmp_path / "a.npz", z=[14, 14], R=rng.uniform(0.0, 4.0, (5, 2, 3)), E=np.zeros(5), F=np.zeros((5, 2, 3)),
             cell=4.0 * np.eye(3), **{key: values})
    config = DataConfig(train="a.npz", stress_key=key, energy_unit="eV", length_unit="Å")
    stress = read_frames(str(tmp_path / "a.npz"), config).frames[0].calc.results["stress"]
    np.testing.assert_allclose(stress, [scale, 2.0 * scale, 3.0 * scale, 0.0, 0.0, 0.0], atol=1e-12)


@pytest.mark.parametrize(("cell", "pbc", "expected"), [
    (6.0 * np.eye(3), [False, False, False], [False] * 3), (6.0 * np.eye(3), True, [True] * 3),
    (np.diag([6.0, 6.0, 0.0]), None, [True, True, False]), (np.zeros((3, 3)), False, [False] * 3),
    (6.0 * np.eye(3), [[True, True, False]] * 300, [True, True, False]), (6.0 * np.eye(3), [False] * 300, [False] * 3),
    (6.0 * np.eye(3), "T T T", [True] * 3), (6.0 * np.eye(3), np.zeros(7, dtype=bool), [True] * 3),
])
def test_archives_say_which_directions_repeat(npz_file, cell: np.ndarray, pbc: object, expected: list[bool]) -> None:
    more = {} if pbc is None else {"pbc": pbc}
    frames = read_frames(str(npz_file(cell=cell, **more))).frames
    assert all(atoms.pbc.tolist() == expected for atoms in frames)


def test_archives_keep_the_charge_of_each_frame_and_not_of_atoms(npz_file, ethanol_arrays) -> None:
    num_frames, num_atoms = ethanol_arrays["R"].shape[:2]
    charged = read_frames(str(npz_file(Q=np.arange(num_frames)))).frames
    assert [atoms.info["charge"] for atoms in charged] == list(range(num_frames))
    ragged = np.array([np.zeros(2), np.zeros(3)], dtype=object)
    for other in (np.zeros((num_frames, num_atoms)), np.full(num_frames, np.nan), np.full(num_frames, 0.4), "neutral", ragged):
        assert "charge" not in read_frames(str(npz_file(Q=other))).frames[0].info


def test_names_with_an_at_sign(tmp_path: Path, xyz_file) -> None:
    frames = ase.io.read(xyz_file(), index=":")
    ase.io.write(tmp_path / "run@300K.traj", frames)
    assert len(read_frames(str(tmp_path / "run@300K.traj")).frames) == len(frames)


def test_everything_converts_together(tmp_path: Path) -> None:
    """Declared Hartree and Bohr: energy, forces, stress, cell and positions each get their own factor."""
    crystal = bulk("Si", cubic=True)
    crystal.rattle(0.05, seed=1)
    raw = Atoms(crystal.symbols, crystal.positions / BOHR_A, cell=crystal.cell / BOHR_A, pbc=True)
    forces = np.random.default_rng(0).normal(size=(8, 3))
    raw.calc = SinglePointCalculator(raw, energy=-1.0, forces=forces, stress=np.arange(1.0, 7.0))
    ase.io.write(tmp_path / "si.xyz", raw, format="extxyz")
    atoms = read_frames(str(tmp_path / "si.xyz"),
                        DataConfig(train="si.xyz", energy_unit="Hartree", length_unit="Bohr")).frames[0]
    np.testing.assert_allclose(atoms.positions, crystal.positions, atol=1e-7)
    np.testing.assert_allclose(atoms.cell.array, crystal.cell.array, atol=1e-7)
    assert atoms.calc.results["energy"] == pytest.approx(-HARTREE_EV)
    np.testing.assert_allclose(atoms.calc.results["forces"], forces * HARTREE_EV / BOHR_A, atol=1e-6)
    np.testing.assert_allclose(atoms.calc.results["stress"], np.arange(1.0, 7.0) * HARTREE_EV / BOHR_A**3, rtol=1e-6)


def test_a_lattice_of_zeros_is_not_periodic(tmp_path: Path) -> None:
    (tmp_path / "h2.xyz").write_text('2\nLattice="0 0 0 0 0 0 0 0 0" Properties=species:S:1:pos:R:3\nH 0 0 0\nH 0 0 1\n')
    assert not read_frames(str(tmp_path / "h2.xyz")).frames[0].pbc.any()


def test_constraints_do_not_hide_forces(tmp_path: Path) -> None:
    (tmp_path / "fixed.xyz").write_text(
        "2\nProperties=species:S:1:pos:R:3:move_mask:L:1:forces:R:3 energy=-6.0\n"
        "H 0 0 0 F 0 0 1.5\nH 0 0 0.7 F 0 0 -1.5\n")
    atoms = read_frames(str(tmp_path / "fixed.xyz")).frames[0]
    np.testing.assert_allclose(atoms.get_forces(), [[0, 0, 1.5], [0, 0, -1.5]])


def test_what_ase_reads(tmp_path: Path, ethanol_arrays) -> None:
    frames = []
    for t in range(5):
        atoms = Atoms(ethanol_arrays["z"], ethanol_arrays["R"][t])
        atoms.calc = SinglePointCalculator(atoms, energy=ethanol_arrays["E"][t], forces=ethanol_arrays["F"][t])
        frames.append(atoms)
    ase.io.write(tmp_path / "frames.traj", frames)
    read = read_frames(str(tmp_path / "frames.traj"))
    assert read.report.format == "ASE traj" and "ASE's conversion" in read.report.evidence
    _assert_same(read, ethanol_arrays)


def test_labelled_isolated_atoms_leave_the_frames(xyz_file) -> None:
    path = xyz_file(count=10)
    atoms = "".join(f"1\nProperties=species:S:1:pos:R:3 config_type=IsolatedAtom energy={e}\n{s} 0 0 0\n"
                    for s, e in {"H": -10.5, "C": -47.0, "O": -97.0}.items())
    path.write_text(path.read_text() + atoms)
    read = read_frames(str(path))
    assert read.report.num_frames == 10 and "labelled frames" in read.report.evidence
    assert read.report.isolated_atom_energies == {"H": -10.5, "C": -47.0, "O": -97.0}


@pytest.mark.parametrize(("carbon", "used"), [(-48.0, True), (-1030.0, False)])
def test_isolated_atoms_beside_the_file_must_fit(xyz_file, carbon: float, used: bool) -> None:
    path = xyz_file(count=10)
    energies = {"H": -10.7, "C": carbon, "O": -102.0}
    (path.parent / "isolated_atoms.xyz").write_text("".join(
        f"1\nProperties=species:S:1:pos:R:3 energy={e}\n{s} 0 0 0\n" for s, e in energies.items()))
    report = read_frames(str(path)).report
    assert report.isolated_atom_energies == (energies if used else {})
    assert ("beside the file is ignored" in report.evidence) is not used


def test_embedded_sets() -> None:
    for name, formula in {"aspirin": "C9H8O4", "ethanol": "C2H6O"}.items():
        read = read_frames(f"embedded:{name}")
        assert read.report.num_frames == 1200 and read.frames[0].get_chemical_formula() == formula
        assert "the file's metadata" in read.report.evidence and "−F·dr" in read.report.evidence
        forces = np.array([atoms.get_forces() for atoms in read.frames])
        assert 0.9 < np.sqrt(np.mean(forces**2)) < 1.3
        assert np.abs(forces.sum(axis=1)).max() < 1e-4
        assert read.frames[0].get_dipole_moment().shape == (3,)


def test_embedded_aspirin_is_acetylsalicylic_acid_in_every_frame() -> None:
    from ase.neighborlist import natural_cutoffs, neighbor_list

    expected = {("C", "C"): 8, ("C", "O"): 5, ("C", "H"): 7, ("O", "H"): 1}
    for atoms in read_frames("embedded:aspirin").frames[::40]:
        i, j = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=1.25))
        bonds = {pair: sum(1 for a, b in zip(i, j, strict=True) if (atoms.symbols[a], atoms.symbols[b]) == pair)
                 for pair in expected}
        bonds[("C", "C")] //= 2
        assert bonds == expected and len(i) == 42


def test_embedded_metadata_tells_how_it_was_made() -> None:
    from toolkit.data.embedded import embedded_path

    with np.load(embedded_path("aspirin"), allow_pickle=False) as stored:
        about = json.loads(str(stored["metadata"]))
    assert about["method"] == "GFN2-xTB" and about["temperature_K"] == 500.0 and about["tblite"] == "0.8.0"
    assert abs(about["energy_autocorrelation_next_frame"]) < 0.2


def test_gzip_of_a_plain_xyz_without_labels(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "plain.xyz.gz", "wt") as stream:
        stream.write("3\nwater\nO 0 0 0.12\nH 0 0.76 -0.48\nH 0 -0.76 -0.48\n")
    assert read_frames(str(tmp_path / "plain.xyz.gz")).report.missing == {"energy": 1, "forces": 1}


def test_a_broken_file_of_isolated_atoms_does_not_hide_the_data(xyz_file) -> None:
    path = xyz_file()
    path.with_name("iso_atoms.xyz").write_text("2\nenergy=1.0\nH 0 0 0\n")
    read = read_frames(str(path))
    assert read.report.isolated_atom_energies == {} and "iso_atoms.xyz beside the file is ignored" in read.report.evidence


def test_isolated_atoms_beside_a_file_are_of_the_same_method(tmp_path: Path) -> None:
    def line(symbols: str, dft: float, cc: float) -> str:
        atoms = "".join(f"{symbol} {number}.0 0 0\n" for number, symbol in enumerate(symbols))
        return f"{len(symbols)}\nProperties=species:S:1:pos:R:3 dft_energy={dft} cc_energy={cc}\n{atoms}"
    (tmp_path / "water.xyz").write_text("".join(line("OHH", -2076.0 - k, -2080.0 - k) for k in range(3)))
    (tmp_path / "iso_atoms.xyz").write_text(line("H", -13.6, -13.5) + line("O", -2040.0, -2043.0))
    for key, oxygen in (("dft_energy", -2040.0), ("cc_energy", -2043.0)):
        config = DataConfig(train="water.xyz", energy_key=key, energy_unit="eV", length_unit="Å")
        assert read_frames(str(tmp_path / "water.xyz"), config).report.isolated_atom_energies["O"] == oxygen
    (tmp_path / "iso_atoms.xyz").write_text(line("H", -13.6, -13.5).replace("dft_energy", "energy")
                                            + line("O", -2040.0, -2043.0).replace("dft_energy", "energy"))
    config = DataConfig(train="water.xyz", energy_key="dft_energy", energy_unit="eV", length_unit="Å")
    assert read_frames(str(tmp_path / "water.xyz"), config).report.isolated_atom_energies["O"] == -2040.0  # the only one there


@pytest.mark.parametrize("name", ["charge", "total_charge", "Charge", "tot_charge"])
def test_the_total_charge_has_several_names(name: str, tmp_path: Path) -> None:
    ion = Atoms("OH", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.97]], info={name: -1})
    ase.io.write(tmp_path / "ion.xyz", ion, format="extxyz")
    assert total_charge(read_frames(tmp_path / "ion.xyz")[0]) == -1.0


@pytest.mark.parametrize("name", ["mass", "masses"])
def test_isotopes_keep_their_masses(name: str, tmp_path: Path) -> None:
    water = Atoms("OHH", [[0.0, 0.0, 0.0], [0.0, 0.76, 0.59], [0.0, -0.76, 0.59]])
    water.set_array(name, np.array([15.999, 2.014, 1.008]))
    ase.io.write(tmp_path / "hdo.xyz", water, format="extxyz", columns=["symbols", "positions", name])
    np.testing.assert_allclose(read_frames(tmp_path / "hdo.xyz")[0].get_masses(), [15.999, 2.014, 1.008])


def test_free_energies_that_are_not_a_constant_off_are_said(tmp_path: Path) -> None:
    """Forces of smeared occupations belong to them."""
    for number, (gaps, said) in enumerate((((-0.2, -0.25), True), ((-0.2, -0.2), False))):
        frames = [bulk("Cu", "fcc", a=3.6, cubic=True) for _ in gaps]
        for atoms, gap in zip(frames, gaps, strict=True):
            atoms.calc = SinglePointCalculator(atoms, energy=-10.0, free_energy=-10.0 + gap, forces=np.zeros((4, 3)))
        ase.io.write(tmp_path / f"{number}.xyz", frames, format="extxyz")
        assert any("free energy" in warning for warning in read_frames(tmp_path / f"{number}.xyz").report.warnings) == said
