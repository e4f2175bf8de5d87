"""Configurations refuse what they do not understand and survive a round trip."""

import pytest

from toolkit.config import MDConfig, ModelConfig, TrainConfig, load_config, parse_config, save_config, shortest
from toolkit.config_model import ARCHITECTURE_DEFAULTS, ARCHITECTURE_FIELDS
from toolkit.errors import ConfigError, StorageError

MINIMAL = {"data": {"train": "embedded:aspirin"}}


@pytest.mark.parametrize("ending", ["json", "yaml"])
def test_round_trip(tmp_path, ending):
    config = parse_config(TrainConfig, {**MINIMAL, "model": {"species": ["C", "H"], "num_features": [8, 4, 2]}})
    save_config(config, tmp_path / f"config.{ending}")
    assert load_config(TrainConfig, tmp_path / f"config.{ending}") == config


def test_unknown_field_names_the_valid_ones():
    with pytest.raises(ConfigError, match=r"model\.n_layers: unknown field, expected one of .*'num_layers'"):
        parse_config(TrainConfig, {**MINIMAL, "model": {"n_layers": 3}})


@pytest.mark.parametrize(("values", "message"), [
    ({"species": ["Xx"]}, "not element symbols"),
    ({"r_max": -1.0}, "greater than 0"),
    ({"num_features": [4, 4]}, "expected l_max \\+ 1 = 3"),
    ({"species": ["C"], "per_species_energy_shifts": {"H": 1.0}}, "expected the species"),
    ({"num_features": 0}, "1 … 1024"),
    ({"architecture": "allegro", "preset": "S"}, "preset 'S' is a size of NequIP"),
])
def test_wrong_values_say_what_is_expected(values, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(ModelConfig, values)


def test_overrides_are_applied_and_checked(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("data: {train: 'embedded:aspirin'}\n")
    config = load_config(TrainConfig, path, ["model.l_max=1", "data.split.num_train=7", "optimizer.learning_rate=1e-3"])
    assert (config.model.l_max, config.data.split.num_train, config.optimizer.learning_rate) == (1, 7, 1e-3)
    for wrong, message in (("model.l_max", "NAME=VALUE"), ("data.train.x=1", "is a value"), ("nothing=1", "unknown field"),
                           ("model.species=[H,C", "not valid YAML"), ("data.train=2024-13-01", "not valid YAML")):
        with pytest.raises(ConfigError, match=message):
            load_config(TrainConfig, path, [wrong])


@pytest.mark.parametrize(("text", "message"), [("a: [1", "not valid YAML"), ("- 1", "expected a mapping"), ("", "data: Field required")])
def test_bad_files_get_one_line(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        load_config(TrainConfig, path)
    assert "\n" not in str(error.value)


def test_missing_file_and_unwritable_folder(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(TrainConfig, tmp_path / "none.yaml")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        save_config(MDConfig(), tmp_path / "file" / "md.json")


def test_configurations_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        MDConfig().steps = 3


def test_a_field_of_another_architecture_is_refused(monkeypatch):
    monkeypatch.setitem(ARCHITECTURE_FIELDS, "pairwise", frozenset({"num_layers"}))
    monkeypatch.setitem(ARCHITECTURE_DEFAULTS, "pairwise", {"zbl": True})
    assert parse_config(ModelConfig, {"architecture": "pairwise", "num_layers": 2}).zbl
    with pytest.raises(ConfigError, match="l_max is not a field of the architecture 'pairwise'"):
        parse_config(ModelConfig, {"architecture": "pairwise", "l_max": 1})


@pytest.mark.parametrize("model", [
    {}, {"l_max": 3, "num_features": [8, 4, 4, 2]}, {"preset": "S"}, {"preset": "S", "num_layers": 4},
    {"preset": "S", "l_max": 2, "num_features": 32}, {"preset": "M", "num_features": 32},
    {"architecture": "allegro", "num_layers": 4}, {"architecture": "allegro"}, {"architecture": "atom_mlp", "num_features": 32},
    {"architecture": "atom_gnn", "readout_mlp_depth": 0, "zbl": False}])
def test_the_shortest_text_of_a_configuration_is_read_as_the_same(model):
    config = parse_config(TrainConfig, {"data": {"train": "a.xyz"}, "model": model, "max_epochs": 7})
    text = shortest(config)
    assert parse_config(TrainConfig, text) == config
    assert text["max_epochs"] == 7 and set(text.get("model", {})) == set(model)
