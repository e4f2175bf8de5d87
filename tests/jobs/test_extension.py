"""New frames join the training frames; what judges the model stays, and nothing unlabelled or already judged gets in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write
from typer.testing import CliRunner

import toolkit
from toolkit.cli import app
from toolkit.config import DataConfig, TrainConfig, load_config
from toolkit.data.datasets import load_splits
from toolkit.jobs.frame_files import with_labels
from toolkit.jobs.own_data import own_recipe
from toolkit.models.folders import find_model
from toolkit.training.trainer import train
from toolkit.units import BOHR_A, HARTREE_EV

FORCE_TOLERANCE = 1e-7
"""eV/Å: digits of an extended XYZ file."""


def extend(*words: object) -> tuple[int, str]:
    """Exit code and everything printed, in one line."""
    done = CliRunner().invoke(app, ["data", "extend", *map(str, words)])
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on ten embedded frames of ethanol, five to validate and seven to test."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(TrainConfig.model_validate({
        "data": {"train": "embedded:ethanol", "split": {"num_train": 10, "num_val": 5, "num_test": 7}},
        "model": {"preset": "S", "species": ["H", "C", "O"], "num_features": [4], "l_max": 0, "num_layers": 1},
        "max_epochs": 1, "batch_size": 5, "device": "cpu", "backend": "reference"}), folder)
    return folder


@pytest.fixture
def new(trained: Path, tmp_path: Path) -> Path:
    """A file of three frames that the run has not seen at all."""
    recipe = own_recipe(str(trained))
    used = np.concatenate(list(load_splits(recipe.data).indices.values()))
    frames = toolkit.read_frames("embedded:ethanol").frames
    fresh = np.setdiff1d(np.arange(len(frames)), used)[:3]
    write(tmp_path / "new.extxyz", [frames[t] for t in fresh], format="extxyz")
    return tmp_path / "new.extxyz"


def test_new_frames_are_learned_and_the_same_frames_judge(trained: Path, new: Path, tmp_path: Path) -> None:
    code, output = extend(trained, new, "-o", tmp_path / "more", "--json", tmp_path / "told.json")
    assert code == 0 and "toolkit train" in output
    told = json.loads((tmp_path / "told.json").read_text())
    assert (told["n_train"], told["n_new"], told["n_val"], told["n_test"]) == (13, 3, 5, 7)
    before = load_splits(own_recipe(str(trained)).data)
    recipe = load_config(TrainConfig, told["recipe"])
    after = load_splits(recipe.data)
    for was, found in ((before.train, after.train[:10]), (read(new, ":"), after.train[10:]), (before.val, after.val),
                       (before.test, after.test)):
        _assert_same(was, found)
    done = train(recipe.model_copy(update={"max_epochs": 1}), tmp_path / "second")
    about = json.loads((Path(done["model_dir"]) / "metrics.json").read_text())["data"]
    assert about["start_from"]["model"] == trained.name and about["n_train"] == 13


def _assert_same(expected: list[Atoms], found: list[Atoms]) -> None:
    assert len(found) == len(expected) > 0
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b.positions, a.positions, atol=FORCE_TOLERANCE)
        np.testing.assert_allclose(b.get_forces(), a.get_forces(), atol=FORCE_TOLERANCE)
        assert b.get_potential_energy() == pytest.approx(a.get_potential_energy(), abs=1e-8)


def test_frames_that_judge_are_refused_however_they_are_turned(trained: Path, new: Path, tmp_path: Path) -> None:
    judge = load_splits(own_recipe(str(trained)).data).test[0]
    turned = judge.copy()
    turned.rotate(30.0, "z")
    turned.positions = np.round(turned.positions + 1.0, 4)
    for atoms in (judge, turned):
        write(tmp_path / "judges.xyz", [*read(new, ":"), _labelled(atoms)], format="extxyz")
        code, output = extend(trained, tmp_path / "judges.xyz", "-o", tmp_path / "more")
        assert code == 2 and "found 1 of the 12 validation and test frames" in output
    assert not (tmp_path / "more").exists()
    write(tmp_path / "again.xyz", load_splits(own_recipe(str(trained)).data).train[:2], format="extxyz")
    code, output = extend(trained, tmp_path / "again.xyz", "-o", tmp_path / "more")
    assert code == 0 and "2 of the 2 new frames are training frames of the model already" in output


def _labelled(atoms: Atoms) -> Atoms:
    return with_labels(atoms, {"energy": -1.0, "forces": np.zeros((len(atoms), 3))})


def test_frames_need_the_labels_that_are_learned_and_elements_that_are_known(trained: Path, new: Path, tmp_path: Path) -> None:
    bare = read(new, ":")
    for atoms in bare:
        atoms.calc = None
    write(tmp_path / "harvest.xyz", bare, format="extxyz")
    code, output = extend(trained, tmp_path / "harvest.xyz", "-o", tmp_path / "more")
    assert code == 2 and "found 3 without energy, 3 without forces among the 3" in output
    energies = [with_labels(atoms, {"energy": atoms.get_potential_energy()}) for atoms in read(new, ":")]
    write(tmp_path / "energies.xyz", energies, format="extxyz")
    code, output = extend(trained, tmp_path / "energies.xyz", "-o", tmp_path / "more")
    assert code == 2 and "found 3 without forces among the 3" in output
    only = _copy_of(trained, tmp_path / "only", loss={"forces_weight": 0.0})
    assert extend(only, tmp_path / "energies.xyz", "-o", tmp_path / "more")[0] == 0
    write(tmp_path / "sulphur.xyz", [_labelled(molecule("SH2"))], format="extxyz")
    code, output = extend(trained, tmp_path / "sulphur.xyz", "-o", tmp_path / "s")
    assert code == 2 and "found S in" in output and "expected H, C, O" in output


def _copy_of(trained: Path, folder: Path, **changes: object) -> Path:
    """The model with another story of how it was trained."""
    shutil.copytree(find_model(str(trained)), folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["train_config"] |= changes
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_nobodys_files_are_written_over(trained: Path, new: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.extxyz").write_text("precious")
    code, output = extend(trained, new, "-o", tmp_path / "mine")
    assert code == 2 and "found train.extxyz in" in output
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["train.extxyz"]


def test_new_files_are_read_as_the_models_own(trained: Path, tmp_path: Path) -> None:
    """Names of labels, among them those of a force field, units in headers, and the offset of stresses."""
    rng = np.random.default_rng(0)

    def crystals(count: int, name: str) -> Path:
        frames = []
        for _ in range(count):
            atoms = bulk("C", "diamond", a=3.6, cubic=True)
            atoms.rattle(0.05, rng=rng)
            atoms.info |= {"dft_energy": -40.0 + 0.01 * rng.normal(), "energy": -1.0, "energy_unit": "Hartree",
                           "forces_unit": "Hartree/Bohr", "dft_stress": 0.01 * np.eye(3).ravel()}
            atoms.arrays["dft_forces"] = 0.01 * rng.normal(size=(8, 3))
            frames.append(atoms)
        write(tmp_path / name, frames, format="extxyz")
        return tmp_path / name

    data = {"train": str(crystals(8, "old.xyz")), "split": {"num_train": 4, "num_val": 2, "num_test": 2},
            "energy_key": "dft_energy", "forces_key": "dft_forces", "stress_key": "dft_stress", "stress_offset_GPa": 3.0}
    model = _copy_of(trained, tmp_path / "model", data=data)
    new = crystals(2, "new.xyz")
    code, output = extend(model, new, "-o", tmp_path / "more")
    assert code == 0, output
    own, extended = DataConfig(**{**data, "train": str(new)}), load_config(TrainConfig, tmp_path / "more" / "config.yaml")
    _assert_same(toolkit.read_frames(new, own).frames, load_splits(extended.data).train[4:])
    before, after = load_splits(DataConfig(**data)), load_splits(extended.data)
    _assert_same(before.train, after.train[:4])
    _assert_same(before.test, after.test)
    np.testing.assert_allclose(after.train[4].get_stress(), after.train[0].get_stress(), atol=1e-9)
    assert abs(before.train[0].get_potential_energy()) > 1000.0 and "energy_unit" not in after.train[0].info
    again = _copy_of(trained, tmp_path / "again", data=extended.data.model_dump(mode="json"))
    newer = crystals(2, "newer.xyz")
    code, output = extend(again, newer, "-o", tmp_path / "third")
    assert code == 0, output
    third = load_splits(load_config(TrainConfig, tmp_path / "third" / "config.yaml").data)
    _assert_same(toolkit.read_frames(newer, DataConfig(**{**data, "train": str(newer)})).frames, third.train[6:])
    np.testing.assert_allclose(third.train[6].get_stress(), before.train[0].get_stress(), atol=1e-9)


def test_names_of_labels_that_a_new_file_does_not_have_are_given_up(trained: Path, new: Path, tmp_path: Path) -> None:
    old = []
    for atoms in toolkit.read_frames("embedded:ethanol").frames[-8:]:
        bare = Atoms(atoms.numbers, atoms.positions, info={"E_ref": atoms.get_potential_energy()})
        bare.arrays["F_ref"] = atoms.get_forces()
        old.append(bare)
    write(tmp_path / "old.xyz", old, format="extxyz")
    data = {"train": str(tmp_path / "old.xyz"), "energy_key": "E_ref", "forces_key": "F_ref"}
    model = _copy_of(trained, tmp_path / "model", data=data)
    code, output = extend(model, new, "-o", tmp_path / "more")
    assert code == 0 and "names of labels in the model's own files do not fit" in output
    code, output = extend(model, new, "-o", tmp_path / "b", "--energy-key", "E_ref", "--forces-key", "F_ref")
    assert code == 2 and "has no 'E_ref'" in output


def test_options_are_those_of_reading(trained: Path, new: Path, tmp_path: Path) -> None:
    code, output = extend(trained, new, "-o", tmp_path / "more", "--num-train", 5)
    assert code == 2 and "--energy-unit" in output
    code, output = extend(trained, new, "-o", tmp_path / "more", "--energy-unit", "Hartree")
    assert code == 2 and "eV/atom from what the model says" in output and not (tmp_path / "more").exists()


def test_labels_in_other_units_are_seen_by_the_model(tmp_path: Path) -> None:
    """Hartree and Hartree/Bohr that nobody names: five frames do not show it, and the model does."""
    frames = toolkit.read_frames("embedded:aspirin").frames[:5]
    energies, forces = (np.array([call(atoms) for atoms in frames]) for call in
                        (lambda atoms: atoms.get_potential_energy(), lambda atoms: atoms.get_forces()))
    arrays = {"z": frames[0].numbers, "R": np.array([atoms.positions for atoms in frames])}
    np.savez(tmp_path / "new.npz", **arrays, E=energies / HARTREE_EV, F=forces * BOHR_A / HARTREE_EV)
    right = ("--energy-unit", "Hartree", "--forces-unit", "Hartree/Bohr")
    for number, options in enumerate(((), ("--energy-unit", "eV"), (*right[:3], "eV/Å"), right)):
        code, output = extend("aspirin_xtb", tmp_path / "new.npz", "-o", tmp_path / str(number), *options)
        assert code == (0 if options == right else 2), output
    assert "5 of the 5 new frames are training frames of the model already" in output


def test_repeats_are_said_and_contradictions_refused(trained: Path, new: Path, tmp_path: Path) -> None:
    shutil.copy(new, tmp_path / "same.xyz")
    code, output = extend(trained, new, tmp_path / "same.xyz", "-o", tmp_path / "a")
    assert code == 0 and "3 of the 6 new frames are repeated" in output
    other = [with_labels(atoms, {"energy": atoms.get_potential_energy() + 0.1, "forces": atoms.get_forces()})
             for atoms in read(new, ":")]
    write(tmp_path / "other.xyz", other, format="extxyz")
    code, output = extend(trained, new, tmp_path / "other.xyz", "-o", tmp_path / "b")
    assert code == 2 and "with different energies" in output


def test_a_model_whose_data_are_elsewhere(trained: Path, new: Path, tmp_path: Path) -> None:
    model = _copy_of(trained, tmp_path / "model", data={"train": "gone.xyz"})
    code, output = extend(model, new, "-o", tmp_path / "more")
    assert code == 2 and "gone.xyz, which is not on this machine" in output and "train with start_from" in output


def test_how_other_files_were_read_is_no_matter(trained: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embedded frames stand in no folder: what another model's data leave where one works is not about them."""
    (tmp_path / "reading.json").write_text(json.dumps({"energy_unit": "Hartree"}))
    monkeypatch.chdir(tmp_path)
    assert extend(trained, new, "-o", tmp_path / "more")[0] == 0
    assert "energy_unit" not in json.loads((tmp_path / "more" / "reading.json").read_text())


def test_isolated_atoms_of_some_elements_only_are_left_out(trained: Path, new: Path, tmp_path: Path) -> None:
    lone = with_labels(Atoms("H", info={"config_type": "IsolatedAtom"}), {"energy": -10.7, "forces": np.zeros((1, 3))})
    write(tmp_path / "old.xyz", [lone, *toolkit.read_frames("embedded:ethanol").frames[-8:]], format="extxyz")
    model = _copy_of(trained, tmp_path / "model", data={"train": str(tmp_path / "old.xyz")})
    assert extend(model, new, "-o", tmp_path / "more")[0] == 0
    assert load_config(TrainConfig, tmp_path / "more" / "config.yaml").data.isolated_atom_energies is None
