"""The Evaluate page: the numbers of the command line, parity with units, worst frames in 3D, a script that repeats it."""

from __future__ import annotations

import base64
import json
import runpy
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from tests.pages.conftest import choose_on_server
from tests.pages.test_pages import metrics, texts
from tests.stopping import run_until
from toolkit.cli import app
from toolkit.config import DataConfig, SplitConfig, TrainConfig, parse_config
from toolkit.data.formats import read_frames
from toolkit.jobs import launcher
from toolkit.jobs.requests import EvaluateRequest
from toolkit.jobs.run_dir import create_run_dir
from toolkit.jobs.scripts import evaluation_script
from toolkit.jobs.tasks import run_task
from toolkit.models.folders import find_model
from toolkit.models.potential import load_potential
from toolkit.storage import read_json
from toolkit.ui import evaluation

PAGE = "pages/9_Evaluate.py"


@pytest.fixture
def frames_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path))
    write(tmp_path / "frames.extxyz", read_frames("embedded:aspirin").frames[:30], format="extxyz")
    return tmp_path / "frames.extxyz"


@pytest.fixture
def request_(frames_file: Path) -> EvaluateRequest:
    return EvaluateRequest(model="aspirin", data=DataConfig(train=str(frames_file)), device="cpu")


@pytest.fixture
def evaluated(request_: EvaluateRequest) -> Path:
    run_dir = create_run_dir("evaluate")
    run_task("evaluate", request_.model_dump(mode="json"), run_dir)
    return run_dir


def titles(at: AppTest) -> list[str]:
    """Names of all axes of all figures."""
    layouts = [json.loads(chart.proto.spec)["layout"] for chart in at.get("plotly_chart")]
    return [value["title"]["text"] for layout in layouts for name, value in layout.items()
            if name.startswith(("xaxis", "yaxis")) and "title" in value]


def test_the_page_shows_numbers_figures_with_units_and_the_worst_frame(open_page, evaluated: Path) -> None:
    at = open_page(PAGE, run=evaluated.name)
    result = read_json(evaluated / "result.json")
    assert not at.exception and not at.error
    assert metrics(at)["Force MAE"] == f"{result['forces_mae_meV_per_A']:.1f} meV/Å" and "30 frames of" in texts(at)
    assert len(at.get("plotly_chart")) == 4 and len(at.get("bidi_component")) == 1
    assert all("," in title for title in titles(at) if title != "element")
    elements, worst = at.dataframe[0].value, at.dataframe[1].value
    assert list(elements["element"]) == ["H", "C", "O"] and len(worst) == 20
    assert worst["largest, meV/Å"].astype(float).is_monotonic_decreasing
    assert f"Frame {worst['frame'].iloc[0]} (its place in the file" in texts(at) and len(at.get("download_button")) == 1
    at.segmented_control(key="evaluate.judged").set_value("energy_error_meV_per_atom").run()
    errors = at.dataframe[1].value["energy, meV/atom"].astype(float).abs()
    assert not at.exception and errors.is_monotonic_decreasing


