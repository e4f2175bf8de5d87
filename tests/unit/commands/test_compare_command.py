"""`toolkit compare`: the table, the JSON, options in any order, one clear line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from toolkit.cli import app
from toolkit.commands.common import split_words
from toolkit.config import ModelConfig
from toolkit.models.checkpoint import save_model
from toolkit.models.potential import build_potential

OPTIONS = ("--data", "embedded:ethanol", "--frames", 12, "--md-ps", 0, "--speed-s", 0.01, "--device", "cpu",
           "--backend", "reference")


def run(*words: object) -> tuple[int, str]:
    """Exit code and everything printed."""
    done = CliRunner().invoke(app, ["compare", *map(str, words)])
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("left", "right")):
        config = ModelConfig(species=("H", "C", "O"), r_max=3.0, num_layers=1, l_max=1, num_features=4, seed=seed)
        save_model(build_potential(config).model, config, folder / name)
    return folder / "left", folder / "right"


def test_two_models_side_by_side(models: tuple[Path, Path], tmp_path: Path) -> None:
    code, output = run(models[0], *OPTIONS, models[1], "-o", tmp_path / "kept", "--json", tmp_path / "out.json")
    assert code == 0, output
    summary = json.loads((tmp_path / "out.json").read_text())
    assert summary == json.loads((tmp_path / "kept" / "compare.json").read_text())
    assert summary["complete"] and list(summary["models"]) == ["left", "right"] and summary["n_frames"] == 12
    errors = summary["models"]["right"]["errors"]
    assert f"{errors['forces_mae_meV_per_A']:.2f} ± {errors['forces_mae_meV_per_A_stderr']:.2f}" in output
    for heading in ("Errors on 12 frames", "Differences on the same frames", "Speed and size", "stable replicas"):
        assert heading in output
    assert (tmp_path / "kept" / "report.html").is_file() and "report.html" in output


@pytest.mark.parametrize(("words", "message"), [
    (("aspirin", "aspirin_xtb"), "no --data"), (("aspirin", "--data", "embedded:aspirin"), "at least 2 items"),
    (("aspirin", "absent", "--data", "embedded:aspirin"), "found no model 'absent'"),
    (("aspirin", "aspirin", "--data", "embedded:none"), "none"),
    (("aspirin", "aspirin", "--data", "embedded:aspirin", "--frame", "3"), "unknown options"),
    (("aspirin", "aspirin", "--data", "embedded:aspirin", "--replicas", "0"), "replicas")])
def test_mistakes_end_in_one_line(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    code, output = run(*words, "-o", tmp_path / "x")
    assert code == 2 and message in output and "Traceback" not in output and len(output.splitlines()) == 1


def test_options_may_stand_anywhere() -> None:
    words = ["--data", "x", "a", "--md-ps", "0", "b"]
    assert split_words(words) == (["a", "b"], ["--data", "x", "--md-ps", "0"])
    assert split_words(["a", "--data"]) == (["a"], ["--data"])
    assert split_words(["--data=x=y", "a", "--md-ps", "--b=1"]) == (["a"], ["--data", "x=y", "--md-ps", "--b=1"])
