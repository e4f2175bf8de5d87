"""Form and YAML say the same, a clone starts from a run, the cost is measured, and the script repeats the numbers."""

from __future__ import annotations

import json
import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from ase.io import write
from streamlit.testing.v1 import AppTest

from tests.pages.conftest import choose_on_server
from tests.pages.test_pages import EPOCH, fake_run, metrics, texts
from toolkit.config import TrainConfig, parse_config
from toolkit.data.formats import read_frames
from toolkit.jobs.run_dir import create_run_dir, open_run, write_status
from toolkit.jobs.scripts import training_script
from toolkit.jobs.tasks import run_task

PAGE = "pages/2_Train.py"
TINY = {"data": {"train": "embedded:ethanol", "split": {"num_train": 6, "num_val": 3, "num_test": 3}},
        "model": {"r_max": 3.0, "num_layers": 1, "l_max": 1, "num_features": 4, "radial_mlp_width": 8},
        "max_epochs": 1, "device": "cpu", "threads": 1}


def write_yaml(at: AppTest, text: str) -> AppTest:
    return at.text_area(key="train.yaml").set_value(text).run()


def test_yaml_reaches_the_form_and_the_job(open_page, started: list[Path]) -> None:
    at = open_page(PAGE)
    text = "# mine\ndata: {train: 'embedded:ethanol'}\nmodel: {r_max: 3.5}\nloss: {kind: huber}\n"
    write_yaml(at, text)
    assert not at.exception and not at.error and at.text_area(key="train.yaml").value == text
    assert at.number_input(key="train.model.r_max").value == 3.5 and at.selectbox(key="train.preset").value is None
    assert at.selectbox(key="train.source").value == "Embedded ethanol" and "'kind': 'huber'" in texts(at)
    at.number_input(key="train.max_epochs").set_value(3).run()
    assert "max_epochs: 3" in at.text_area(key="train.yaml").value and "huber" in at.text_area(key="train.yaml").value
    at.button(key="train.start").click().run()
    config = json.loads((started[0] / "config.json").read_text())
    assert (config["loss"]["kind"], config["model"]["r_max"], config["max_epochs"]) == ("huber", 3.5, 3)


def test_another_architecture_starts_from_its_own_defaults(open_page, started: list[Path]) -> None:
    at = open_page(PAGE)
    at.number_input(key="train.model.r_max").set_value(3.5).run()
    at.selectbox(key="train.model.architecture").select("atom_mlp").run()
    assert not at.exception and not at.error
    keys = {box.key for box in at.number_input}
    assert "train.model.l_max" in keys and "train.model.num_layers" not in keys
    assert "architecture: atom_mlp" in at.text_area(key="train.yaml").value
    at.button(key="train.start").click().run()
    model = json.loads((started[0] / "config.json").read_text())["model"]
    assert {name: model[name] for name in ("architecture", "r_max", "zbl", "num_features")} == {
        "architecture": "atom_mlp", "r_max": 3.5, "zbl": True, "num_features": 64}


def test_a_training_without_test_frames_leads_on(open_page) -> None:
    run_dir = fake_run("train", "finished", {"data": {"train": "embedded:ethanol"}})
    at = open_page("pages/2_Train.py", run=run_dir.name)
    assert not at.exception and at.button(key=f"{run_dir.name}.evaluate") and at.button(key=f"{run_dir.name}.teach")


def test_training_can_go_on_from_a_model_with_its_network(open_page, started: list[Path]) -> None:
    at = open_page(PAGE)
    for choice, drawn in (("aspirin (shipped)", False), ("Random weights", True), ("aspirin (shipped)", False)):
        at.selectbox(key="train.start_from").select(choice).run()
        assert not at.exception and not at.error
        assert ("train.model.num_layers" in {box.key for box in at.number_input}) == drawn
        assert ("start_from: aspirin" in at.text_area(key="train.yaml").value) != drawn
    at.button(key="train.start").click().run()
    config = json.loads((started[0] / "config.json").read_text())
    assert config["start_from"] == "aspirin" and parse_config(TrainConfig, config).model.num_layers == 4


