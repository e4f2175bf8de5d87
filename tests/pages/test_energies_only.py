"""Pages on data without forces: training, judgement and the list of runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tests.pages.test_pages import metrics, texts
from toolkit.config import DataConfig, TrainConfig, parse_config
from toolkit.jobs.requests import EvaluateRequest
from toolkit.jobs.run_dir import create_run_dir
from toolkit.jobs.tasks import run_task


@pytest.fixture
def energies_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path))
    rng, frames = np.random.default_rng(0), []
    for _ in range(40):
        atoms = molecule(rng.choice(["CH4", "H2O", "CH3OH", "CO2", "C2H4"]))
        atoms.rattle(0.05, rng=rng)
        atoms.calc = SinglePointCalculator(atoms, energy=-3.0 * len(atoms) + float(rng.normal()))
        frames.append(atoms)
    write(tmp_path / "energies.extxyz", frames, format="extxyz")
    return tmp_path / "energies.extxyz"


@pytest.fixture
def trained(energies_file: Path) -> Path:
    config = parse_config(TrainConfig, {
        "data": {"train": str(energies_file)}, "loss": {"forces_weight": 0.0}, "device": "cpu", "max_epochs": 2,
        "model": {"architecture": "atom_gnn", "num_layers": 2, "num_features": 8, "r_max": 3.0}})
    run_dir = create_run_dir("train")
    run_task("train", config.model_dump(mode="json"), run_dir)
    return run_dir


def test_a_run_and_its_judgement_are_shown_by_their_energies(open_page, trained: Path, energies_file: Path) -> None:
    train = open_page("pages/2_Train.py", run=trained.name)
    assert not train.exception and not train.error
    assert metrics(train)["Force MAE"] == "—" and metrics(train)["Energy MAE"].endswith("meV/atom")
    request = EvaluateRequest(model=str(trained / "model"), data=DataConfig(train=str(energies_file)), device="cpu")
    judged = create_run_dir("evaluate")
    run_task("evaluate", request.model_dump(mode="json"), judged)
    evaluate = open_page("pages/9_Evaluate.py", run=judged.name)
    assert not evaluate.exception and not evaluate.error
    assert metrics(evaluate)["Force MAE"] == "—" and "These frames have no forces" in texts(evaluate)
    shown = evaluate.dataframe[-1].value
    assert evaluate.segmented_control(key="evaluate.judged").options == ["energy error"] and len(shown) == 20
    assert list(shown) == ["frame", "energy, meV/atom"] and "which has no forces" in texts(evaluate)
    runs = open_page("pages/8_Runs.py")
    assert not runs.exception and not runs.error and "energy MAE" in runs.dataframe[0].value.to_string()
