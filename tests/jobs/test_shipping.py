"""Shipped models say of themselves what their weights do, and whatever was tampered with is found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from toolkit.config import ModelConfig, parse_config
from toolkit.data.formats import read_frames
from toolkit.errors import ConfigError, DataError, ModelError, StorageError
from toolkit.jobs import shipping
from toolkit.jobs.shipping import CARD, METRICS, SAMPLE, ShippedAs, check_shipped, ship_model, write_sample
from toolkit.jobs.tasks import run_task
from toolkit.models.checkpoint import save_model
from toolkit.models.folders import WEIGHTS, find_model, shipped_models
from toolkit.models.potential import build_potential, load_potential
from toolkit.training.calibration_card import CALIBRATION

SMALLEST = "aspirin_xtb"
TOLD = ShippedAs(name="tiny", about="A test.", licence="CC0-1.0", command="python -m toolkit train x.yaml")


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A copy of a shipped model."""
    return Path(shutil.copytree(find_model(SMALLEST), tmp_path / SMALLEST))


@pytest.mark.parametrize("name", shipped_models())
def test_every_shipped_card_says_what_its_weights_do(name: str) -> None:
    check_shipped(find_model(name))


@pytest.mark.parametrize("name", shipped_models())
def test_every_shipped_model_knows_how_large_its_force_errors_are(name: str) -> None:
    """On the few frames of its sample; the card says it of all test frames."""
    frames = read_frames(str(find_model(name) / SAMPLE)).frames
    predicted = load_potential(name, device="cpu").predict(frames, uncertainty=True)
    errors = [(p["forces"] - atoms.get_forces()) / p["forces_std"][:, None] for p, atoms in zip(predicted, frames, strict=True)]
    assert 0.65 < np.sqrt(np.mean(np.concatenate(errors) ** 2)) < 1.5
    assert json.loads((find_model(name) / CALIBRATION).read_text())["verdict"]["forces"] == "right"


@pytest.mark.parametrize("name", shipped_models())
def test_what_shipped_models_were_trained_on_is_not_named_by_places_of_our_machines(name: str) -> None:
    recipe = json.loads((find_model(name) / METRICS).read_text())["train_config"]
    named = [recipe["data"][part] for part in ("train", "val", "test")] + [recipe.get("start_from")]
    assert not [source for source in named if source and (source.startswith(("/", "..")) or "shared" in source)]


def test_the_errors_of_the_sample_are_those_of_its_frames_one_by_one(shipped: Path) -> None:
    frames = read_frames(str(shipped / SAMPLE)).frames
    stored = json.loads((shipped / METRICS).read_text())["sample"]
    predicted = load_potential(shipped, device="cpu", dtype="float64", backend="reference").predict(frames)
    forces = [p["forces"] - atoms.get_forces() for p, atoms in zip(predicted, frames, strict=True)]
    energies = [p["energy"] - atoms.get_potential_energy() for p, atoms in zip(predicted, frames, strict=True)]
    assert 10.0 < stored["forces_mae_meV_per_A"] == pytest.approx(1e3 * np.abs(forces).mean(), rel=1e-9)
    assert stored["energy_mae_meV"] == pytest.approx(1e3 * np.abs(energies).mean(), rel=1e-9)
    assert f"force MAE {stored['forces_mae_meV_per_A']:.2f} meV/Å" in (shipped / CARD).read_text()


def _flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(("tamper", "words"), [
    (lambda folder: _flip(folder / "weights.safetensors", -2), "on the sample .*metrics.json is about other weights"),
    (lambda folder: _edit(folder / CARD, "force MAE ", "force MAE 9"), "does not say what metrics.json says"),
    (lambda folder: _edit(folder / METRICS, '"forces_mae_meV_per_A": ', '"forces_mae_meV_per_A": 1'), "CARD.md does"),
    (lambda folder: write_sample(read_frames("embedded:aspirin").frames[:16], folder / SAMPLE), "on the sample is"),
    (lambda folder: (folder / SAMPLE).unlink(), "no sample"),
    (lambda folder: _edit(folder / "passport.json", '_sha256": "', '_sha256": "0'), "passport.json is about"),
    (lambda folder: _edit(folder / "uncertainty.json", '_sha256": "', '_sha256": "0'), "uncertainty.json is about"),
    (lambda folder: _edit(folder / CALIBRATION, '"z_std": ', '"z_std": 1'), "CARD.md does not say what calibration.json"),
], ids=["weights", "card", "metrics", "sample", "no sample", "passport", "uncertainty", "calibration"])
def test_what_was_tampered_with_is_found(shipped: Path, tamper, words: str) -> None:
    tamper(shipped)
    with pytest.raises(ModelError, match=words):
        check_shipped(shipped)


