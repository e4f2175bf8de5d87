"""Error bars on the Evaluate page and on the command line: fitted, checked, refused when wrong or of other weights."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

from tests.pages.test_evaluate_page import PAGE, titles
from tests.pages.test_pages import metrics, texts
from toolkit.cli import app
from toolkit.config import DataConfig, TrainConfig
from toolkit.data.formats import read_frames
from toolkit.jobs.requests import EvaluateRequest
from toolkit.jobs.run_dir import create_run_dir
from toolkit.jobs.shipping import check_shipped, write_card_again
from toolkit.jobs.tasks import run_task
from toolkit.jobs.uncertainty import check_uncertainty
from toolkit.models.potential import load_potential
from toolkit.storage import read_json
from toolkit.training.calibration_card import CALIBRATION, suggested_stop_eV_per_A
from toolkit.training.trainer import train

MD_PAGE = "pages/3_Molecular_Dynamics.py"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Training, validation and test frames."""
    frames, folder = read_frames("embedded:aspirin").frames, tmp_path_factory.mktemp("frames")
    parts = {"train": frames[:800:40], "val": frames[900:1000:10], "test": frames[1010::6][:30]}
    for name, part in parts.items():
        write(folder / f"{name}.extxyz", part, format="extxyz")
    return tuple(str(folder / f"{name}.extxyz") for name in parts)


@pytest.fixture(scope="module")
def fitted(root: Path, tmp_path_factory: pytest.TempPathFactory, files: tuple[str, str, str]) -> Path:
    """A copy of the shipped model of the embedded frames, its uncertainty fitted."""
    folder = tmp_path_factory.mktemp("fitted") / "model"
    shutil.copytree(root / "trained_models" / "aspirin_xtb", folder)
    words = ["uncertainty", "fit", str(folder), files[0], "--val", files[1], "--device", "cpu"]
    assert CliRunner().invoke(app, [*words, "--json", str(folder / "fit.json")]).exit_code == 0
    assert read_json(folder / "fit.json")["n_calibrated"] == 10
    return folder


@pytest.fixture
def model(fitted: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(fitted, tmp_path / "model"))


def evaluated(model: Path, data: str) -> str:
    request = EvaluateRequest(model=str(model), data=DataConfig(train=data), device="cpu")
    run_dir = create_run_dir("evaluate")
    run_task("evaluate", request.model_dump(mode="json"), run_dir)
    return run_dir.name


def test_the_command_line_accepts_honest_error_bars_and_refuses_others(model, files, tmp_path) -> None:
    words = ["uncertainty", "check", str(model), files[2], "--device", "cpu", "--json", str(tmp_path / "check.json")]
    assert CliRunner().invoke(app, words).exit_code == 0
    found = read_json(tmp_path / "check.json")[files[2]]["forces"]
    assert found["calibrated"] and found["n"] == 30 * 21 * 3 and found["spearman"] > 0.2
    header = model / "uncertainty.json"
    values = json.loads(header.read_text())
    header.write_text(json.dumps({**values, "forces_scale": 0.4 * values["forces_scale"]}))
    assert CliRunner().invoke(app, words).exit_code == 1
    spoilt = read_json(tmp_path / "check.json")[files[2]]["forces"]
    assert spoilt["z_std"] == pytest.approx(2.5 * found["z_std"], rel=1e-6)
    header.write_text(json.dumps({**values, "weights_sha256": "0" * 64}))
    assert CliRunner().invoke(app, words).exit_code == 2


def test_a_recorded_check_is_on_the_card_until_the_next_fit(model, files) -> None:
    words = ["uncertainty", "check", str(model), files[2], "--device", "cpu", "--record"]
    refused = CliRunner().invoke(app, [*words[:4], files[0], *words[4:]])
    assert refused.exit_code == 2 and not (model / CALIBRATION).exists()
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0
    record, card = read_json(model / CALIBRATION), (model / "CARD.md").read_text()
    assert (record["n_frames"], record["data"], record["fit"]["data"]) == (30, "test.extxyz", "train.extxyz")
    largest = [float(p["forces_std"].max()) for p in
               load_potential(model, device="cpu").predict(read_frames(files[2]).frames, uncertainty=True)]
    assert record["largest_forces_std_eV_per_A"]["max"] == pytest.approx(max(largest), rel=1e-4)
    assert suggested_stop_eV_per_A(record) == pytest.approx(1.5 * max(largest), rel=0.05)
    assert re.search(rf"md_limit_eV_per_A +│ {suggested_stop_eV_per_A(record):g}\b", shown.output)
    assert f"| {record['forces']['z_std']:.2f} ± " in card and "σ of forces has the wrong size" not in card
    check_shipped(model)
    write_card_again(model)
    assert (model / "CARD.md").read_text() == card
    assert CliRunner().invoke(app, ["uncertainty", "fit", str(model), *files[:1], "--val", files[1]]).exit_code == 0
    assert not (model / CALIBRATION).exists() and "## Uncertainty" not in (model / "CARD.md").read_text()


def test_error_bars_that_are_wrong_say_so_on_the_card(model, files) -> None:
    header = model / "uncertainty.json"
    values = json.loads(header.read_text())
    header.write_text(json.dumps({**values, "forces_scale": 0.4 * values["forces_scale"]}))
    words = ["uncertainty", "check", str(model), files[2], "--device", "cpu", "--record"]
    assert CliRunner().invoke(app, words).exit_code == 1
    record = read_json(model / CALIBRATION)
    assert f"**σ of forces has the wrong size**: errors are {record['forces']['z_std']:.2f} times" in (model / "CARD.md").read_text()


