"""`toolkit modes` and `toolkit analyze modes`: keys of the contract, files that can be read again, clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from typer.testing import CliRunner

from toolkit.cli import app
from toolkit.jobs.modes import load_modes

MODEL, STRUCTURE = "aspirin_xtb", "embedded:aspirin"
HERE = ("--device", "cpu", "--backend", "reference")


def run(*words: object) -> tuple[int, str]:
    """Exit code and everything printed."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("modes")
    code, output = run("modes", MODEL, STRUCTURE, "-o", folder, "--json", folder / "result.json",
                       "--temperature-K", 400, "--frame", 3, *HERE)
    assert code == 0, output
    return folder, json.loads((folder / "result.json").read_text())


def test_modes_answers_with_the_keys_of_the_contract(computed: tuple[Path, dict]) -> None:
    folder, result = computed
    assert len(result["frequencies_cm1"]) == 57 and result["n_imaginary"] == 0
    assert len(result["zero_modes_cm1"]) == 6 and np.abs(result["zero_modes_cm1"]).max() < 0.1
    assert np.abs(result["zero_modes_unprojected_cm1"]).max() < 5.0 and result["fmax_eV_per_A"] <= 1e-4
    assert result["thermochemistry"]["temperature_K"] == 400.0
    with np.load(result["eigenvectors"], allow_pickle=False) as stored:
        assert stored["eigenvectors"].shape == (57, 21, 3)
    assert len(read(result["structure"])) == 21 and json.loads((folder / "modes.json").read_text()) == result
    atoms, modes = load_modes(folder)
    np.testing.assert_allclose(modes.frequencies_cm1, result["frequencies_cm1"])
    assert 3000.0 < modes.frequencies_cm1[-1] < 3900.0 and len(atoms) == 21


def test_a_simulation_is_compared_on_the_command_line(computed: tuple[Path, dict], tmp_path: Path) -> None:
    folder, _ = computed
    trajectory, answer = tmp_path / "run.h5", tmp_path / "answer.json"
    code, output = run("md", MODEL, folder / "relaxed.extxyz", "-o", trajectory, "--ensemble", "nve", "--steps", 200,
                       "--save-every", 4, *HERE)
    assert code == 0, output
    code, output = run("analyze", "modes", trajectory, folder, "--resolution-cm1", 350, "--json", answer)
    assert code == 0, output
    table = json.loads(answer.read_text())
    assert len(table["modes"]) == 57 and {"centre_cm1", "shift_cm1", "width_cm1", "kinetic_K"} <= set(table["modes"][0])
    code, output = run("analyze", "modes", trajectory, tmp_path)
    assert code == 2 and "toolkit modes" in " ".join(output.split())


@pytest.mark.parametrize(("words", "message"), [
    (("--supercell", "2 2"), "supercell"), (("--supercell", "2 2 2"), "phonons need a crystal"),
    (("--fmax", "1"), "unknown options"), (("--fmax-eV-per-A", "-1"), "fmax_eV_per_A")])
def test_bad_options_end_in_one_line(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    code, output = run("modes", MODEL, STRUCTURE, "-o", tmp_path, *HERE, *words)
    assert code == 2 and message in output and "Traceback" not in output


def test_a_study_of_unknown_size_is_refused(tmp_path: Path) -> None:
    code, output = run("study", MODEL, STRUCTURE, "-o", tmp_path / "study", "--preset", "huge")
    assert code == 2 and "coffee-break" in output and not (tmp_path / "study").exists()
