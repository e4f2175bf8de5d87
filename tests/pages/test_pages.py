"""Every page opens from app.py and says what it should; what users get wrong ends in a red box, not a traceback."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from toolkit.jobs import launcher
from toolkit.jobs.run_dir import Status, create_run_dir, list_runs, open_run, runs_root, write_status

PAGES = ("app.py", "pages/1_Dataset.py", "pages/2_Train.py", "pages/3_Molecular_Dynamics.py", "pages/4_Trajectory.py",
         "pages/5_Equivariance.py", "pages/6_Spectra.py", "pages/7_Study.py", "pages/8_Runs.py",
         "pages/9_Evaluate.py", "pages/10_Compare_Models.py", "pages/11_Theory.py")
EPOCH = {"kind": "epoch", "train_loss": 0.5, "val_loss": 0.4, "learning_rate": 0.01, "val_forces_mae_meV_per_A": 81.5,
         "val_energy_mae_meV_per_atom": 2.25, "frames_per_s": 33.0}


def texts(at: AppTest) -> str:
    """Everything a reader of the page sees as text."""
    kinds = (at.title, at.subheader, at.markdown, at.caption, at.info, at.warning, at.error, at.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def metrics(at: AppTest) -> dict[str, str]:
    return {element.label: str(element.value) for element in at.metric}


def fake_run(task: str, state: str, config: dict[str, Any], **changes: Any) -> Path:
    run_dir = create_run_dir(task)
    launcher.prepare(run_dir, task, config)
    write_status(run_dir, Status(task=task, state=state, created=time.time(), started=time.time(), **changes))
    return run_dir


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_an_empty_installation(page: str, open_page) -> None:
    at = open_page(page)
    assert not at.exception and not at.error
    assert len(at.title) == 1 and len(texts(at)) > 100
    assert len(at.sidebar.get("page_link")) == len(PAGES)


# --- Home -----------------------------------------------------------------------------------------------------------


def test_the_first_run_starts_molecular_dynamics_and_leads_to_the_trajectory(open_page, started: list[Path]) -> None:
    at = open_page("app.py")
    at.button(key="home.first_run").click().run()
    assert not at.exception and not at.error
    config = json.loads((started[0] / "config.json").read_text())
    assert (config["model"], config["structure"]) == ("aspirin", "embedded:aspirin")
    assert config["md"]["ensemble"] == "langevin"
    assert "Trajectory" in at.title[0].value and at.query_params["run"] == started[0].name


def test_a_newer_run_does_not_take_the_place_of_the_one_that_is_shown(open_page) -> None:
    first = fake_run("md", "failed", {})
    at = open_page("pages/4_Trajectory.py")
    newer = fake_run("md", "failed", {})
    assert at.run().selectbox(key="trajectory.run").value == first.name and at.query_params["run"] == first.name
    at.selectbox(key="trajectory.run").set_value(newer.name).run()
    assert at.query_params["run"] == newer.name
    absent = open_page("pages/4_Trajectory.py", run="42")
    assert "found no md run named '42'" in absent.error[0].value
    assert absent.selectbox(key="trajectory.run").value in (first.name, newer.name)


def test_home_leads_to_every_page_and_goes_on_after_the_first_run(open_page) -> None:
    at = open_page("app.py")
    assert {link.proto.page for link in at.main.get("page_link")} >= {link.proto.page for link in
                                                                      at.sidebar.get("page_link")} - {""}
    assert "Now try" not in texts(at)
    fake_run("md", "finished", {})
    assert "Now try" in texts(open_page("app.py"))


def test_home_without_models_offers_training_instead(open_page, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_MODELS", str(tmp_path))
    at = open_page("app.py")
    assert at.button(key="home.first_run").disabled and "none yet" in texts(at)


def test_home_lists_runs_and_unwritable_run_folders_are_named(open_page, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = fake_run("train", "finished", {})
    at = open_page("app.py")
    assert any(run_dir.name in link.proto.label for link in at.main.get("page_link"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TOOLKIT_RUNS", str(tmp_path / "file"))
    at = open_page("app.py")
    at.button(key="home.first_run").click().run()
    assert not at.exception and "cannot make the folder" in at.error[0].value


# --- Dataset --------------------------------------------------------------------------------------------------------


def test_dataset_shows_the_embedded_frames(open_page) -> None:
    at = open_page("pages/1_Dataset.py")
    assert metrics(at)["Frames"] == "1,200" and metrics(at)["Atoms per frame"] == "21"
    assert metrics(at)["Energy unit"] == "eV" and "Units in the file" in texts(at)
    assert len(at.get("plotly_chart")) == 4 and len(at.get("bidi_component")) == 1 and len(at.dataframe) == 1


XYZ = "\n".join(f"""2
Lattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3:forces:R:3 energy={-31.0 - 0.1 * k} pbc="T T T"
H 0 0 0 {force} 0 0.1
H 0 0 {0.74 + 0.01 * k} 0 0 -0.1""" for k, force in enumerate(("0.0", "0.0", "{nan}"))) + "\n"


def test_dataset_reads_an_upload_and_keeps_it(open_page) -> None:
    at = open_page("pages/1_Dataset.py")
    at.selectbox(key="dataset.source").select("Uploaded file").run()
    assert "Choose a file" in texts(at)
    content = XYZ.replace("{nan}", "0.0").encode()
    at.file_uploader(key="dataset.upload.0").set_value(("../../H 2.xyz", content, "chemical/x-xyz")).run()
    assert not at.exception
    (kept,) = (path for path in (runs_root() / "uploads").rglob("*") if path.is_file())
    assert kept.name == "H_2.xyz" and kept.read_bytes() == content
    assert at.selectbox(key="dataset.uploaded").value == str(kept) and metrics(at)["Frames"] == "3"
    assert at.file_uploader(key="dataset.upload.1").value is None


def test_an_upload_that_cannot_be_kept_ends_in_a_red_box(open_page) -> None:
    at = open_page("pages/1_Dataset.py")
    at.selectbox(key="dataset.source").select("Uploaded file").run()
    runs_root().mkdir()
    (runs_root() / "uploads").write_text("a file is in the way")
    at.file_uploader(key="dataset.upload.0").set_value(("a.xyz", XYZ.encode(), "chemical/x-xyz")).run()
    assert not at.exception and "cannot write" in at.error[0].value


def test_bad_files_end_in_a_red_box(open_page) -> None:
    at = open_page("pages/1_Dataset.py")
    at.selectbox(key="dataset.source").select("Uploaded file").run()
    for count, (name, content) in enumerate((("cut.xyz", XYZ[:-30].encode()), ("cut.npz", b"PK\x03\x04 truncated"))):
        at.file_uploader(key=f"dataset.upload.{count}").set_value((name, content, "application/octet-stream")).run()
        assert not at.exception and len(at.error) == 1 and "Traceback" not in at.error[0].value


@pytest.mark.parametrize(("path", "said"), [("/etc/passwd", "expected one inside"),
                                            ("/tmp/../etc/shadow", "expected one inside"), ("\0", "no usable path"),
                                            ("~nobody-here/x", "no usable path")])
def test_server_paths_outside_the_allowed_folders_are_refused(path: str, said: str, open_page, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path))
    at = open_page("pages/1_Dataset.py")
    at.session_state["dataset.path"] = path  # as if it were typed
    at.selectbox(key="dataset.source").select("File on the server").run()
    assert not at.exception and said in at.error[0].value.replace("\\", "")


# --- Train ----------------------------------------------------------------------------------------------------------


def test_train_starts_what_the_form_says(open_page, started: list[Path]) -> None:
    at = open_page("pages/2_Train.py")
    at.number_input(key="train.max_epochs").set_value(3)
    at.number_input(key="train.model.l_max").set_value(1)
    at.selectbox(key="train.source").select("Embedded ethanol").run()
    assert "max_epochs: 3" in at.text_area(key="train.yaml").value
    at.button(key="train.start").click().run()
    assert not at.exception and not at.error
    config = json.loads((started[0] / "config.json").read_text())
    assert (config["max_epochs"], config["model"]["l_max"], config["data"]["train"]) == (3, 1, "embedded:ethanol")
    assert at.query_params["run"] == started[0].name and open_run(started[0]).state == "queued"


def test_train_takes_channels_per_degree_from_a_preset(open_page, started: list[Path]) -> None:
    at = open_page("pages/2_Train.py")
    at.selectbox(key="train.preset").select("aspirin rmd17 cpu").run()
    assert not at.exception and at.text_input(key="train.model.num_features").value == "64, 32, 32"
    at.text_input(key="train.model.num_features").input("8, 4, x").run()
    assert "unable to parse string as an integer" in at.error[0].value
    at.text_input(key="train.model.num_features").input("8, 4, 2").run()
    at.button(key="train.start").click().run()
    config = json.loads((started[0] / "config.json").read_text())
    assert config["model"]["num_features"] == [8, 4, 2] and "rmd17_aspirin_test" in config["data"]["test"]


def test_a_run_without_forces_is_shown(open_page) -> None:
    run_dir = fake_run("train", "finished", {}, step=1, total=1)
    (run_dir / "metrics.jsonl").write_text(json.dumps({**EPOCH, "epoch": 1, "val_forces_mae_meV_per_A": None}) + "\n")
    (run_dir / "result.json").write_text(json.dumps({"test.forces_mae_meV_per_A": None, "test.forces_rmse_meV_per_A": None,
                                                     "test.energy_mae_meV_per_atom": 3.0, "wall_s": 90.0}))
    at = open_page("pages/2_Train.py", run=run_dir.name)
    assert not at.exception and metrics(at)["Force MAE"] == "—" and metrics(at)["Energy MAE"] == "3.00 meV/atom"


def test_train_refuses_what_the_configuration_refuses(open_page, started: list[Path]) -> None:
    at = open_page("pages/2_Train.py")
    at.number_input(key="train.loss.energy_weight").set_value(0.0)
    at.number_input(key="train.loss.forces_weight").set_value(0.0).run()
    assert "nothing to learn" in at.error[0].value and started == []
    assert not [button for button in at.button if button.key == "train.start"]


def test_the_form_is_still_there_after_a_visit_to_another_page(open_page) -> None:
    at = open_page("pages/2_Train.py")
    at.number_input(key="train.max_epochs").set_value(7).run()
    at.switch_page("pages/1_Dataset.py").run()
    at.switch_page("pages/2_Train.py").run()
    assert at.number_input(key="train.max_epochs").value == 7


def test_train_draws_curves_and_test_errors_of_a_run(open_page) -> None:
    run_dir = fake_run("train", "finished", {}, step=2, total=2)
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps({**EPOCH, "epoch": k}) + "\n" for k in (1, 2)))
    result = {"test.forces_mae_meV_per_A": 91.5, "test.forces_rmse_meV_per_A": 120.0,
              "test.energy_mae_meV_per_atom": 3.0, "wall_s": 90.0}
    (run_dir / "result.json").write_text(json.dumps(result))
    at = open_page("pages/2_Train.py", run=run_dir.name)
    assert not at.exception and len(at.get("plotly_chart")) == 1
    assert metrics(at)["Force error (validation)"] == "81.5 meV/Å" and metrics(at)["Force MAE"] == "91.5 meV/Å"


def test_a_lost_run_is_named_and_can_be_resumed(open_page, started: list[Path]) -> None:
    run_dir = fake_run("train", "running", {}, step=1, total=9)
    at = open_page("pages/2_Train.py", run=run_dir.name)
    assert "killed" in at.warning[0].value
    at.button(key=f"train.{run_dir.name}.resume").click().run()
    assert started == [run_dir] and open_run(run_dir).state == "queued"
    at.button(key=f"train.{run_dir.name}.stop").click().run()
    assert (run_dir / "stop").exists()


def test_a_failed_run_shows_its_error_and_hint(open_page) -> None:
    run_dir = fake_run("train", "failed", {}, error="found NaN forces in frame 7", hint="remove that frame")
    at = open_page("pages/2_Train.py", run=run_dir.name)
    assert "NaN forces in frame 7" in at.error[0].value and "remove that frame" in at.error[0].value


@pytest.mark.parametrize("name", ["../x", "20260101-000000-train-abcdef", "<script>alert(1)</script>"])
@pytest.mark.parametrize("page", ["pages/2_Train.py", "pages/3_Molecular_Dynamics.py"])
def test_unknown_and_hostile_runs_in_the_address_are_refused(page: str, name: str, open_page) -> None:
    at = open_page(page, run=name)
    assert not at.exception and "found no" in at.error[0].value


# --- Molecular dynamics ---------------------------------------------------------------------------------------------


def test_md_starts_what_the_form_says(open_page, started: list[Path]) -> None:
    at = open_page("pages/3_Molecular_Dynamics.py")
    at.number_input(key="md.steps").set_value(40)
    at.selectbox(key="md.ensemble").select("nve").run()
    assert "40 steps are 0.02 ps" in texts(at)
    at.button(key="md.start").click().run()
    assert not at.exception and not at.error
    config = json.loads((started[0] / "config.json").read_text())
    assert (config["model"], config["structure"], config["md"]["steps"], config["md"]["ensemble"]) == \
        ("aspirin", "embedded:aspirin", 40, "nve")


def test_md_presets_fill_the_form_and_leave_it_editable(open_page, started: list[Path]) -> None:
    at = open_page("pages/3_Molecular_Dynamics.py")
    at.number_input(key="md.replicas").set_value(2).run()
    at.button_group(key="md.preset").set_value("vibrations").run()
    assert at.selectbox(key="md.ensemble").value == "nve" and at.number_input(key="md.replicas").value == 1
    assert "10 ps without a bath" in texts(at)
    at.number_input(key="md.steps").set_value(50).run()
    assert "Preset *vibrations*, but for: steps." in texts(at) and "10 ps without a bath" not in texts(at)
    at.button(key="md.start").click().run()
    assert not at.exception and not at.error
    md = json.loads((started[0] / "config.json").read_text())["md"]
    assert (md["ensemble"], md["steps"], md["save_every"]) == ("nve", 50, 4)


def test_md_with_inner_steps_asks_for_their_model(open_page, started: list[Path]) -> None:
    at = open_page("pages/3_Molecular_Dynamics.py")
    at.button_group(key="md.preset").set_value("two models").run()
    assert at.number_input(key="md.inner_steps").value == 4 and at.number_input(key="md.timestep_fs").value == 4.0
    assert "Choose a model for the inner steps" in texts(at) and not any(b.key == "md.start" for b in at.button)
    at.selectbox(key="md.inner_model").select("aspirin (shipped)").run()
    at.button(key="md.start").click().run()
    assert not at.exception and not at.error
    config = json.loads((started[0] / "config.json").read_text())
    assert (config["inner_model"], config["md"]["inner_steps"]) == ("aspirin", 4)


def test_md_shows_results_and_offers_to_go_on(open_page, md_run: Path, started: list[Path]) -> None:
    at = open_page("pages/3_Molecular_Dynamics.py", run=md_run.name)
    assert not at.exception and metrics(at)["Replicas that stayed intact"] == "100 (34 – 100) %"
    assert "python -m toolkit md aspirin embedded:aspirin --frame 0 --ensemble langevin" in texts(at)
    at = open_page("pages/3_Molecular_Dynamics.py")
    at.selectbox(key="md.source").select(f"Last frame of {md_run.name}").run()
    at.button(key="md.start").click().run()
    config = json.loads((started[0] / "config.json").read_text())
    assert (config["structure"], config["frame"]) == (f"run:{md_run.name}", -1)


@pytest.mark.parametrize(("asked", "label", "value"), [
    ({"final_temperature_K": 600.0}, "Temperature ramp, K", "50 → 600"),
    ({"ladder_K": [300.0, 450.0], "replicas": 2}, "Ladder of temperatures, K", "300 – 450"),
])
def test_md_claims_no_mean_temperature_where_there_is_none(
        open_page, md_run: Path, asked: dict[str, Any], label: str, value: str) -> None:
    config = json.loads((md_run / "config.json").read_text())
    (md_run / "config.json").write_text(json.dumps({**config, "md": {**config["md"], **asked}}))
    shown = metrics(open_page("pages/3_Molecular_Dynamics.py", run=md_run.name))
    assert shown[label] == value and "Mean temperature, K" not in shown


def test_md_tells_the_pace_of_replicas_from_that_of_all(open_page, md_run: Path) -> None:
    config, result = (json.loads((md_run / name).read_text()) for name in ("config.json", "result.json"))
    config["md"] |= {"replicas": 64, "harvest_above_eV_per_A": 0.1}
    (md_run / "config.json").write_text(json.dumps(config))
    (md_run / "result.json").write_text(json.dumps({**result, "ns_per_day": 0.4, "stable_fraction": 1.0, "stable_fraction_low": 0.943,
                                                    "stable_fraction_high": 1.0, "harvest": None}))
    at = open_page("pages/3_Molecular_Dynamics.py", run=md_run.name)
    assert "0.4 ns of simulated time a day each, 25.6 ns in all" in texts(at)
    assert metrics(at)["Replicas that stayed intact"] == "100 (94 – 100) %" and "No frame was kept" in texts(at)


@pytest.mark.slow
def test_a_real_job_from_the_page_to_the_result(open_page) -> None:
    at = open_page("pages/3_Molecular_Dynamics.py")
    at.number_input(key="md.steps").set_value(10).run()
    at.button(key="md.start").click().run()
    run_dir = list_runs("md")[0].path
    give_up = time.monotonic() + 60
    while not (run := open_run(run_dir)).ended and time.monotonic() < give_up:
        time.sleep(0.2)
    assert run.state == "finished", run.status
    at.run()
    assert not at.exception and "Mean temperature, K" in metrics(at)
