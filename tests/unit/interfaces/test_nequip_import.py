"""Importing nequip models, without nequip: a state dict written in its layout comes back; odd files are refused.

That the layout is really nequip's is shown in tests/physics/test_against_nequip.py.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from e3nn import o3
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner

from toolkit.cli import app
from toolkit.config import ModelConfig, parse_config
from toolkit.config_model import MODEL_PRESETS
from toolkit.errors import ModelError
from toolkit.interfaces.nequip_arguments import architecture, parse_arguments
from toolkit.interfaces.nequip_import import import_nequip
from toolkit.interfaces.nequip_weights import EMBEDDING, SCALES, SHIFTS, layout
from toolkit.models.potential import Potential, build_potential, load_potential

PREFIX = "model.func."
SHIFT_VALUES = {"H": -13.0, "C": -1029.0, "O": -2043.0}
ARGUMENTS = {
    "_target_": "nequip.model.NequIPGNNModel", "seed": 7, "model_dtype": "float64", "do_derivatives": True,
    "type_names": ["H", "C", "O"], "r_max": 4.0, "num_layers": 3, "l_max": 2, "parity": True,
    "num_features": [5, 4, 3], "type_embed_num_features": 6, "num_bessels": 4, "bessel_trainable": True,
    "polynomial_cutoff_p": 6.0, "radial_mlp_depth": 2, "radial_mlp_width": 7, "avg_num_neighbors": 9.0,
    "readout_mlp_hidden_layers_depth": 1, "readout_mlp_hidden_layers_width": 8,
    "per_type_energy_shifts": SHIFT_VALUES, "per_type_energy_scales": 1.5,
}
ZBL = {"_target_": "nequip.nn.pair_potential.ZBL", "units": "metal", "chemical_species": ["H", "C", "O"]}


def _potential(arguments: dict) -> Potential:
    """Ours with random weights, a scale of 1.5 and the usual shifts."""
    config = architecture(parse_arguments(arguments))
    scales = dict.fromkeys("HCO", 1.5)
    fields = {"per_species_energy_shifts": SHIFT_VALUES, "per_species_energy_scales": scales, "seed": 3}
    return build_potential(parse_config(ModelConfig, {**config.model_dump(), **fields}), dtype="float64")


def _their_state(potential: Potential) -> dict[str, Tensor]:
    """Our weights in nequip's layout, with the constants and empty tensors that its state dicts carry."""
    ours = {key.removeprefix("parts.0."): tensor for key, tensor in potential.model.state_dict().items()}
    state = {"_empty": torch.zeros(0), "layer0_convnet.conv.linear_1.bias": torch.zeros(0),
             "layer0_convnet.conv.linear_1.output_mask": torch.ones(6)}
    for blocks in layout(potential.config):
        parts = [ours[key].transpose(0, 1) if len(shape) == 3 else ours[key] for key, shape in blocks.parts]
        state[blocks.name] = torch.cat([part.flatten() for part in parts]).view(blocks.shape)
    state[SHIFTS], state[SCALES] = ours["table.shifts"][:, None], torch.tensor([[1.5]], dtype=torch.float64)
    state["edge_norm._rmax_recip"] = torch.tensor(0.25, dtype=torch.float64)
    state["layer1_convnet.conv.tp_scatter.tp._compiled_main_left_right._w3j_1_2_1"] = o3.wigner_3j(1, 2, 1)
    if potential.config.zbl:
        state["pair_potential.atomic_numbers"] = torch.tensor([1.0, 6.0, 8.0])
        state["pair_potential._qqr2exesquare"] = torch.tensor(14.399645 / 2)
    return {PREFIX + key: tensor.clone() for key, tensor in state.items()}


@pytest.fixture(scope="module")
def potential() -> Potential:
    return _potential(ARGUMENTS)


