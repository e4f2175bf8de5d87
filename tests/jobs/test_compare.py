"""A comparison of models as a job: the numbers of the single tools, rows that fail alone, stop, resume, and report."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from ase.io import write

from tests.stopping import StopInside
from toolkit.bench.memory import peak_tensor_bytes
from toolkit.config import DataConfig, ModelConfig, SplitConfig, TrainConfig
from toolkit.data.formats import read_frames
from toolkit.errors import ConfigError, JobError, ModelError
from toolkit.jobs.compare import FILE, chosen_frames, compare
from toolkit.jobs.compare_config import CompareRequest
from toolkit.jobs.compare_models import model_labels, training_facts
from toolkit.jobs.compare_report import flat_rows, report_sections
from toolkit.jobs.run_dir import create_run_dir, open_run
from toolkit.jobs.scripts import comparison_script
from toolkit.jobs.tasks import run_task
from toolkit.models.checkpoint import save_model
from toolkit.models.potential import build_potential, load_potential
from toolkit.storage import read_json
from toolkit.training.metrics import evaluate_potential
from toolkit.training.seen import seen_frames

TINY = {"r_max": 3.0, "num_layers": 1, "l_max": 1, "num_features": 4, "radial_mlp_width": 8, "avg_num_neighbors": 8.0}
SPLIT = SplitConfig(method="blocks", num_train=300, num_val=10, num_test=60)
SHORT = {"data": "embedded:ethanol", "frames": 24, "speed_s": 0.01, "md_ps": 0.01, "replicas": 2, "temperature_K": 20.0,
         "device": "cpu", "backend": "reference"}


def save_tiny(folder: Path, species: str = "HCO", seed: int = 0) -> Path:
    """An untrained model with faint forces, so that its simulation stays whole."""
    faint = dict.fromkeys(species, 1e-3)
    config = ModelConfig(species=tuple(species), seed=seed, per_species_energy_scales=faint, **TINY)
    save_model(build_potential(config).model, config, folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """first (with metrics and a passport of other weights), second, and one that knows no oxygen."""
    folder = tmp_path_factory.mktemp("models")
    save_tiny(folder / "first"), save_tiny(folder / "second", seed=1), save_tiny(folder / "no_oxygen", "HC")
    trained = TrainConfig(data=DataConfig(train="embedded:ethanol", split=SPLIT))
    (folder / "first" / "metrics.json").write_text(json.dumps({
        "data": {"sources": ["embedded:ethanol"], "n_train": 300}, "train_config": trained.model_dump(mode="json")}))
    (folder / "first" / "passport.json").write_text(json.dumps({
        "complete": True, "weights_sha256": "0", "checks": {"a": {"passed": True}, "b": {"passed": False}}}))
    return folder


def request(models: Path, *names: str, **changes: Any) -> CompareRequest:
    return CompareRequest(models=tuple(str(models / name) for name in names), **{**SHORT, **changes})


@pytest.fixture(scope="module")
def compared(models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A finished job with a model twice, another one, and one that cannot be judged."""
    folder = create_run_dir("compare", tmp_path_factory.mktemp("runs"))
    asked = request(models, "first", "second", "first", "no_oxygen")
    return folder, run_task("compare", asked.model_dump(mode="json"), folder)


def test_errors_are_those_of_evaluate(compared: tuple[Path, dict], models: Path) -> None:
    _, summary = compared
    frames = chosen_frames(request(models, "first", "second"))
    assert summary["complete"] and summary["n_frames"] == len(frames) == 24
    for name in ("first", "second"):
        expected = evaluate_potential(load_potential(models / name, device="cpu", backend="reference"), frames)
        found = summary["models"][name]["errors"]
        for key in ("energy_mae_meV", "energy_mae_meV_per_atom", "forces_mae_meV_per_A", "forces_rmse_meV_per_A"):
            assert found[key] == pytest.approx(expected[key], rel=1e-9) and found[f"{key}_stderr"] > 0.0
        for symbol, values in expected["per_species"].items():
            entry = found["per_species"][symbol]
            assert entry["forces_mae_meV_per_A"] == pytest.approx(values["forces_mae_meV_per_A"])
            assert entry["forces_mae_meV_per_A_stderr"] > 0.0