def test_yaml_chooses_the_model_to_go_on_from(open_page) -> None:
    at = write_yaml(open_page(PAGE), "data: {train: 'embedded:ethanol'}\nstart_from: aspirin\n")
    assert not at.exception and not at.error
    assert at.selectbox(key="train.start_from").value == "aspirin (shipped)"
    at = write_yaml(at, "data: {train: 'embedded:ethanol'}\nstart_from: /etc\n")
    assert "expected one inside" in at.error[0].value


@pytest.mark.parametrize(("text", "said"), [
    ("data: {train: x}\nmodel: {r_maximum: 3}", "unknown field"), ("data: [", "not YAML"), ("", "expected a mapping"),
    ("data: {train: /etc/passwd}", "expected one inside"),
    ("data: {train: 'embedded:ethanol', split: {method: indices, index_file: /etc/shadow}}", "expected one inside")])
def test_wrong_yaml_is_named_and_starts_nothing(text: str, said: str, open_page, started: list[Path]) -> None:
    at = write_yaml(open_page(PAGE), text)
    assert not at.exception and said in at.error[0].value.replace("\\", "")
    assert not [button for button in at.button if button.key in ("train.start", "train.estimate")]
    at.button(key="train.discard").click().run()
    assert not at.error and "embedded:aspirin" in at.text_area(key="train.yaml").value


def test_a_preset_replaces_everything(open_page) -> None:
    at = write_yaml(open_page(PAGE), "data: {train: 'embedded:ethanol'}\nmax_epochs: 2\n")
    at.selectbox(key="train.preset").select("tutorial").run()
    assert not at.exception and at.number_input(key="train.max_epochs").value == 40
    assert at.selectbox(key="train.source").value == "Embedded aspirin"
    assert list(at.selectbox(key="train.preset").options[:3]) == ["coffee break", "tutorial", "paper"]


@pytest.mark.parametrize("preset", ["coffee break", "tutorial", "paper"])
def test_presets_say_what_they_teach_and_cost(preset: str, open_page, started: list[Path]) -> None:
    at = open_page(PAGE)
    at.selectbox(key="train.preset").select(preset).run()
    assert not at.exception and not at.error
    assert [c for c in at.caption if c.value.startswith("Teaches") and "Costs" in c.value and "python" not in c.value]
    at.button(key="train.start").click().run()
    assert not at.exception and len(started) == 1


def test_clone_opens_the_form_of_that_run(open_page, started: list[Path]) -> None:
    config = parse_config(TrainConfig, {**TINY, "max_epochs": 77}).model_dump(mode="json")
    run_dir = fake_run("train", "finished", config)
    at = open_page(PAGE, run=run_dir.name)
    at.button(key=f"{run_dir.name}.clone").click().run()
    assert not at.exception and at.number_input(key="train.max_epochs").value == 77
    at.button(key="train.start").click().run()
    assert json.loads((started[0] / "config.json").read_text()) == config
    at.query_params.clear()
    at.query_params["run"] = run_dir.name
    at.run()
    at.session_state["train.max_epochs"] = 3  # what the user made of the first copy
    at.button(key=f"{run_dir.name}.clone").click().run()
    assert not at.exception and at.number_input(key="train.max_epochs").value == 77