def _write(folder: Path, state: dict[str, Tensor], arguments: dict) -> tuple[Path, Path, Path]:
    """Paths of weights, configuration and the model folder to be."""
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, folder / "nequip.safetensors")
    (folder / "nequip.yaml").write_text(yaml.safe_dump(arguments, sort_keys=False))
    return folder / "nequip.safetensors", folder / "nequip.yaml", folder / "model"


def _assert_same_numbers(expected: Potential, folder: Path, atoms) -> None:
    found = load_potential(folder, device="cpu", dtype="float64").predict(atoms)
    reference = expected.predict(atoms)
    assert np.abs(reference["forces"]).max() > 1e-2
    assert found["energy"] == pytest.approx(reference["energy"], abs=1e-9)
    assert np.abs(found["forces"] - reference["forces"]).max() < 1e-10


def test_a_state_dict_comes_back_as_the_same_model(potential, ethanol, tmp_path):
    summary = import_nequip(*_write(tmp_path, _their_state(potential), ARGUMENTS))
    assert summary["num_parameters"] == potential.num_parameters
    assert (summary["species"], summary["dtype"], summary["channels"]) == (["H", "C", "O"], "float64", [5, 4, 3])
    _assert_same_numbers(potential, tmp_path / "model", ethanol)
    config = load_potential(tmp_path / "model", device="cpu").config
    assert config.per_species_energy_shifts == SHIFT_VALUES
    assert config.per_species_energy_scales == dict.fromkeys("HCO", 1.5)
    assert config.bessel_trainable
    assert "imported from nequip.safetensors and nequip.yaml" in (tmp_path / "model" / "CARD.md").read_text()


def test_zbl_pair_cutoffs_npz_and_another_wrapper(ethanol, tmp_path):
    arguments = {**ARGUMENTS, "pair_potential": ZBL, "per_edge_type_cutoff": {"H": 2.5, "C": {"O": 3.5}}}
    potential = _potential(arguments)
    assert potential.config.per_pair_r_max == {"H-H": 2.5, "H-C": 2.5, "H-O": 2.5, "C-H": 4.0, "C-C": 4.0, "C-O": 3.5,
                                               "O-H": 4.0, "O-C": 4.0, "O-O": 4.0}
    state = _their_state(potential)
    state[PREFIX + "edge_norm._rmax_recip"] = 1 / torch.tensor([2.5, 2.5, 2.5, 4.0, 4.0, 3.5, 4.0, 4.0, 4.0])
    np.savez(tmp_path / "nequip.npz", **{f"sole_model.{key}": tensor.numpy() for key, tensor in state.items()})
    (tmp_path / "nequip.json").write_text(json.dumps(arguments))
    import_nequip(tmp_path / "nequip.npz", tmp_path / "nequip.json", tmp_path / "model")
    _assert_same_numbers(potential, tmp_path / "model", ethanol)


def test_single_precision_stays_single_and_absent_scales_are_one(potential, tmp_path):
    state = {key: tensor.float() for key, tensor in _their_state(potential).items()}
    state[PREFIX + SCALES] = torch.zeros(0)
    assert import_nequip(*_write(tmp_path, state, ARGUMENTS))["dtype"] == "float32"
    config = load_potential(tmp_path / "model", device="cpu").config
    assert config.per_species_energy_scales == dict.fromkeys("HCO", 1.0)


@pytest.mark.parametrize("preset", sorted(MODEL_PRESETS))
def test_presets_and_nequips_own_defaults(preset):
    given = {"type_names": ["H"], "r_max": 5.0, "avg_num_neighbors": 10.0}
    config = architecture(parse_arguments({**given, "preset": preset}))
    assert (config.num_layers, config.radial_mlp_width) == (MODEL_PRESETS[preset]["num_layers"], 128)
    default = architecture(parse_arguments({"training_module": {"model": given}}))
    assert (default.num_layers, default.l_max, default.parity, default.channels) == (4, 1, True, (32, 32))


def _without(key: str):
    return lambda state: state.pop(PREFIX + key)


def _with(key: str, tensor: Tensor):
    return lambda state: state.update({PREFIX + key: tensor})


