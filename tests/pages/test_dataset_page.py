"""The Dataset page: findings as cards with evidence, offending frames in 3D, train against test, the table to keep."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from streamlit.testing.v1 import AppTest

from tests.pages.conftest import choose_on_server
from tests.pages.test_pages import metrics, texts
from tests.unit.data.corruptions import flipped_forces, leak, relabelled
from toolkit.data.formats import read_frames
from toolkit.figures.dataset import along_file
from toolkit.ui.dataset import SHOWN
from toolkit.units import BOHR_A, HARTREE_EV

PAGE = "pages/1_Dataset.py"


@pytest.fixture
def frames() -> list[Atoms]:
    return [relabelled(atoms) for atoms in read_frames("embedded:ethanol").frames[:80]]


@pytest.fixture
def open_files(open_page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Open the page on files of the server, the first as training set."""
    def open_(*sets: list[Atoms]) -> AppTest:
        monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path))
        at = open_page(PAGE)
        for page, name, content in zip(("dataset", "dataset.test"), ("train", "test"), sets, strict=False):
            write(tmp_path / f"{name}.xyz", content, format="extxyz")
            choose_on_server(at, page, f"{name}.xyz")
        assert not at.exception and not at.error
        return at
    return open_


def test_clean_data_get_a_clean_bill_with_the_evidence(open_page) -> None:
    at = open_page(PAGE)
    assert "No contradiction found" in at.success[0].value and metrics(at)["Errors · warnings"] == "0 · 0"
    assert "Badger" in texts(at) and "energies" in texts(at) and "Reference energies of H, C, O" in texts(at)
    assert [row for row in at.dataframe[0].value["element"]] == ["H", "C", "O"]
    assert set(at.dataframe[0].value["fixed by the data"]) == {"no"}
    assert "python -m toolkit data inspect embedded:aspirin" in at.code[0].value
    assert not [button for button in at.button if button.label.startswith("Show")]


def test_a_broken_file_is_shown_with_what_is_wrong_instead_of_refused(open_files, frames: list[Atoms]) -> None:
    at = open_files(flipped_forces(frames, np.random.default_rng(0)))
    assert metrics(at)["Errors · warnings"] == "1 · 0" and not at.success
    assert "Forces have the wrong sign" in texts(at) and "their energy difference" in texts(at)
    assert "Flip the sign" in texts(at)


def test_offending_frames_are_shown_in_3d(open_files, frames: list[Atoms]) -> None:
    frames[20].calc.results["energy"] += 30.0
    frames[50].positions[8] += 9.0
    at = open_files(frames)
    assert metrics(at)["Errors · warnings"] == "0 · 2" and "flown apart" in texts(at)
    shown = [button for button in at.button if button.label == "Show 1 frame in 3D"]
    shown[1].click().run()
    assert not at.exception and at.session_state[SHOWN][2] == (50,)
    assert "1 molecule flown apart" in texts(at) and "frame 50 of train.xyz" in texts(at)
    at.button(key="dataset.all").click().run()
    assert not at.exception and at.session_state[SHOWN][2] == () and "frame 50 of train.xyz" not in texts(at)


def test_test_frames_that_were_trained_on_are_found(open_files, frames: list[Atoms]) -> None:
    at = open_files(*leak(frames[:50], frames[50:], np.random.default_rng(1)))
    assert metrics(at)["Frames"] == "50 + 35" and metrics(at)["Errors · warnings"] == "1 · 0"
    assert "5 of 35 test frames also in the training set" in texts(at).replace("\\", "")
    next(button for button in at.button if button.label == "Show 5 frames in 3D").click().run()
    assert not at.exception and "frames 30, 31, 32, 33, 34 of test.xyz" in texts(at)


def test_frames_of_different_atoms_are_shown_one_at_a_time(open_files, frames: list[Atoms]) -> None:
    water = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    at = open_files([*frames[:30], water])
    box = next(box for box in at.selectbox if box.label == "Frame")
    box.select(30).run()
    assert not at.exception and not at.error and len(at.get("bidi_component")) == 1


def test_frames_with_nan_are_counted_and_set_aside(open_files, frames: list[Atoms]) -> None:
    frames[4].calc.results["forces"][0, 0] = np.nan
    at = open_files(frames)
    assert metrics(at)["Frames"] == "79" and "1 frame with NaN or infinite forces" in texts(at)


def test_units_declared_on_the_page_are_used(open_page) -> None:
    at = open_page(PAGE)
    at.selectbox(key="dataset.energy_unit").select("kcal/mol").run()
    assert not at.exception and "declared as kcal/mol, but physics points to eV" in texts(at).replace("\\", "")
    assert "--energy-unit kcal/mol" in at.code[0].value


def test_what_was_said_of_one_file_does_not_hold_for_the_next(open_page) -> None:
    at = open_page(PAGE)
    at.selectbox(key="dataset.energy_unit").select("kcal/mol").run()
    at.text_input(key="dataset.energy_key").set_value("energy").run()
    at.selectbox(key="dataset.source").select("Embedded ethanol").run()
    assert not at.exception and not at.error
    assert at.selectbox(key="dataset.energy_unit").value == "auto" and at.text_input(key="dataset.energy_key").value == ""
    assert "--energy" not in at.code[0].value


def test_lone_frames_of_very_many_are_drawn() -> None:
    values = np.zeros(100_000)
    values[77_777] = 9.0
    drawn = along_file({"a": (np.arange(len(values)), values)}, "energy").data[0]
    assert len(drawn.y) <= 6000 and 77_777 in drawn.x and max(drawn.y) == 9.0


def test_a_force_unit_declared_on_the_page_is_used(open_files, frames: list[Atoms]) -> None:
    """Energies in eV beside forces in Hartree/Bohr, as programs print them: refused, and mended by the unit it asks for."""
    for atoms in frames:
        atoms.calc.results["forces"] = atoms.calc.results["forces"] * BOHR_A / HARTREE_EV
    at = open_files(frames)
    assert "data.forces_unit: Hartree/Bohr" in texts(at).replace("\\", "")
    at.selectbox(key="dataset.forces_unit").select("Hartree/Bohr").run()
    assert not at.exception and metrics(at)["Errors · warnings"].startswith("0")
    assert "Units in the file: eV and Å, forces in Hartree/Bohr" in texts(at).replace("\\", "")
    assert "--forces-unit Hartree/Bohr" in at.code[0].value


def test_a_finding_of_one_file_is_not_told_of_another(open_files, frames: list[Atoms]) -> None:
    frames[50].positions[8] += 9.0
    at = open_files(frames)
    next(button for button in at.button if button.label == "Show 1 frame in 3D").click().run()
    assert "frame 50 of train.xyz" in texts(at)
    at.selectbox(key="dataset.source").select("Embedded aspirin").run()
    assert not at.exception and "flown apart" not in texts(at) and "frame 50" not in texts(at)


def test_two_files_of_one_name_are_told_apart(open_page, frames: list[Atoms], tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path))
    at = open_page(PAGE)
    for page, folder, part in (("dataset", "train", frames[:40]), ("dataset.test", "test", frames[40:])):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "frames.xyz", part, format="extxyz")
        choose_on_server(at, page, f"{folder}/frames.xyz")
    assert not at.exception and metrics(at)["Frames"] == "40 + 40"
    figure = json.loads(at.get("plotly_chart")[0].proto.spec)
    assert {trace["name"] for trace in figure["data"]} == {"train/frames.xyz", "test/frames.xyz"}
