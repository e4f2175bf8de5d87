"""Stability records: a bond that holds, one that does not, distances of a known distribution, stop, resume, card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from toolkit.cli import app
from toolkit.errors import ConfigError, DataError, JobError
from toolkit.jobs import stability
from toolkit.jobs.run_dir import list_runs
from toolkit.jobs.stability import record_stability, run_stability
from toolkit.jobs.stability_config import StabilityRequest
from toolkit.jobs.summary import key_result
from toolkit.models.folders import find_model
from toolkit.models.pair import HarmonicSprings, pair_potential
from toolkit.progress import SilentReporter
from toolkit.training.stability_card import STABILITY
from toolkit.ui.run_table import table_key
from toolkit.units import KB_EV_PER_K

STIFFNESS, LENGTH, REFERENCE_K = 3.0, 1.10, 300.0


def nitrogen(length: float) -> Atoms:
    """A labelled molecule of the harmonic bond."""
    atoms = Atoms("N2", [[0.0, 0.0, 0.0], [0.0, 0.0, length]])
    pull = STIFFNESS * (length - LENGTH)
    atoms.calc = SinglePointCalculator(atoms, energy=0.5 * pull * (length - LENGTH),
                                       forces=[[0.0, 0.0, pull], [0.0, 0.0, -pull]])
    return atoms


def thermal_lengths(count: int) -> np.ndarray:
    """Bond lengths drawn from r² exp(−½ k (r − r₀)²/kT), the exact distribution at the reference temperature."""
    r = np.linspace(0.5, 1.9, 20_001)
    weight = np.cumsum(r**2 * np.exp(-0.5 * STIFFNESS * (r - LENGTH) ** 2 / (KB_EV_PER_K * REFERENCE_K)))
    return np.interp((np.arange(count) * 0.6180339887) % 1.0, weight / weight[-1], r)


@pytest.fixture
def springs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Simulates a spring of any stiffness and length instead of a network; returns a request for it."""
    monkeypatch.setenv("TOOLKIT_MODELS", str(tmp_path / "models"))
    shutil.copytree(find_model_in_repository(), tmp_path / "models" / "springs")
    write(tmp_path / "start.extxyz", nitrogen(LENGTH))
    write(tmp_path / "frames.extxyz", [nitrogen(length) for length in thermal_lengths(1000)])

    def request(stiffness: float = STIFFNESS, length: float = LENGTH, **changes) -> StabilityRequest:
        potential = pair_potential(HarmonicSprings(("N",), stiffness, length, 6.0))
        monkeypatch.setattr(stability, "load_potential", lambda *a, **k: potential)
        return StabilityRequest(**{
            "model": "springs", "structure": str(tmp_path / "start.extxyz"), "temperatures_K": (REFERENCE_K,),
            "replicas": 16, "ps": 0.9, "timestep_fs": 1.0, "friction_per_fs": 0.02, "save_every_fs": 15.0,
            "data": str(tmp_path / "frames.extxyz"), "reference_temperature_K": REFERENCE_K} | changes)
    return request


def find_model_in_repository() -> Path:
    return Path(__file__).resolve().parents[2] / "trained_models" / "aspirin_xtb"


def test_a_harmonic_bond_stays_whole_with_the_distances_of_its_temperature(springs, tmp_path):
    row, = run_stability(springs(), tmp_path / "right")["runs"]
    assert row["stable_fraction"] == 1.0 and row["first_failure_ps"] is None and row["failures"] == []
    assert (row["stable_fraction_low"], row["stable_fraction_high"]) == pytest.approx((0.806, 1.0), abs=1e-3)
    assert row["at_reference_temperature"] and row["ps"] == 0.9
    longer, = run_stability(springs(length=LENGTH + 0.1), tmp_path / "long")["runs"]
    assert row["h_of_r_error"] < 0.25 < 0.6 < longer["h_of_r_error"] < 2.0
    assert 0.0 < row["h_of_r_noise"] < row["h_of_r_error"]


def test_a_bond_that_does_not_hold_is_counted(springs, tmp_path):
    row, = run_stability(springs(stiffness=0.03, ps=1.5), tmp_path / "soft")["runs"]
    assert row["stable_fraction"] < 0.2 and len(row["failures"]) > 12
    assert row["first_failure_ps"] == min(failure["time_ps"] for failure in row["failures"]) > 0.02
    assert all("bond N0-N1 at" in failure["reason"] for failure in row["failures"])
    hopeless, = run_stability(springs(stiffness=0.0, ps=30.0, replicas=4), tmp_path / "free")["runs"]
    assert hopeless["stable_fraction"] == 0.0 and hopeless["h_of_r_error"] is None


