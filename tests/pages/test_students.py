"""From a finished training to a student: the form under its errors, the frames on the Runs page, the student's form."""

from __future__ import annotations

import json
from pathlib import Path

from toolkit.config import TrainConfig, parse_config
from toolkit.jobs.frame_files import TEST
from toolkit.jobs.run_dir import create_run_dir
from toolkit.jobs.tasks import run_task

TINY = {"data": {"train": "embedded:ethanol", "split": {"num_train": 8, "num_val": 3, "num_test": 3}},
        "model": {"r_max": 3.0, "num_layers": 1, "l_max": 0, "num_features": 4, "radial_mlp_width": 8, "species": ["H", "C", "O"],
                  "per_species_energy_scales": {"H": 0.01, "C": 0.01, "O": 0.01}},
        "max_epochs": 1, "device": "cpu", "threads": 1}
SHORT = {"trajectories": 2, "ps": 0.02, "every_fs": 10.0, "timestep_fs": 0.5, "temperature_K": 20.0, "device": "cpu"}


def test_from_a_training_to_its_student(open_page, started: list[Path]) -> None:
    teacher = create_run_dir("train")
    run_task("train", parse_config(TrainConfig, TINY).model_dump(mode="json"), teacher)
    at = open_page("pages/2_Train.py", run=teacher.name)
    at.multiselect(key=f"{teacher.name}.teachers").select("aspirin (shipped)")
    at.number_input(key="student.temperature_K").set_value(20.0).run()
    at.button(key=f"{teacher.name}.teach").click().run()
    assert not at.exception and not at.error
    asked = json.loads((started[0] / "config.json").read_text())
    assert asked["teachers"] == [str(teacher / "model"), "aspirin"] and asked["temperature_K"] == 20.0

    frames = create_run_dir("distill")
    run_task("distill", {**asked, **SHORT}, frames)
    at = open_page("pages/8_Runs.py", run=frames.name)  # where the button has led
    assert not at.exception and any(text.value.startswith("4 frames with the labels of") for text in at.markdown)
    at.button(key=f"{frames.name}.student.speed").click().run()
    assert not at.exception and not at.error
    assert f"train: {frames / 'train.extxyz'}" in at.text_area(key="train.yaml").value
    at = open_page("pages/2_Train.py", clone=frames.name)
    at.button(key="train.start").click().run()
    config = json.loads((started[1] / "config.json").read_text())
    assert config["data"]["val"] == str(frames / "val.extxyz") and config["data"]["test"] == str(frames / TEST)
    assert config["model"]["preset"] == "S" and config["data"]["energy_unit"] == "eV"

    small = {**config, "model": TINY["model"], "max_epochs": 1, "device": "cpu"}
    result = run_task("train", small, create_run_dir("train"))
    assert result["test"]["n_frames"] == 3


def test_the_first_teacher_learns_what_all_say(open_page, started: list[Path]) -> None:
    data = {"train": "embedded:ethanol", "split": {"num_train": 8, "num_val": 3, "num_test": 2}}
    frames = create_run_dir("distill")
    run_task("distill", {"teachers": ["aspirin", "aspirin"], "data": data, **SHORT}, frames)
    at = open_page("pages/8_Runs.py", run=frames.name)
    at.button(key=f"{frames.name}.student.accuracy").click().run()
    assert not at.exception and not at.error
    at = open_page("pages/2_Train.py", clone=frames.name, aim="accuracy")
    at.button(key="train.start").click().run()
    config = json.loads((started[0] / "config.json").read_text())
    assert config["start_from"] == "aspirin" and config["data"]["train"] == str(frames / "train.extxyz")
    assert config["data"]["test"] == str(frames / TEST) and config["optimizer"]["name"] == "muon"


def test_one_teacher_has_nothing_to_learn_from_itself(open_page, started: list[Path]) -> None:
    data = {"train": "embedded:ethanol", "split": {"num_train": 8, "num_val": 3, "num_test": 0}}
    frames = create_run_dir("distill")
    run_task("distill", {"teachers": ["aspirin"], "data": data, **SHORT}, frames)
    at = open_page("pages/8_Runs.py", run=frames.name)
    assert [button.key for button in at.button if ".student." in (button.key or "")] == [f"{frames.name}.student.speed"]


def test_without_test_frames_a_student_has_none_either(open_page, started: list[Path]) -> None:
    data = {"train": "embedded:ethanol", "split": {"num_train": 8, "num_val": 3, "num_test": 0}}
    frames = create_run_dir("distill")
    run_task("distill", {"teachers": ["aspirin"], "data": data, **SHORT}, frames)
    assert not (frames / TEST).exists()
    at = open_page("pages/2_Train.py", clone=frames.name)
    at.button(key="train.start").click().run()
    config = json.loads((started[0] / "config.json").read_text())
    assert config["data"]["test"] is None and config["data"]["split"]["num_test"] == 0