def test_a_run_becomes_a_shipped_model_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_MODELS", str(tmp_path / "models"))
    config = {"data": {"train": "embedded:ethanol", "split": {"num_train": 6, "num_val": 2, "num_test": 20}},
              "model": {"r_max": 3.0, "num_layers": 1, "l_max": 1, "num_features": 4}, "max_epochs": 1, "device": "cpu"}
    run_task("train", config, tmp_path / "run")
    folder = ship_model(tmp_path / "run", TOLD)
    assert shipped_models() == ["tiny"] and load_potential("tiny", device="cpu").config.num_layers == 1
    card = (folder / CARD).read_text()
    assert card.startswith("# tiny: nequip for H, C, O\n\nA test.\n") and "`python -m toolkit train x.yaml`" in card
    sample, (_, *later) = json.loads((folder / METRICS).read_text())["sample"], read_frames(str(folder / SAMPLE)).frames
    assert sample["n_frames"] == 16 == len(set(sample["of_test_frames"])) == len(later) + 1
    with pytest.raises(ModelError, match="there already"):
        ship_model(tmp_path / "run", TOLD)
    ship_model("tiny", TOLD.model_copy(update={"about": "Renewed."}), replace=True)
    assert "Renewed." in (folder / CARD).read_text()


def test_a_compact_model_is_the_same_potential_without_the_old_records(tmp_path, monkeypatch):
    good = find_model(SMALLEST)
    monkeypatch.setenv("TOOLKIT_MODELS", str(tmp_path / "models"))
    folder = ship_model(good, TOLD, compact=True)
    assert (folder / WEIGHTS).stat().st_size < 0.9 * (good / WEIGHTS).stat().st_size
    assert (good / "passport.json").exists() and not (folder / "passport.json").exists()
    assert not any((folder / name).exists() for name in (CALIBRATION, "uncertainty.json", "uncertainty.safetensors"))
    sample, before = (json.loads((f / METRICS).read_text())["sample"]["forces_mae_meV_per_A"] for f in (folder, good))
    assert sample == pytest.approx(before, rel=1e-6)
    assert "\n## " not in (folder / CARD).read_text()


def test_a_model_that_cannot_be_shipped_leaves_nothing_and_the_old_one_as_it_was(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, models, run = find_model(SMALLEST), tmp_path / "models", tmp_path / "run"
    monkeypatch.setenv("TOOLKIT_MODELS", str(models))
    other = build_potential(ModelConfig(species=("H", "C", "O"), r_max=3.0, num_layers=1, l_max=0, num_features=4))
    save_model(other.model, other.config, run)
    shutil.copyfile(good / METRICS, run / METRICS)
    _edit(run / METRICS, '"train": "embedded:aspirin"', '"train": "/gone"')
    with pytest.raises(DataError, match="/gone"):
        ship_model(run, TOLD)
    assert not list(models.glob("*"))
    folder = ship_model(good, TOLD)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    shutil.copyfile(good / METRICS, run / METRICS)
    for limit, error in (("MAX_SAMPLE_BYTES", "sample.npz has"), ("MAX_TOTAL_BYTES", "shipped models take")):
        with monkeypatch.context() as patched, pytest.raises(StorageError, match=error):
            patched.setattr(shipping, limit, 100)
            ship_model(run, TOLD, replace=True)
        assert {path: path.read_bytes() for path in models.rglob("*") if path.is_file()} == before
    with pytest.raises(FileNotFoundError):
        shipping._put_in_place(tmp_path / "absent", folder, tmp_path / "old")
    check_shipped(folder)
    ship_model(run, TOLD, replace=True)
    assert sorted(path.name for path in models.iterdir()) == ["tiny"] and not (folder / "passport.json").exists()


def test_what_cannot_be_shipped_is_refused(tmp_path: Path, shipped: Path, triclinic) -> None:
    with pytest.raises(ConfigError, match="name"):
        parse_config(ShippedAs, TOLD.model_dump() | {"name": "../elsewhere"})
    (shipped / METRICS).unlink()
    with pytest.raises(ModelError, match="no test errors"):
        ship_model(shipped, TOLD)
    with pytest.raises(DataError, match="periodic"):
        write_sample([triclinic], tmp_path / SAMPLE)