def test_command_line_page_and_script_agree(evaluated: Path, request_: EvaluateRequest, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    result = read_json(evaluated / "result.json")
    words = ["evaluate", request_.model, request_.data.train, "--device", "cpu", "--json", str(tmp_path / "out.json")]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert read_json(tmp_path / "out.json") == result
    capsys.readouterr()
    (tmp_path / "evaluate.py").write_text(evaluation_script(request_))
    runpy.run_path(str(tmp_path / "evaluate.py"))
    printed, rest = json.JSONDecoder().raw_decode(capsys.readouterr().out)
    assert printed == result and rest > 0


@pytest.fixture
def shipped(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_MODELS", str(root / "trained_models"))


def test_a_shipped_model_brings_a_few_of_its_test_frames(open_page, shipped: None, started: list[Path]) -> None:
    at = open_page(PAGE)
    at.selectbox(key="evaluate.model").select("ethanol_s (shipped)").run()
    assert at.selectbox(key="evaluate.own.source").value == "Its own stored test frames"
    at.button(key="evaluate.start").click().run()
    assert not at.exception and not at.error
    result = run_task("evaluate", json.loads((started[0] / "config.json").read_text()), started[0].with_name("done"))
    told = read_json(find_model("ethanol_s") / "metrics.json")["sample"]
    assert result["n_frames"] == told["n_frames"] == 16
    assert result["forces_mae_meV_per_A"] == pytest.approx(told["forces_mae_meV_per_A"], rel=1e-4)
    assert abs(result["energy_offset_meV_per_atom"]) < 1.0


def test_another_level_of_theory_is_said_to_be_one(open_page, shipped: None, evaluated: Path, frames_file: Path) -> None:
    at = open_page(PAGE, run=evaluated.name)  # aspirin knows PBE, the embedded frames are of GFN2-xTB
    assert "Energies of this potential lie" in at.warning[0].value and "Energy MAE" not in metrics(at)
    assert 1.0 < float(metrics(at)["Energy MAE without offset"].split()[0]) < 50.0
    assert "without the mean of the labels and the offset by composition" in texts(at)
    at.segmented_control(key="evaluate.judged").set_value("energy_error_meV_per_atom").run()
    worst = at.dataframe[1].value["energy, meV/atom"].astype(float)
    assert worst.abs().is_monotonic_decreasing and worst.abs().max() < 50.0 and worst.min() < 0.0 < worst.max()
    errors = json.loads(at.get("plotly_chart")[0].proto.spec)["data"][-1]["y"]
    values = np.frombuffer(base64.b64decode(errors["bdata"]), errors["dtype"])
    assert len(values) == 30 and np.abs(values).max() < 50.0  # meV/atom; with the offset 788 eV/atom
    words = [str(frames_file), "--device", "cpu"]
    assert "note: Energies of aspirin lie" in CliRunner().invoke(app, ["evaluate", "aspirin", *words]).output
    same = CliRunner().invoke(app, ["evaluate", "aspirin_xtb", *words])
    assert same.exit_code == 0 and "note:" not in same.output


def test_the_form_starts_what_it_says(open_page, frames_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Path] = []
    monkeypatch.setattr(launcher, "_spawn", lambda run_dir, resume: started.append(run_dir))
    at = open_page(PAGE)
    choose_on_server(at, "evaluate", frames_file.name)
    at.selectbox(key="evaluate.reading.energy_unit").select("kcal/mol").run()
    at.button(key="evaluate.start").click().run()
    assert not at.exception and not at.error
    config = parse_config(EvaluateRequest, json.loads((started[0] / "config.json").read_text()))
    assert (config.model, config.part, config.data.train) == ("aspirin", "all", str(frames_file))
    assert config.data.energy_unit == "kcal/mol" and config.data.energy_key is None
    assert f"{frames_file} --energy-unit kcal/mol" in texts(at)


def test_what_was_said_of_one_file_does_not_hold_for_the_next(open_page, frames_file: Path, started: list[Path]) -> None:
    shutil.copy(frames_file, frames_file.with_name("other.extxyz"))
    at = open_page(PAGE)
    choose_on_server(at, "evaluate", frames_file.name)
    at.selectbox(key="evaluate.reading.energy_unit").select("kcal/mol").run()
    choose_on_server(at, "evaluate", "other.extxyz")
    at.button(key="evaluate.start").click().run()
    assert not at.exception and not at.error
    data = json.loads((started[0] / "config.json").read_text())["data"]
    assert data["train"].endswith("other.extxyz") and data["energy_unit"] == "auto"


def test_frames_of_a_file_that_was_written_anew_are_not_drawn(open_page, evaluated: Path, frames_file: Path) -> None:
    assert "not in the file any more" not in texts(open_page(PAGE, run=evaluated.name))
    write(frames_file, read_frames("embedded:aspirin").frames[100:130], format="extxyz")
    at = open_page(PAGE, run=evaluated.name)
    assert not at.exception and "not in the file any more" in texts(at) + " ".join(i.value for i in at.info)


def test_the_frames_a_model_was_tested_on_are_offered_first(open_page, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = parse_config(TrainConfig, {
        "data": {"train": "embedded:ethanol", "split": {"num_train": 6, "num_val": 3, "num_test": 5}},
        "model": {"r_max": 3.0, "num_layers": 1, "l_max": 1, "num_features": 4, "radial_mlp_width": 8},
        "max_epochs": 1, "device": "cpu", "threads": 1})
    trained = create_run_dir("train")
    test = run_task("train", tiny.model_dump(mode="json"), trained)["test"]
    monkeypatch.setattr(launcher, "_spawn", lambda run_dir, resume: run_task(
        "evaluate", {**json.loads((run_dir / "config.json").read_text()), "device": "cpu"}, run_dir.with_name("done")))
    at = open_page(PAGE)
    at.selectbox(key="evaluate.model").select(f"{trained.name} (trained here)").run()
    assert at.selectbox(key="evaluate.own.source").value == "Its own test frames"
    at.button(key="evaluate.start").click().run()
    found = read_json(trained.with_name("done") / "result.json")
    assert not at.exception and found["n_frames"] == 5
    assert found["forces_mae_meV_per_A"] == pytest.approx(test["forces_mae_meV_per_A"], rel=1e-5)


@pytest.mark.parametrize(("here", "name"), [(True, "test frames"), (False, "stored test frames")])
def test_test_frames_of_the_catalogue_are_offered_where_they_are(shipped: None, monkeypatch: pytest.MonkeyPatch,
                                                                         here: bool, name: str) -> None:
    monkeypatch.setattr("toolkit.data.catalog.is_downloaded", lambda entry: here)
    assert evaluation.tested_on("ethanol").name == name


def test_test_frames_of_another_file_are_called_by_its_name(open_page, tmp_path: Path, frames_file: Path) -> None:
    shutil.copy(frames_file, tmp_path / "judged.xyz")
    request = EvaluateRequest(model="aspirin", part="test", data=DataConfig(train="embedded:aspirin", test=str(tmp_path / "judged.xyz")),
                              device="cpu")
    run_dir = create_run_dir("evaluate")
    run_task("evaluate", request.model_dump(mode="json"), run_dir)
    at = open_page(PAGE, run=run_dir.name)
    said = " ".join(caption.value for caption in at.caption).replace("\\", "")
    assert not at.exception and "judged.xyz. Model and data: aspirin · judged.xyz" in said
    (tmp_path / "judged.xyz").write_text((tmp_path / "judged.xyz").read_text().replace("C ", "O "))
    at.run()
    assert not at.exception and any("not in the file any more" in info.value for info in at.info)


def test_frames_are_called_by_their_place_in_the_file(open_page, frames_file: Path) -> None:
    """As on the Dataset page, whatever stands before them: isolated atoms, or frames of another set; and where it was stopped."""
    frames = read_frames("embedded:aspirin").frames[:60]
    atoms = [Atoms(symbol, info={"config_type": "IsolatedAtom"}) for symbol in "HCO"]
    for atom, energy in zip(atoms, (-10.7, -48.9, -102.9), strict=True):
        atom.calc = SinglePointCalculator(atom, energy=energy, forces=np.zeros((1, 3)))
    write(frames_file, [*atoms, *frames], format="extxyz")
    by_hand = read(frames_file, ":")
    whole, split = DataConfig(train=str(frames_file)), SplitConfig(num_train=10, num_val=5, num_test=15)
    for data, part, run, expected in ((whole, "all", run_task, 60), (whole, "all", partial(run_until, "evaluating"), 50),
                                      (whole.model_copy(update={"split": split}), "test", run_task, 15)):
        run_dir = create_run_dir("evaluate")
        run("evaluate", EvaluateRequest(model="aspirin", data=data, part=part, device="cpu").model_dump(mode="json"), run_dir)
        at = open_page(PAGE, run=run_dir.name)
        assert not at.exception
        worst, found = at.dataframe[1].value.iloc[0], read_json(run_dir / "result.json")
        place, atom = int(worst["frame"]), int(worst["on atom"])
        error = load_potential("aspirin", device="cpu").predict(by_hand[place])["forces"] - by_hand[place].get_forces()
        assert 1e3 * np.linalg.norm(error[atom]) == pytest.approx(float(worst["largest, meV/Å"]), abs=0.1)
        assert f"Frame {place} (its place in the file" in texts(at) and found["n_frames"] == expected
