"""scripts/train_rmd17.py: molecules side by side, each in a run folder of its own; stopped, resumed, given up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from ase.io import write

from toolkit.data.formats import read_frames
from toolkit.jobs.run_dir import open_run
from toolkit.jobs.shipping import write_sample
from toolkit.models.potential import load_potential
from toolkit.storage import read_json

SETTINGS = ("data.split.num_train=30", "data.split.num_val=6", "data.split.num_test=6", "data.split.gap=0",
            "max_epochs=40", "model.num_features=8", "device=cpu")
ANY_NETWORK = tuple(setting for setting in SETTINGS if not setting.startswith("model."))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two sets under the names of the published files."""
    for name, molecule in (("ethanol", "ethanol"), ("toluene", "aspirin")):
        frames = read_frames(f"embedded:{molecule}").frames
        for part, chosen in (("train", frames[:36]), ("test", frames[100:106])):
            write_sample(chosen, tmp_path / f"rmd17_{name}_{part}_01.npz")
    return tmp_path


def script(data: Path, *words: object, recipe: str = "coffee_break", settings: Sequence[str] = SETTINGS,
           ) -> subprocess.CompletedProcess[str]:
    """Run it as a user would."""
    root = Path(__file__).resolve().parents[2]
    sets = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, root / "scripts" / "train_rmd17.py", "ethanol", "toluene", "--recipe",
               root / "configs" / f"{recipe}.yaml", "--data", data, "--runs", data / "runs", *sets, *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)


def test_both_are_stopped_resumed_and_tested(data: Path) -> None:
    stopped = script(data, "--stop-after", 0)
    assert stopped.returncode == 3 and stopped.stdout.count("stopped") == 2, stopped.stderr
    assert open_run(data / "runs" / "toluene").state == "stopped"
    done = script(data, "--resume", "--give-up-after", 60)
    assert done.returncode == 0 and done.stdout.count("after 40 epochs") == 2, done.stderr
    for name in ("ethanol", "toluene"):
        test = read_json(data / "runs" / name / "result.json")["test"]
        assert test["n_frames"] == 6 and f"{test['forces_mae_meV_per_A']:.2f} meV/Å" in done.stdout
    longer = script(data, "--start-from", data / "runs", "--runs", data / "longer", "--set", "max_epochs=1",
                    settings=ANY_NETWORK)
    assert longer.returncode == 0, longer.stderr
    config = read_json(data / "longer" / "toluene" / "config.json")
    assert config["start_from"] == str(data / "runs" / "toluene")
    network = read_json(data / "longer" / "toluene" / "model" / "config.json")["model"]
    assert network["num_features"] == 8  # of the first run; the recipe has another


def test_a_time_for_all_takes_the_place_of_that_of_the_recipe(data: Path) -> None:
    recipe = Path(__file__).resolve().parents[2] / "configs" / "coffee_break.yaml"
    (data / "short.yaml").write_text(recipe.read_text() + "\nmax_train_s: 0.001\n")
    done = script(data, "--recipe", data / "short.yaml", "--within", 6, "--set", "max_epochs=100000")
    assert done.returncode == 0, done.stderr
    for name in ("ethanol", "toluene"):
        run, told = data / "runs" / name, read_json(data / "runs" / name / "result.json")
        assert read_json(run / "config.json")["max_train_s"] is None and told["epochs"] < 100000


def test_several_of_one_molecule_are_different_networks(data: Path) -> None:
    words = ("--seeds", 2, "--set", "max_epochs=1")
    assert script(data, *words).returncode == 0
    models = [load_potential(data / "runs" / f"ethanol_{seed}", device="cpu").model.state_dict() for seed in (1, 2)]
    assert any(not torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert read_json(data / "runs" / "toluene_2" / "config.json")["seed"] == 2
    kept = script(data, *words, "--start-from", data / "starts", "--runs", data / "longer",
                  settings=ANY_NETWORK)
    assert kept.returncode == 2 and "starts/ethanol" in kept.stderr  # one start for both


def test_a_run_that_does_not_get_on_is_given_up(data: Path) -> None:
    """Its first step takes many times as long as the patience, on any machine."""
    slow = ("--set", "model.num_features=256", "--set", "model.l_max=5", "--set", "model.num_layers=8")
    done = script(data, *slow, "--give-up-after", 0.5)
    assert done.returncode == 4 and "no run has got on for 0.5 s" in done.stdout, done.stderr


def test_students_read_the_frames_of_their_teachers(data: Path) -> None:
    for name, molecule in (("ethanol", "ethanol"), ("toluene", "aspirin")):
        (data / "frames" / name).mkdir(parents=True)
        chosen = read_frames(f"embedded:{molecule}").frames[:40]
        write(data / "frames" / name / "train.extxyz", chosen[:34])
        write(data / "frames" / name / "val.extxyz", chosen[34:])
        (data / f"rmd17_{name}_train_01.npz").unlink()
    assert script(data, "--frames", data / "frames", "--set", "max_epochs=1", "--runs", data / "teachers").returncode == 0
    done = script(data, "--frames", data / "frames", "--start-from", data / "teachers", recipe="student_large",
                  settings=("max_epochs=2", "device=cpu"))
    assert done.returncode == 0 and done.stdout.count("after 2 epochs") == 2, done.stderr
    summary = read_json(data / "runs" / "toluene" / "model" / "metrics.json")["data"]
    assert summary["sources"] == ["train.extxyz", "val.extxyz", "rmd17_toluene_test_01.npz"]
    assert (summary["n_train"], summary["n_val"], summary["n_test"]) == (34, 6, 6)
    assert summary["start_from"]["model"].endswith("toluene")