WRONG_WEIGHTS = {
    "missing": (_without("layer1_convnet.conv.sc.weight"), r"missing tensors \['layer1_convnet.conv.sc.weight'\]"),
    "unknown": (_with("layer9_convnet.conv.sc.weight", torch.ones(3)), "unknown tensors"),
    "wrong shape": (_with("layer1_convnet.conv.linear_1.weight", torch.ones(3)), r"shape \(3,\), expected \("),
    "no network": (_without(EMBEDDING), "found 0 tensors named"),
    "two networks": (_with("second.type_embed.embed_module.weight", torch.ones(3, 6)), "found 2 tensors named"),
    "not a number": (_with(EMBEDDING, torch.full((3, 6), torch.nan)), "not finite"),
    "integers": (_with(EMBEDDING, torch.ones(3, 6, dtype=torch.int64)), "not finite"),
    "other cutoff": (_with("edge_norm._rmax_recip", torch.tensor(0.2)), "differs from what the configuration says"),
    "other Wigner symbols": (_with("a._w3j_1_2_1", -o3.wigner_3j(1, 2, 1)), "differs from what the configuration says"),
    "hidden cutoffs": (_with("edge_norm._rmax_recip", torch.ones(9)), r"expected \(\)"),
    "hidden repulsion": (_with("pair_potential.atomic_numbers", torch.ones(3)), "unknown tensors"),
}


@pytest.mark.parametrize("case", sorted(WRONG_WEIGHTS))
def test_weights_that_do_not_fit_are_refused(potential, tmp_path, case):
    spoil, message = WRONG_WEIGHTS[case]
    state = _their_state(potential)
    spoil(state)
    with pytest.raises(ModelError, match=message) as error:
        import_nequip(*_write(tmp_path, state, ARGUMENTS))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model").exists()


WRONG_ARGUMENTS = {
    "neighbours per type": ({"avg_num_neighbors": {"H": 9.0, "C": 9.0, "O": 9.0}},
                            "avg_num_neighbors: one value per type"),
    "no cutoff": ({"r_max": None}, "r_max: .*number"),
    "placeholder": ({"r_max": "${cutoff}"}, "r_max: .*written out"),
    "unknown option": ({"magic": 1}, r"not supported: \['magic'\]"),
    "no self-connection": ({"convnet_sc": False}, "convnet_sc"),
    "residual": ({"convnet_resnet": True}, "convnet_resnet"),
    "norm nonlinearity": ({"convnet_nonlinearity_type": "norm"}, "convnet_nonlinearity_type"),
    "other readout": ({"readout_mlp_nonlinearity": "gelu"}, "readout_mlp_nonlinearity"),
    "charges": ({"categorical_graph_field_embed": [{"field": "charge"}]}, "categorical_graph_field_embed"),
    "Lennard-Jones": ({"pair_potential": {"_target_": "nequip.nn.pair_potential.LennardJones"}},
                      "expected nequip.nn.pair_potential.ZBL"),
    "ZBL in kcal/mol": ({"pair_potential": {**ZBL, "units": "real"}}, "units: .*metal"),
    "ZBL of others": ({"pair_potential": {**ZBL, "chemical_species": ["C", "H", "O"]}}, "chemical_species"),
    "ZBL cut otherwise": ({"pair_potential": {**ZBL, "polynomial_cutoff_p": 5}}, "pair_potential.polynomial_cutoff_p"),
    "types that are no elements": ({"type_names": ["A", "B", "C"]}, "not element symbols"),
    "pair of unknown types": ({"per_edge_type_cutoff": {"N": 2.0}}, r"found \['N'\]"),
    "long pair cutoff": ({"per_edge_type_cutoff": {"H": 5.0}}, "at most r_max"),
    "fractional p": ({"polynomial_cutoff_p": 6.5}, "polynomial_cutoff_p"),
    "channels": ({"num_features": [5, 4]}, "expected l_max"),
    "huge": ({"num_features": 10**9}, "num_features"),
    "large but allowed": ({"num_features": 1024, "l_max": 6, "num_layers": 12}, "missing tensors"),
}


