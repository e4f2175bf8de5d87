"""Error bars on the Evaluate page and on the command line: fitted, checked, refused when wrong or of other weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ase.io import write
from typer.testing import CliRunner

from tests.pages.test_evaluate_page import PAGE, titles
from tests.pages.test_pages import metrics, texts
from toolkit.cli import app
from toolkit.config import DataConfig
from toolkit.data.formats import read_frames
from toolkit.jobs.requests import EvaluateRequest
from toolkit.jobs.run_dir import create_run_dir, read_json
from toolkit.jobs.tasks import run_task


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