def test_what_waits_is_seen_and_the_cost_belongs_to_the_form(open_page, started: list[Path]) -> None:
    waiting = fake_run("md", "queued", {}, message="waiting for the GPU: another job has it")
    at = open_page(PAGE)
    assert "waiting for the GPU" in texts(at)
    assert any(waiting.name in link.proto.label for link in at.main.get("page_link"))
    write_yaml(at, json.dumps(TINY))
    at.button(key="train.estimate").click().run()
    run_task("budget", json.loads((started[0] / "config.json").read_text()), started[0].with_name("measured"))
    for name in ("status.json", "result.json"):
        (started[0] / name).write_text((started[0].with_name("measured") / name).read_text())
    at.run()
    assert not at.exception and {"Parameters", "Memory of a step", "One epoch", "The whole run"} <= metrics(at).keys()
    assert "6 training, 3 validation and 3 test frames" in texts(at) and "would end at" in texts(at)
    at.number_input(key="train.max_epochs").set_value(9).run()
    assert "has changed since the cost" in texts(at) and "Parameters" not in metrics(at)


def test_a_trained_model_is_already_chosen_where_it_is_used(open_page, models_folder: Path) -> None:
    run_dir = fake_run("train", "finished", {})
    (run_dir / "result.json").write_text(json.dumps({f"test.{name}": 1.0 for name in (
        "forces_mae_meV_per_A", "forces_rmse_meV_per_A", "energy_mae_meV_per_atom")} | {"wall_s": 9.0}))
    assert open_page(PAGE, run=run_dir.name).button(key=f"{run_dir.name}.md").disabled  # its model is gone
    shutil.copytree(models_folder / "aspirin", run_dir / "model")
    for name, title in (("md", "Molecular Dynamics"), ("evaluate", "Evaluate"), ("equivariance", "Equivariance")):
        at = open_page(PAGE, run=run_dir.name)
        at.button(key=f"{run_dir.name}.{name}").click().run()
        assert not at.exception and title in at.title[0].value
        assert at.selectbox(key=f"{name}.model").value == f"{run_dir.name} (trained here)"


def test_a_choice_outlives_the_run_that_it_names(open_page, models_folder: Path, started: list[Path]) -> None:
    """A run ends between the choice of its model and the click that starts a simulation with it."""
    run_dir = fake_run("train", "running", {"data": {"train": "embedded:aspirin"}})
    shutil.copytree(models_folder / "aspirin", run_dir / "model")
    at = open_page("pages/3_Molecular_Dynamics.py")
    at.selectbox(key="md.model").select(f"{run_dir.name} (trained here)").run()
    write_status(run_dir, replace(open_run(run_dir).status, state="finished"))
    at.button(key="md.start").click().run()
    assert json.loads((started[0] / "config.json").read_text())["model"] == str(run_dir / "model")


def test_another_file_has_nothing_of_what_was_said_about_the_first(open_page, tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path))
    about = {"energy_unit": "kcal/mol", "stress_offset_GPa": 1.5, "isolated_atom_energies": {"H": -313.0}}
    run_dir = fake_run("train", "finished", {"data": {"train": "embedded:ethanol", "energy_key": "E", **about}})
    write(tmp_path / "other.xyz", read_frames("embedded:ethanol").frames[:30], format="extxyz")
    at = choose_on_server(open_page(PAGE, clone=run_dir.name), "train", "other.xyz")
    data = yaml.safe_load(at.text_area(key="train.yaml").value)["data"]
    assert not at.exception and not at.error
    assert data["train"].endswith("other.xyz") and not {*about, "energy_key"} & data.keys()


def test_notes_of_a_run_are_shown(open_page) -> None:
    run_dir = fake_run("train", "running", {}, step=1, total=2)
    note = {"kind": "note", "message": "batches of 5 frames are computed in parts"}
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ({**EPOCH, "epoch": 1}, note)))
    assert "computed in parts" in texts(open_page(PAGE, run=run_dir.name))


def test_the_script_gives_the_numbers_of_the_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = parse_config(TrainConfig, TINY)
    job = run_task("train", config.model_dump(mode="json"), create_run_dir("train"))
    (tmp_path / "train.py").write_text(training_script(config))
    runpy.run_path(str(tmp_path / "train.py"))
    assert json.loads(capsys.readouterr().out)["test"] == job["test"]