@pytest.mark.parametrize("case", sorted(WRONG_ARGUMENTS))
def test_what_cannot_be_reproduced_is_refused_by_name(potential, tmp_path, case):
    changes, message = WRONG_ARGUMENTS[case]
    with pytest.raises(ModelError, match=message) as error:
        import_nequip(*_write(tmp_path, _their_state(potential), {**ARGUMENTS, **changes}))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "a: &x 1\nb: *x", "[" * 100_000, " " * 2_000_000, "1: 2", ""])
def test_a_configuration_that_is_none_is_refused(potential, tmp_path, text):
    weights, config, folder = _write(tmp_path, _their_state(potential), ARGUMENTS)
    config.write_text(text)
    with pytest.raises(ModelError) as error:
        import_nequip(weights, config, folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize("name", ["best.ckpt", "model.pt", "model.pth", "model.nequip.zip", "weights"])
def test_pickles_are_never_read_and_the_way_out_is_shown(potential, tmp_path, name):
    _, config, folder = _write(tmp_path, {"x": torch.zeros(1)}, ARGUMENTS)
    with pytest.raises(ModelError, match=r"never read — .*save_file\(.*docs/nequip-import.md") as error:
        import_nequip(tmp_path / name, config, folder)
    assert "\n" not in str(error.value)


def _huge_npz(path: Path) -> None:
    """A member that claims 8 TB."""
    header = {"shape": (10**6, 10**6), "fortran_order": False, "descr": "<f8"}
    with zipfile.ZipFile(path, "w") as archive, archive.open(f"{PREFIX}{EMBEDDING}.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(stream, header)


DAMAGED = {
    "w.safetensors": [lambda p: p.write_bytes(b"\x80\x04garbage"), lambda p: p.write_bytes(b""), lambda p: None],
    "w.npz": [lambda p: p.write_bytes(b"PK\x03\x04garbage"), lambda p: None, _huge_npz,
              lambda p: np.savez(p, **{PREFIX + EMBEDDING: np.array([[object()] * 6] * 3)}),
              lambda p: p.write_bytes(b"PK\x05\x06" + bytes(18))],
}


@pytest.mark.parametrize(("name", "number"), [(name, n) for name in DAMAGED for n in range(len(DAMAGED[name]))])
def test_damaged_files_are_refused(tmp_path, name, number):
    _, config, folder = _write(tmp_path, {"x": torch.zeros(1)}, ARGUMENTS)
    DAMAGED[name][number](tmp_path / name)
    with pytest.raises(ModelError, match=name) as error:
        import_nequip(tmp_path / name, config, folder)
    assert "\n" not in str(error.value)


def test_a_pickled_array_of_the_right_shape_is_refused(potential, tmp_path):
    _, config, folder = _write(tmp_path, {"x": torch.zeros(1)}, ARGUMENTS)
    arrays = {key: tensor.numpy() for key, tensor in _their_state(potential).items()}
    arrays[PREFIX + EMBEDDING] = np.array([[object()] * 6] * 3)
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(ModelError, match="Object arrays cannot be loaded"):
        import_nequip(tmp_path / "w.npz", config, folder)


def test_a_folder_that_holds_a_model_is_kept(potential, tmp_path):
    paths = _write(tmp_path, _their_state(potential), ARGUMENTS)
    import_nequip(*paths)
    with pytest.raises(ModelError, match="holds a model already"):
        import_nequip(*paths)


def test_command_line(potential, tmp_path):
    weights, config, folder = _write(tmp_path, _their_state(potential), ARGUMENTS)
    result = CliRunner().invoke(app, ["import", "nequip", str(weights), str(config), "-o", str(folder),
                                      "--json", str(tmp_path / "out.json")])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out.json").read_text())["model_dir"] == str(folder)
    refused = CliRunner().invoke(app, ["import", "nequip", "best.ckpt", str(config), "-o", str(tmp_path / "other")])
    assert refused.exit_code == 2