class StopAfter(SilentReporter):
    """Asks to stop from the so-manyth question on."""

    def __init__(self, questions: int) -> None:
        self.left = questions

    def should_stop(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_it_goes_on_where_it_stopped_and_is_recorded_when_complete(springs, tmp_path):
    request = springs(temperatures_K="300,500", replicas=2, ps=0.15, data=None)
    whole = run_stability(request, tmp_path / "whole")
    stopped = run_stability(request, tmp_path / "parts", StopAfter(200))
    assert not stopped["complete"] and [row["temperature_K"] for row in stopped["runs"]] == [300.0]
    with pytest.raises(JobError, match="not complete"):
        record_stability(stopped, "springs")
    resumed = run_stability(request, tmp_path / "parts")
    for row in (*whole["runs"], *resumed["runs"]):
        del row["replica_steps_per_s"]
    assert resumed == whole and whole["complete"] and whole["reference"] is None
    with pytest.raises(ConfigError, match="other settings"):
        run_stability(springs(replicas=3), tmp_path / "parts")
    folder = find_model("springs")
    assert record_stability(whole, "springs") == folder / STABILITY
    assert json.loads((folder / STABILITY).read_text())["runs"][1]["temperature_K"] == 500.0
    card = (folder / "CARD.md").read_text()
    assert card.count("## Stability") == 1 and "| 500 | 2 | 0.15 | 1.000 [0.342, 1.000] | — | — |" in card
    assert "**Shorter than the 64 × 100 ps" in card and "## Passport" in card
    record_stability({**whole, "runs": [{**row, "replicas": 64, "ps": 100.0} for row in whole["runs"]]}, "springs")
    card = (folder / "CARD.md").read_text()
    assert card.count("## Stability") == 1 and "Shorter than" not in card


def test_temperatures_of_the_same_conditions_are_recorded_side_by_side(springs, tmp_path):
    def recorded(**changes) -> list[tuple[float, float]]:
        result = run_stability(springs(replicas=2, data=None, **changes), tmp_path / str(changes))
        return [(row["temperature_K"], row["ps"]) for row in
                json.loads(record_stability(result, "springs").read_text())["runs"]]
    assert recorded(temperatures_K="500", ps=0.03) == [(500.0, 0.03)]
    assert recorded(temperatures_K="300", ps=0.03) == [(300.0, 0.03), (500.0, 0.03)]
    assert recorded(temperatures_K="500", ps=0.06) == [(300.0, 0.03), (500.0, 0.06)]
    assert recorded(temperatures_K="500", ps=0.03, timestep_fs=0.5) == [(500.0, 0.03)]


def test_inner_steps_are_recorded_with_the_model_that_made_them(springs, tmp_path):
    request = springs(inner_model="springs", inner_steps=3, timestep_fs=3.0, save_every_fs=15.0)
    row, = run_stability(request, tmp_path / "inner")["runs"]
    plain, = run_stability(springs(), tmp_path / "plain")["runs"]  # the same potential with steps of 1 fs
    assert row["temperature_mean_K"] == pytest.approx(plain["temperature_mean_K"], abs=1e-3)
    assert row["ps"] == 0.9 and row["h_of_r_error"] == pytest.approx(plain["h_of_r_error"], abs=1e-6)
    result = json.loads((tmp_path / "inner" / STABILITY).read_text())
    assert (result["inner_model"], result["inner_steps"]) == ("springs", 3)
    assert "inner_steps" not in json.loads((tmp_path / "plain" / STABILITY).read_text())
    card = record_stability(result, "springs").with_name("CARD.md").read_text()
    assert "time step 3 fs, each with 3 inner steps by `springs` (weights " in card and "† All replicas" in card


def test_results_of_other_weights_are_not_taken_over(springs, tmp_path):
    request = springs(replicas=2, ps=0.03, data=None)
    run_stability(request, tmp_path / "run")
    (find_model("springs") / "weights.safetensors").write_bytes(b"trained on")
    with pytest.raises(ConfigError, match="springs changed since the run began"):
        run_stability(request, tmp_path / "run")
    (tmp_path / "run" / "inputs.json").rename(tmp_path / "run" / "weights.json")  # what folders of before have
    with pytest.raises(ConfigError, match="springs changed since the run began"):
        run_stability(request, tmp_path / "run")
    assert run_stability(request, tmp_path / "fresh")["complete"]


def test_the_command_records_and_the_runs_page_shows(springs, tmp_path, monkeypatch, root):
    monkeypatch.setenv("TOOLKIT_RUNS", str(tmp_path / "runs"))
    request = springs()
    words = ["stability", request.model, request.structure, "--temperatures-K", "300", "--replicas", "2",
             "--ps", "0.03", "--json", str(tmp_path / "r.json")]
    done = CliRunner().invoke(app, [*words, "--record"])
    assert done.exit_code == 0, done.output
    assert Path(json.loads((tmp_path / "r.json").read_text())["recorded"]).is_file()
    run, = list_runs("stability")
    assert key_result(run) == "whole: 100 % at 300 K"
    at = AppTest.from_file(str(root / "app.py"), default_timeout=60).switch_page("pages/8_Runs.py").run()
    at.session_state[table_key([run.run_id])] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    at.run()
    assert not at.exception
    assert any("| 300 | 2 | 0.03 | 1.000 [0.342, 1.000] |" in text.value for text in at.markdown)
    assert CliRunner().invoke(app, [*words, "--resume"]).exit_code == 2


def test_what_has_no_bonds_or_other_atoms_is_refused(springs, tmp_path):
    with pytest.raises(DataError, match="other molecules"):
        run_stability(springs(data="embedded:ethanol"), tmp_path / "a")
    crystal = nitrogen(LENGTH)
    crystal.set_cell([5.0, 5.0, 5.0])
    crystal.pbc = True
    write(tmp_path / "crystal.extxyz", crystal)
    with pytest.raises(DataError, match="bonds in a molecule"):
        run_stability(springs(structure=str(tmp_path / "crystal.extxyz")), tmp_path / "b")