def test_a_model_against_itself_is_a_draw_and_against_another_is_not(compared: tuple[Path, dict]) -> None:
    pairs = {(p["first"], p["second"], p["quantity"]): p for p in compared[1]["pairs"]}
    twin = pairs["first", "first (2)", "forces_mae_meV_per_A"]
    assert twin["difference"] == 0.0 and twin["stderr"] == 0.0 and twin["sigmas"] is None
    other = pairs["first", "second", "forces_mae_meV_per_A"]
    rows = compared[1]["models"]
    assert other["difference"] == pytest.approx(
        rows["first"]["errors"]["forces_mae_meV_per_A"] - rows["second"]["errors"]["forces_mae_meV_per_A"])
    assert other["sigmas"] == pytest.approx(other["difference"] / other["stderr"])
    assert ("first", "second", "energy_mae_meV_per_atom") not in pairs  # without energy shifts: another zero


def test_a_model_that_does_not_fit_spoils_only_its_row(compared: tuple[Path, dict], models: Path,
                                                       tmp_path: Path) -> None:
    summary = compared[1]
    assert "this model knows only ['H', 'C']" in summary["models"]["no_oxygen"]["problem"]
    assert set(summary["models"]["no_oxygen"]) == {"model", "problem"}
    assert any("no_oxygen could not be judged" in text for text in summary["caveats"])
    with pytest.raises(JobError, match="could not be judged"):
        compare(request(models, "no_oxygen", "no_oxygen"), tmp_path / "a")
    with pytest.raises(ModelError, match="found no model"):
        compare(request(models, "first", "absent"), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_what_makes_rows_less_comparable_is_said(compared: tuple[Path, dict], models: Path) -> None:
    first, second = (compared[1]["models"][name] for name in ("first", "second"))
    stride = 1199 / 23  # 24 of 1200 frames; the first 300 were trained on
    assert first["seen"] == {"n_copies": sum(int(k * stride) < 300 for k in range(24)), "n_near_copies": 0}
    assert second["seen"] is None and second["training"] is None
    assert first["passport"] == {"n_passed": 1, "n_checks": 2, "complete": True, "stale": True}
    said = "\n".join(compared[1]["caveats"])
    assert "first was trained on 6 of these 24 frames" in said and "passport of first was made for other" in said
    assert "Energies of second lie" in said and "another zero of energy" in said


def test_the_sources_of_a_model_tell_what_it_went_on_from() -> None:
    metrics = {"data": {"sources": ["dft.npz"], "n_train": 100, "start_from": {"model": "aspirin_xtb"}},
               "train_config": {"data": {"split": None}}}
    assert training_facts(metrics)["sources"] == ["dft.npz", "those of the weights it began with (aspirin_xtb)"]
    metrics["data"]["start_from"] = None
    assert training_facts(metrics)["sources"] == ["dft.npz"]


def test_frames_of_a_model_gone_on_from_are_not_called_unseen(models: Path) -> None:
    frames = chosen_frames(request(models, "first", "second"))
    metrics = json.loads((models / "first" / "metrics.json").read_text())
    assert seen_frames(metrics, frames[:2])["n_copies"] == 2
    unseen = [atoms.copy() for atoms in frames[:2]]
    for atoms in unseen:
        atoms.rattle(0.5, seed=1)
    assert seen_frames(metrics, unseen) == {"n_copies": 0, "n_near_copies": 0}
    metrics["data"]["start_from"] = {"model": "second"}
    assert seen_frames(metrics, unseen) is None and seen_frames(metrics, frames[:2])["n_copies"] == 2


def test_speed_memory_and_stability_are_measured(compared: tuple[Path, dict]) -> None:
    row = compared[1]["models"]["second"]
    assert row["num_parameters"] > 0 and row["r_max_A"] == 3.0 and row["backend"] == "reference"
    speed = row["speed"]
    assert speed["num_atoms"] == 9 and speed["batch"] == 64 and speed["batch_peak_memory_MB"] > 0.1
    assert 0.0 < speed["ms_low"] <= speed["ms"] <= speed["ms_high"] and speed["frames_per_s"] > 1.0
    assert row["md"]["steps"] == 20 and row["md"]["stable_fraction"] == 1.0 and row["md"]["breaks"] == []
    assert 0.3 < row["md"]["stable_fraction_low"] < 0.4  # two of two, after Wilson


def test_memory_is_counted_tensor_by_tensor() -> None:
    def three_at_once() -> torch.Tensor:
        first = torch.zeros(1000, 1000)
        second = first + 1.0
        third = first + second
        del first, second
        return third + torch.zeros(100)[0]

    assert 12_000_000 <= peak_tensor_bytes(three_at_once, torch.device("cpu")) < 12_010_000


@pytest.mark.parametrize(("title", "rows"), [("errors of second", 1), ("speed", 2), ("simulation with second", 2)])
def test_a_stop_keeps_every_row_that_is_done(title: str, rows: int, models: Path, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.jobs.reporter.LOOK_FOR_STOP_EVERY_S", -1.0)  # the simulation may be over sooner
    asked, folder = request(models, "first", "second").model_dump(mode="json"), tmp_path / "run"
    stopped = run_task("compare", asked, folder, reporter=StopInside(title, steps=0))
    assert open_run(folder).state == "stopped" and not stopped["complete"]
    assert read_json(folder / FILE) == stopped
    assert sum("errors" in row for row in stopped["models"].values()) == rows
    written = {path: path.stat().st_mtime_ns for path in (folder / "stages").glob("*.json")}
    finished = run_task("compare", asked, folder, resume=True)
    assert finished["complete"] and len(list((folder / "stages").glob("*.json"))) == 5
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert finished["models"]["first"]["errors"] == stopped["models"]["first"]["errors"]
    with pytest.raises(ConfigError, match="other settings"):
        compare(request(models, "second", "first"), folder)


def test_models_are_not_judged_by_different_frames(models: Path, tmp_path: Path) -> None:
    data = tmp_path / "set.xyz"
    frames = read_frames("embedded:ethanol").frames[:30]
    write(data, frames, format="extxyz")
    asked = request(models, "first", "second", data=str(data))
    assert not compare(asked, tmp_path / "run", StopInside("errors of second", steps=0))["complete"]
    write(data, frames[::-1], format="extxyz")
    with pytest.raises(ConfigError, match="set.xyz changed since the run began"):
        compare(asked, tmp_path / "run")


def test_report_and_table_hold_the_numbers(compared: tuple[Path, dict], models: Path) -> None:
    folder, summary = compared
    sections = report_sections(request(models, "first", "second", "first", "no_oxygen"), summary)
    titles = [section.title for section in sections]
    assert titles == ["Before you compare", "Errors on 24 frames", "Differences on the same frames", "Speed and size",
                      "Accuracy against cost", "Passport and stability"]
    errors = summary["models"]["second"]["errors"]
    shown = f"{errors['forces_mae_meV_per_A']:.2f} ± {errors['forces_mae_meV_per_A_stderr']:.2f}"
    assert shown in sections[1].tables[0].rows[1]
    assert "first, first (2): no difference seen" in [row[0] for row in sections[2].tables[0].rows]
    assert {axis.title.text for figure in (sections[1].figures[0], sections[4].figures[0])
            for axis in (figure.layout.xaxis, figure.layout.yaxis)} == {
                "atoms", "force MAE, meV/Å", "energies and forces of one frame, ms"}
    page = (folder / "report.html").read_text()
    assert page.count("Plotly.newPlot(") == 2 and "<script src=" not in page and "1 of 2 passed, stale" in page
    rows = flat_rows(summary)
    assert [row["model"] for row in rows] == ["first", "second", "first (2)", "no_oxygen"]
    assert rows[1]["errors.forces_mae_meV_per_A"] == errors["forces_mae_meV_per_A"] and rows[3]["speed.ms"] == ""
    assert len({tuple(row) for row in rows}) == 1


def test_the_script_gives_the_same_errors(compared: tuple[Path, dict], models: Path, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(comparison_script(request(models, "first", "second", md_ps=0.0)))
    runpy.run_path(str(tmp_path / "script.py"))
    found = read_json(tmp_path / "comparison" / FILE)
    for name in ("first", "second"):
        assert found["models"][name]["errors"] == compared[1]["models"][name]["errors"]
        assert "md" not in found["models"][name]


def test_labels_are_short_and_unique() -> None:
    assert model_labels(["aspirin", "/runs/a/model", "/runs/b/", "x/aspirin"]) == ["aspirin", "a", "b", "aspirin (2)"]
