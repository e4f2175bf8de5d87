"""Model folders: a round trip keeps every digit; damaged and hostile folders get one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from toolkit.errors import ConfigError, DataError, DeviceError, ModelError, StorageError
from toolkit.models.checkpoint import load_tensors, save_model, save_tensors
from toolkit.models.compact import compact_weights, expand_weights
from toolkit.models.potential import Potential, build_potential, load_potential


@pytest.fixture
def potential(small_config) -> Potential:
    return build_potential(small_config, dtype="float64")


@pytest.fixture
def folder(potential, tmp_path) -> Path:
    save_model(potential.model, potential.config, tmp_path / "model")
    return tmp_path / "model"


def test_round_trip_keeps_every_digit(potential, folder, ethanol):
    again = load_potential(folder, device="cpu", dtype="float64")
    assert again.config == potential.config
    before, after = potential.predict(ethanol), again.predict(ethanol)
    assert before["energy"] == after["energy"]
    assert np.array_equal(before["forces"], after["forces"])


def test_a_run_folder_and_a_shipped_name_are_found(folder, tmp_path, monkeypatch):
    assert load_potential(tmp_path, device="cpu").config == load_potential(folder, device="cpu").config
    monkeypatch.setenv("TOOLKIT_MODELS", str(tmp_path))
    assert load_potential("model", device="cpu").species == ("H", "C", "O")
    with pytest.raises(ModelError, match=r"expected a model folder or one of \['model'\]"):
        load_potential("nonsense")


def test_dtype_and_device_are_what_was_asked_for(folder, ethanol):
    single = load_potential(folder, device="cpu", dtype="float32")
    assert (single.dtype, single.device.type, single.backend) == (torch.float32, "cpu", "compiled")
    double = load_potential(folder, device="cpu", dtype="float64")
    error = np.abs(single.predict(ethanol)["forces"] - double.predict(ethanol)["forces"]).max()
    assert 0 < error < 1e-5
    with pytest.raises(ConfigError, match="dtype"):
        load_potential(folder, dtype="float16")
    for device in ("abacus", "mps", "xpu"):  # the latter two are known to PyTorch
        with pytest.raises(DeviceError, match="expected 'auto', 'cpu'"):
            load_potential(folder, device=device)


def _edit_config(folder: Path, **changes) -> None:
    header = json.loads((folder / "config.json").read_text())
    header["model"].update(changes)
    (folder / "config.json").write_text(json.dumps(header))


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _change_weights(folder: Path, change) -> None:
    weights = load_file(folder / "weights.safetensors")
    change(weights)
    save_file(weights, folder / "weights.safetensors")


HOSTILE = {
    "truncated weights": (lambda f: _truncate(f / "weights.safetensors"), "truncated or not safetensors"),
    "garbage weights": (lambda f: (f / "weights.safetensors").write_bytes(b"\x80\x04garbage"), "truncated or not safetensors"),
    "not json": (lambda f: (f / "config.json").write_text("{"), "cannot read"),
    "huge config": (lambda f: (f / "config.json").write_text(" " * 2_000_000), "expected at most"),
    "list config": (lambda f: (f / "config.json").write_text("[]"), "expected an object"),
    "newer version": (lambda f: (f / "config.json").write_text('{"format_version": 99}'), "format_version 99"),
    "unknown field": (lambda f: _edit_config(f, magic=1), "unknown field"),
    "other size": (lambda f: _edit_config(f, radial_mlp_width=13), "wrong shapes"),
    "more layers": (lambda f: _edit_config(f, num_layers=4), "missing or unknown"),
    "huge size": (lambda f: _edit_config(f, num_features=1024, l_max=6, num_layers=12), "parameters"),
    "unknown architecture": (lambda f: _edit_config(f, architecture="oracle"), "expected one of"),
    "nan weights": (lambda f: _change_weights(f, lambda w: w["species_embedding"].fill_(float("nan"))), "not finite"),
    "missing tensor": (lambda f: _change_weights(f, lambda w: w.pop("species_embedding")), "missing or unknown"),
}


@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_damaged_or_hostile_folders_are_refused(folder, case):
    spoil, message = HOSTILE[case]
    spoil(folder)
    with pytest.raises((ModelError, ConfigError), match=message) as error:
        load_potential(folder, device="cpu")
    assert "\n" not in str(error.value)


def test_unknown_species_and_empty_lists_are_refused(potential, ethanol):
    ethanol.numbers[0] = 7
    with pytest.raises(DataError, match=r"found \['N'\], this model knows only \['H', 'C', 'O'\]"):
        potential.predict(ethanol)
    with pytest.raises(DataError, match="empty list"):
        potential.predict([])


def test_saving_into_a_file_is_refused(potential, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        save_model(potential.model, potential.config, tmp_path / "file" / "model")


@pytest.mark.parametrize("additions", [{}, {"zbl": True}])
def test_compact_weights_are_the_same_potential_in_a_smaller_file(small_config, additions, ethanol, tmp_path):
    config = small_config.model_copy(update={"type_embed_num_features": 12, **additions})
    potential = build_potential(config, dtype="float64")
    save_model(potential.model, config, tmp_path)
    before = (tmp_path / "weights.safetensors").stat().st_size
    save_tensors(compact_weights(load_tensors(tmp_path / "weights.safetensors")), tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").stat().st_size < 0.8 * before
    again = load_potential(tmp_path, device="cpu", dtype="float64")
    expected, found = potential.predict(ethanol), again.predict(ethanol)
    assert abs(found["energy"] - expected["energy"]) < 1e-11
    assert np.abs(found["forces"] - expected["forces"]).max() < 1e-11
    _change_weights(tmp_path, lambda w: w.update({key: value[:2].clone() for key, value in w.items() if "self_connection" in key}))
    with pytest.raises(ModelError, match="wrong shapes"):
        load_potential(tmp_path, device="cpu")


def test_weights_that_cannot_shrink_stay_as_they_are(potential, folder):
    weights = load_tensors(folder / "weights.safetensors")
    narrow = {**weights, "species_embedding": weights["species_embedding"][:, :2].contiguous()}
    assert all(torch.equal(value, weights[key]) for key, value in expand_weights(weights).items())
    assert all(torch.equal(value, narrow[key]) for key, value in compact_weights(narrow).items())