def test_a_simulation_is_stopped_and_harvested_from_the_page(open_page, model, started, monkeypatch) -> None:
    monkeypatch.setenv("TOOLKIT_MODELS", str(model.parent))
    at = open_page(MD_PAGE)
    at.number_input(key="md.uncertainty_stop_eV_per_A").set_value(0.5)
    at.number_input(key="md.harvest_above_eV_per_A").set_value(0.001)
    at.number_input(key="md.steps").set_value(40).run()
    at.button(key="md.start").click().run()
    assert not at.exception and not at.error
    config = json.loads((started[0] / "config.json").read_text())
    assert (config["md"]["uncertainty_stop_eV_per_A"], config["md"]["harvest_above_eV_per_A"]) == (0.5, 0.001)
    run_dir = create_run_dir("md")
    result = run_task("md", {**config, "device": "cpu"}, run_dir)
    assert Path(result["harvest"]).is_file()
    done = open_page(MD_PAGE, run=run_dir.name)
    assert not done.exception and "1 frame to label (extended XYZ)" in [b.proto.label for b in done.get("download_button")]


def test_a_model_without_error_bars_is_not_asked_for_them(open_page, model, monkeypatch) -> None:
    monkeypatch.setenv("TOOLKIT_MODELS", str(model.parent))
    (model / "uncertainty.safetensors").unlink()
    at = open_page(MD_PAGE)
    assert not at.exception and "md.uncertainty_stop_eV_per_A" not in [widget.key for widget in at.number_input]


def test_the_page_shows_the_calibration_or_why_there_is_none(open_page, model, files) -> None:
    at = open_page(PAGE, run=evaluated(model, files[2]))
    assert not at.exception and not at.error
    assert len(at.get("plotly_chart")) == 5 and "predicted σ of a force component, meV/Å" in titles(at)
    assert float(metrics(at)["Error ÷ σ (RMS)"].split()[0]) == pytest.approx(1.0, abs=0.3)
    values = json.loads((model / "uncertainty.json").read_text())
    (model / "uncertainty.json").write_text(json.dumps({**values, "weights_sha256": "0" * 64}))
    stale = open_page(PAGE, run=evaluated(model, files[2]))
    assert not stale.exception and "fitted for other weights" in texts(stale) + stale.warning[0].value
    assert len(stale.get("plotly_chart")) == 4


def test_frames_that_were_learned_do_not_calibrate(tmp_path) -> None:
    """The seed of the split is that of the training, or the command refuses."""
    config = {"data": {"train": "embedded:ethanol", "split": {"num_train": 40, "num_val": 10, "num_test": 5, "seed": 3}},
              "model": {"preset": "S", "species": ["H", "C", "O"], "num_features": [4], "l_max": 0, "num_layers": 1},
              "max_epochs": 1, "batch_size": 20, "device": "cpu", "backend": "reference"}
    train(TrainConfig.model_validate(config), tmp_path / "run")
    words = ["uncertainty", "fit", str(tmp_path / "run"), "embedded:ethanol", "--method", "random", "--num-train", "900",
             "--num-val", "50", "--num-test", "100", "--max-frames", "20", "--device", "cpu"]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 2 and "--split-seed" in refused.output and "validation frames among those" in refused.output
    words[7:13:2] = ["40", "10", "5"]
    assert CliRunner().invoke(app, [*words, "--split-seed", "3"]).exit_code == 0
    for stray in (["--val", "embedded:ethanol"], ["--num-train", "9"]):
        lost = CliRunner().invoke(app, ["uncertainty", "fit", str(tmp_path / "run"), *stray])
        assert lost.exit_code == 2 and "found 0 files" in lost.output


def test_a_check_reads_files_as_the_model_reads_its_own(model, files, tmp_path) -> None:
    """A file with cheap labels beside those that were learned."""
    metrics = read_json(model / "metrics.json")
    metrics["train_config"]["data"] |= {"energy_key": "REF_energy", "forces_key": "REF_forces"}
    (model / "metrics.json").write_text(json.dumps(metrics))
    frames = []
    for atoms in read_frames(files[2]).frames[:8]:
        frame = Atoms(atoms.numbers, atoms.positions, info={"REF_energy": atoms.get_potential_energy(), "energy_kept": 0.0})
        frame.arrays["REF_forces"] = atoms.get_forces()
        frame.calc = SinglePointCalculator(frame, energy=0.0, forces=np.zeros((len(atoms), 3)))
        frames.append(frame)
    write(tmp_path / "two.extxyz", frames, format="extxyz")
    sizes = []
    for more in ([], ["--forces-key", "forces", "--energy-key", "energy"]):
        CliRunner().invoke(app, ["uncertainty", "check", str(model), str(tmp_path / "two.extxyz"), *more, "--device", "cpu",
                                 "--json", str(tmp_path / "check.json")])
        sizes.append(read_json(tmp_path / "check.json")[str(tmp_path / "two.extxyz")]["forces"]["z_std"])
    assert sizes[0] < 2.0 and sizes[1] > 5.0 * sizes[0]


def test_an_atom_without_neighbours_is_no_reason_to_refuse(fitted) -> None:
    frames = list(read_frames("embedded:aspirin").frames[1010:1014])
    apart = Atoms(frames[0].numbers, frames[0].positions)
    apart.positions[np.flatnonzero(apart.numbers == 1)[0]] += [0.0, 0.0, 40.0]
    apart.calc = SinglePointCalculator(apart, energy=frames[0].get_potential_energy(), forces=frames[0].get_forces())
    potential = load_potential(str(fitted), device="cpu")
    assert check_uncertainty(potential, [*frames, apart])["forces"].n == 3 * (5 * 21 - 1)
