"""New frames join the training frames; what judges the model stays, and nothing unlabelled or already judged gets in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from typer.testing import CliRunner

import toolkit
from toolkit.cli import app
from toolkit.config import TrainConfig, load_config
from toolkit.data.datasets import load_splits
from toolkit.jobs.uncertainty import own_recipe
from toolkit.training.trainer import train

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


def test_frames_without_labels_and_test_frames_are_refused(trained: Path, new: Path, tmp_path: Path) -> None:
    bare = read(new, ":")
    for atoms in bare:
        atoms.calc = None
    write(tmp_path / "harvest.xyz", bare, format="extxyz")
    code, output = extend(trained, tmp_path / "harvest.xyz", "-o", tmp_path / "more")
    assert code == 2 and "expected labels of your reference method" in output
    recipe = own_recipe(str(trained))
    write(tmp_path / "judges.xyz", [*read(new, ":"), load_splits(recipe.data).test[0]], format="extxyz")
    code, output = extend(trained, tmp_path / "judges.xyz", "-o", tmp_path / "more")
    assert code == 2 and "found 1 validation or test frames" in output
    assert not (tmp_path / "more").exists()


def test_options_are_those_of_reading(trained: Path, new: Path, tmp_path: Path) -> None:
    code, output = extend(trained, new, "-o", tmp_path / "more", "--num-train", 5)
    assert code == 2 and "--energy-unit" in output
    code, output = extend(trained, new, "-o", tmp_path / "more", "--energy-unit", "Hartree")
    assert code == 0 and (tmp_path / "more" / "config.yaml").is_file()
    wrong = load_splits(load_config(TrainConfig, tmp_path / "more" / "config.yaml").data).train[-1]
    assert wrong.get_potential_energy() == pytest.approx(27.2114 * read(new, "2").get_potential_energy(), rel=1e-5)
