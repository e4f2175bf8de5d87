"""Each kind of unusable file gives one line that says what was found, what was expected and what to do."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from toolkit.config import DataConfig
from toolkit.data.formats import read_frames
from toolkit.data.packing import pack_source
from toolkit.errors import DataError, StorageError


def _refusal(path: Path | str, config: DataConfig | None = None) -> str:
    with pytest.raises(DataError) as refused:
        read_frames(str(path), config)
    text = str(refused.value)
    assert "\n" not in text and refused.value.__cause__ is None
    return text


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95, 0.999])
def test_truncated_npz(npz_file, share: float) -> None:
    path = npz_file()
    content = path.read_bytes()
    path.write_bytes(content[:int(share * len(content))])
    assert "is not a complete NumPy .npz archive" in _refusal(path)
    assert "fetch it again" in _refusal(path)


def test_npz_with_damaged_content(npz_file) -> None:
    path = npz_file()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    assert "is not a complete NumPy .npz archive (Bad CRC-32" in _refusal(path)


def test_object_arrays_are_never_opened(npz_file, tmp_path: Path) -> None:
    trap = tmp_path / "opened"

    class Trap:
        def __reduce__(self) -> tuple:
            return Path.touch, (trap,)

    path = npz_file(E=np.array([Trap()] * 300, dtype=object))
    assert "holds arrays of Python objects, expected plain number arrays" in _refusal(path)
    assert not trap.exists()
    (tmp_path / "frames.pkl").write_bytes(pickle.dumps(Trap()))
    assert "ends in .pkl, expected .npz" in _refusal(tmp_path / "frames.pkl")
    (tmp_path / "disguised.npz").write_bytes(pickle.dumps(Trap()))
    assert "is not a complete NumPy .npz archive" in _refusal(tmp_path / "disguised.npz")
    assert not trap.exists()


def test_object_arrays_that_are_not_needed_stay_closed(npz_file) -> None:
    assert len(read_frames(str(npz_file(theory=np.array([{"a": 1}], dtype=object)))).frames) == 300


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_forces_name_the_frames(npz_file, ethanol_arrays, value: float) -> None:
    forces = ethanol_arrays["F"].copy()
    forces[3, 1, 2] = forces[17, 0, 0] = value
    text = _refusal(npz_file(F=forces))
    assert "found 2 of 300 frames with NaN or infinite forces (frames 3, 17, counted from 0)" in text
    assert "expected finite numbers" in text and "correct or remove them" in text


def test_nan_energies_and_positions(npz_file, ethanol_arrays) -> None:
    energies, positions = ethanol_arrays["E"].copy(), ethanol_arrays["R"].copy()
    energies[:12] = np.nan
    text = _refusal(npz_file(E=energies))
    assert "12 of 300 frames with NaN or infinite energy (frames 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …" in text
    positions[2, 0, 0] = np.inf
    text = _refusal(npz_file(R=positions))
    assert "1 of 300 frames with positions or cells that are NaN or infinite (frame 2," in text


SHAPES = {
    "forces": ({"F": np.zeros((300, 8, 3))}, r"forces has shape (300, 8, 3), expected (300, 9, 3)"),
    "energies": ({"E": np.zeros(299)}, r"energy has shape (299,), expected (300,)"),
    "numbers": ({"z": np.ones(8, int)}, r"atomic numbers 'z' have shape (8,), expected (9,) or (300, 9)"),
    "positions": ({"R": np.zeros((300, 27))}, r"positions 'R' have shape (300, 27), expected (frames, atoms, 3)"),
    "no frames": ({"R": np.zeros((0, 9, 3)), "E": np.zeros(0), "F": np.zeros((0, 9, 3))}, "found no frames"),
    "no atoms": ({"R": np.zeros((2, 0, 3)), "E": np.zeros(2), "F": np.zeros((2, 0, 3)), "z": np.zeros(0, int)},
                 "2 of 2 frames without atoms"),
    "zero z": ({"z": np.array([6, 6, 8, 1, 1, 1, 1, 1, 0])}, "expected whole numbers from 1 to 118"),
    "negative z": ({"z": np.array([6, 6, 8, 1, 1, 1, 1, 1, -1])}, "expected whole numbers from 1 to 118"),
    "large z": ({"z": np.array([6, 6, 8, 1, 1, 1, 1, 1, 119])}, "atomic numbers outside 1 … 118"),
    "text": ({"E": np.array(["a"] * 300)}, "array 'E' has type <U1, expected numbers"),
    "far away": ({"R": np.full((300, 9, 3), 1e9)}, "coordinates or cell vectors beyond 1e+06"),
    "hole": ({"z": np.tile([6, 0, 8, 1, 1, 1, 1, 1, 1], (300, 1))}, "expected zeros only as padding at the end"),
    "model": ({"type": np.array("m")}, "is an sGDML model or task, expected a data set"),
    "no numbers": ({"z": None}, "has no numbers: found arrays ['E', 'F', 'R']"),
}


@pytest.mark.parametrize("case", sorted(SHAPES))
def test_npz_arrays_that_do_not_fit(npz_file, case: str) -> None:
    changes, message = SHAPES[case]
    assert message in _refusal(npz_file(**changes))


def test_absurd_archive_size_is_refused_before_unpacking(npz_file, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.data.npz_layouts.MAX_UNPACKED_BYTES", 1000)
    assert "unpacks to" in _refusal(npz_file())


@pytest.mark.parametrize("share", [0.3, 0.8, 0.99])
def test_truncated_gzip(xyz_file, share: float) -> None:
    path = xyz_file(name="frames.xyz.gz")
    content = path.read_bytes()
    path.write_bytes(content[:int(share * len(content))])
    assert "cut short" in _refusal(path)


def test_truncated_xyz_names_the_frame(xyz_file) -> None:
    path = xyz_file(count=5)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-4]))
    assert "is truncated: frame 4 announces 9 atoms, found 5" in _refusal(path)
    path.write_text("".join(lines)[:-60])
    assert "cannot be read as extended XYZ" in _refusal(path)


MALFORMED = {
    "missing line": ("3\nwater\nO 0 0 0\nH 0 0 1\n3\nwater\nO 0 0 0\nH 0 0 1\nH 0 1 0\n",
                     "expected the number of atoms of frame 1"),
    "flat cell": ('1\nLattice="3 0 0 3 0 0 0 0 3" Properties=species:S:1:pos:R:3\nH 0 0 0\n', "linearly dependent cell"),
    "huge count": ("999999999999\n\nH 0 0 0\n", "expected the number of atoms of frame 0 (1 … 10000000)"),
    "zero count": ("0\n\n", "expected the number of atoms of frame 0"),
    "not a number": ("hello\nworld\n", "line 1: found 'hello', expected the number of atoms of frame 0"),
    "element": ("1\nProperties=species:S:1:pos:R:3\nQq 0 0 0\n", "cannot be read as extended XYZ"),
    "dummy": ("1\nProperties=species:S:1:pos:R:3\nX 0 0 0\n", "atomic numbers outside 1 … 118"),
    "letters": ("1\nProperties=species:S:1:pos:R:3\nH 0 zero 0\n", "cannot be read as extended XYZ"),
    "hole": ("1\n\nH 0 0 0\n\n1\n\nH 0 0 0\n", "line 4: found an empty line, expected the number of atoms of frame 1"),
    "nan": ("1\nProperties=species:S:1:pos:R:3\nH 0 nan 0\n", "NaN or infinite"),
    "text energy": ("1\nProperties=species:S:1:pos:R:3 energy=low\nH 0 0 0\n",
                    "'energy' holds 'low', expected numbers"),
    "two energies": ('1\nProperties=species:S:1:pos:R:3 energy="1.0 2.0"\nH 0 0 0\n',
                     "has 2 values, expected one per frame"),
    "flat forces": ("1\nProperties=species:S:1:pos:R:3:forces:R:1 energy=1.0\nH 0 0 0 1.0\n",
                    "one row of three per atom"),
    "blank": ("\n\n", "found no frames, expected at least one"),
}


@pytest.mark.parametrize("case", sorted(MALFORMED))
def test_malformed_xyz(tmp_path: Path, case: str) -> None:
    text, message = MALFORMED[case]
    path = tmp_path / "bad.xyz"
    path.write_text(text)
    assert message in _refusal(path)


def test_declared_key_that_is_not_there(xyz_file, npz_file) -> None:
    path = xyz_file(count=8)
    text = _refusal(path, DataConfig(train=str(path), energy_key="REF_energy"))
    assert "has no 'REF_energy' for the energy, found the keys ['energy', 'forces'" in text
    assert "correct energy_key" in text
    path = npz_file()
    assert "has no array 'G' for the forces" in _refusal(path, DataConfig(train=str(path), forces_key="G"))


def test_absent_empty_and_unknown_files(tmp_path: Path) -> None:
    assert "found nothing at" in _refusal(tmp_path / "absent.xyz")
    assert "found a folder at" in _refusal(tmp_path)
    (tmp_path / "empty.xyz").touch()
    assert "is empty, expected frames" in _refusal(tmp_path / "empty.xyz")
    (tmp_path / "notes.dat").write_text("nothing an atomistic code would write")
    assert "notes.dat cannot be read as the format" in _refusal(tmp_path / "notes.dat")
    (tmp_path / "notes.qqq").write_text("nothing an atomistic code would write")
    assert "is in no format that ASE recognises" in _refusal(tmp_path / "notes.qqq")
    (tmp_path / "base.db").write_bytes(b"SQLite format 3")
    assert "is in the format 'db', which is not read" in _refusal(tmp_path / "base.db")
    (tmp_path / "letter.cif").write_text("dear all")
    assert "letter.cif cannot be read as the format 'cif'" in _refusal(tmp_path / "letter.cif")
    (tmp_path / "binary.xyz").write_bytes(bytes(range(256)))
    assert "cannot read" in _refusal(tmp_path / "binary.xyz")
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    (tmp_path / "one.npy").write_bytes(buffer.getvalue())
    assert "ends in .npy, expected .npz" in _refusal(tmp_path / "one.npy")


def test_unknown_embedded_and_catalogue_names() -> None:
    text = _refusal("embedded:benzene")
    assert "found the embedded data set 'benzene', expected one of ['aspirin', 'ethanol']" in text
    assert "found the catalogue name 'nothing', expected one of [" in _refusal("catalog:nothing")


def test_two_energies_for_one_isolated_atom(xyz_file) -> None:
    path = xyz_file(count=8)
    atom = "1\nProperties=species:S:1:pos:R:3 config_type=IsolatedAtom energy={}\nH 0 0 0\n"
    path.write_text(path.read_text() + atom.format(-10.0) + atom.format(-11.0))
    assert "isolated H atoms at -10.000000 and -11.000000 eV, expected one energy" in _refusal(path)


def test_damaged_files_of_other_programs(tmp_path: Path) -> None:
    (tmp_path / "vasprun.xml").write_text('<?xml version="1.0"?>\n<modeling>\n <generator>\n  <i name="program">vasp')
    assert "cannot be read as the format 'vasp-xml'" in _refusal(tmp_path / "vasprun.xml")
    (tmp_path / "frame.cfg").write_text("A = 1.0 Angstrom\nH0(1,1) = 3 A\n")
    assert "cannot be read" in _refusal(tmp_path / "frame.cfg")


def test_a_flipped_byte_in_qm7(tmp_path: Path) -> None:
    savemat(tmp_path / "qm7.mat", {"R": np.random.default_rng(0).normal(size=(50, 23, 3)), "Z": np.ones((50, 23)),
                                   "T": np.ones((1, 50))}, do_compression=True)
    content = bytearray((tmp_path / "qm7.mat").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "qm7.mat").write_bytes(content)
    assert "does not hold the arrays R, Z and T of QM7" in _refusal(tmp_path / "qm7.mat")


def test_packing_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError, match="cannot write into"):
        pack_source("embedded:ethanol", tmp_path / "taken")


def test_text_that_unpacks_to_too_much(xyz_file, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.data.extxyz.MAX_CHARACTERS", 1000)
    assert "characters" in _refusal(xyz_file("frames.xyz.gz"))


def test_a_file_with_a_wrong_ending_is_called_by_its_name(npz_file, tmp_path: Path) -> None:
    (tmp_path / "wrong.xyz").write_bytes(npz_file().read_bytes())
    assert "give the file the ending .npz" in _refusal(tmp_path / "wrong.xyz")
    (tmp_path / "noise.xyz").write_bytes(b"\xff\xfe\xc1" * 100)
    assert "damaged or was cut short" in _refusal(tmp_path / "noise.xyz")
