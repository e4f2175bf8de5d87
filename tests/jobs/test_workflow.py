"""The alloy workflow from labelled frames to its report, stopped and continued; what it refuses; where it starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from tests.stopping import run_until
from toolkit.config import load_config, parse_config
from toolkit.errors import ConfigError, DataError
from toolkit.interfaces.ase_calculator import Calculator
from toolkit.jobs.run_dir import read_status
from toolkit.jobs.tasks import run_task
from toolkit.jobs.workflow import run_workflow
from toolkit.jobs.workflow_config import CrystalConfig, MeltQuenchConfig, WorkflowConfig
from toolkit.jobs.workflow_report import _angles, report_sections
from toolkit.jobs.workflow_start import atom_counts, start_crystal
from toolkit.md.trajectory import Trajectory
from toolkit.models.pair import LennardJones, pair_potential

STAGES = ["train", "errors", "start", "heating", "melt", "quench", "glass", "structure", "transition", "elastic"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tiny network taught Lennard-Jones argon-krypton, on the way through melt and quench in fractions of a ps."""
    folder = tmp_path_factory.mktemp("alloy")
    generator = np.random.default_rng(0)
    frames: list[Atoms] = []
    for number in range(16):
        atoms = bulk("Ar", "fcc", a=5.1 + 0.04 * number, cubic=True) * (2, 1, 1)
        atoms.symbols[generator.permutation(8)[:4]] = "Kr"
        atoms.rattle(0.15, seed=number)
        atoms.calc = Calculator(pair_potential(LennardJones(("Ar", "Kr"), 0.0104, 3.4, 6.0)))
        atoms.get_potential_energy()
        atoms.info["group"] = "far" if number % 4 == 0 else "near"
        frames.append(atoms)
    write(folder / "train.extxyz", frames[:10])
    write(folder / "test.extxyz", frames[10:])
    model = {"architecture": "atom_mlp", "r_max": 5.0, "num_features": 8, "num_bessels": 4, "readout_mlp_width": 8}
    return {
        "train": {"data": {"train": str(folder / "train.extxyz"), "test": str(folder / "test.extxyz"),
                           "split": {"num_train": 8, "num_val": 2}},
                  "model": model, "loss": {"stress_weight": 10.0}, "max_epochs": 3, "batch_size": 2, "threads": 1},
        "out_of_domain": "far",
        "start": {"lattice": "fcc", "lattice_constant_A": 5.3, "composition": {"Ar": 3, "Kr": 1}, "repeats": [3, 3, 3]},
        "melt_quench": {"cold_K": 50, "hot_K": 400, "heating_K_per_s": 3.5e15, "cooling_K_per_s": 2.5e15,
                        "melt_ps": 0.1, "glass_ps": 0.1, "barostat_fs": 200, "save_every_fs": 4},
        "elastic": {"repeats": [1, 1, 1], "fmax_eV_per_A": 0.01}, "device": "cpu"}


@pytest.fixture(scope="module")
def folder(config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workflow that was stopped in its quench and then continued as the same job."""
    folder = tmp_path_factory.mktemp("runs") / "workflow"
    first = run_until("Quench", "workflow", config, folder)
    assert list(first) == STAGES[:5]
    assert read_status(folder).state == "stopped"
    assert list(run_task("workflow", config, folder, resume=True)) == STAGES
    return folder


def test_every_stage_leaves_its_numbers_and_the_report_shows_them(folder):
    results = json.loads((folder / "results.json").read_text(), parse_constant=pytest.fail)
    page, markdown = ((folder / name).read_text() for name in ("report.html", "report.md"))
    assert set(results) == {"request", *STAGES}
    assert (results["errors"]["test"]["n_frames"], results["errors"]["out_of_domain"]["n_frames"]) == (5, 1)
    assert (results["start"]["formula"], results["start"]["num_atoms"]) == ("Ar81Kr27", 108)
    assert results["start"]["volume_A3_per_atom"] == pytest.approx(5.3**3 / 4)
    assert results["heating"]["steps"] == 50
    assert results["quench"]["steps"] == 70
    assert results["heating"]["curve"]["temperature_K"][-1] > 2.0 * results["heating"]["curve"]["temperature_K"][0]
    glass = results["structure"]["glass"]
    assert 6.0 < glass["coordination"]["total"] < 20.0
    assert sum(glass["bond_angles"]["density"]) * 2.0 == pytest.approx(1.0)
    assert set(glass["rdf"]["pairs"]) == {"total", "Ar-Ar", "Ar-Kr", "Kr-Kr"}
    for word in ("Ar81Kr27", "Voronoi", "Glass transition", "Elastic constants", "out of domain", "3.5e+15 K/s"):
        assert word in page
        assert word in markdown


def test_angles_without_order_are_told_in_the_unit_of_the_axis():
    angle = np.arange(1.0, 180.0, 2.0)
    density = np.pi / 360.0 * np.sin(np.deg2rad(angle))
    assert density.sum() * 2.0 == pytest.approx(1.0, abs=1e-3)
    section = _angles({"glass": {"bond_angles": {"angle_deg": angle, "density": density, "stderr": 0.0 * angle}}})
    assert "(π/360) sin θ" in section.paragraphs[0]
    assert section.figures[0].layout.yaxis.title.text == "probability density, 1/°"


def test_an_element_without_neighbours_has_no_order_to_show(folder, config):
    results = json.loads((folder / "results.json").read_text())
    for part in results["structure"].values():
        part["coordination"]["short_range_order"]["Kr-Kr"] = None  # NaN, as it is read back
    sections = report_sections(parse_config(WorkflowConfig, config), results)
    cells = [cell for section in sections for table in section.tables for row in table.rows for cell in row]
    assert any(cell.endswith("(—)") for cell in cells)


def test_a_melt_that_boils_is_called_so(folder, config):
    results = json.loads((folder / "results.json").read_text())
    request = parse_config(WorkflowConfig, config)
    assert not any("Beware" in text for section in report_sections(request, results) for text in section.paragraphs)
    results["quench"]["curve"]["volume_A3_per_atom"][0] *= 2.0
    warned = [text for section in report_sections(request, results) for text in section.paragraphs if "Beware" in text]
    assert len(warned) == 1
    assert "quench" in warned[0]


def test_a_finished_workflow_does_nothing_again_and_keeps_to_its_settings(folder, config):
    written = {path: path.stat().st_mtime_ns for path in folder.glob("*.h5")}
    assert len(written) == 4
    assert list(run_workflow(parse_config(WorkflowConfig, config), folder)) == STAGES
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.h5")} == written
    assert load_config(WorkflowConfig, folder / "workflow.yaml") == parse_config(WorkflowConfig, config)
    with pytest.raises(ConfigError, match="other settings"):
        run_workflow(parse_config(WorkflowConfig, {**config, "structure_r_max_A": 7.0}), folder)


def test_each_simulation_starts_where_the_last_one_ended(folder):
    with Trajectory(folder / "heating.h5") as heating, Trajectory(folder / "melt.h5") as melt:
        assert np.allclose(heating.to_atoms(-1).positions, melt.to_atoms(0).positions, atol=1e-4)
        assert np.allclose(heating.cells()[-1], melt.cells()[0])


def test_an_existing_model_needs_no_training(folder, config, tmp_path):
    request = {**config, "train": None, "model": str(folder / "train"), "out_of_domain": None, "elastic": None}
    results = run_workflow(parse_config(WorkflowConfig, request), tmp_path / "again")
    assert list(results) == STAGES[2:9]


def test_a_glass_that_breaks_is_no_glass(folder, config, tmp_path, monkeypatch):
    runs = MeltQuenchConfig.runs
    monkeypatch.setattr(MeltQuenchConfig, "runs", lambda self: {
        name: run.model_copy(update={"max_temperature_K": 1.0} if name == "glass" else {}) for name, run in runs(self).items()})
    request = {**config, "train": None, "model": str(folder / "train"), "out_of_domain": None, "elastic": None}
    with pytest.raises(DataError, match="the simulation 'glass' broke"):
        run_workflow(parse_config(WorkflowConfig, request), tmp_path / "broken")
    assert not (tmp_path / "broken" / "results.json").exists()


def test_a_random_alloy_has_its_composition_and_no_order():
    config = CrystalConfig(lattice="bcc", lattice_constant_A=3.2, composition={"Nb": 1, "Mo": 1, "W": 2},
                           repeats=(5, 5, 5))
    atoms = start_crystal(config)
    assert atoms.symbols.formula.count() in ({"Mo": 62, "Nb": 63, "W": 125}, {"Mo": 63, "Nb": 62, "W": 125})
    assert (atoms.numbers == start_crystal(config).numbers).all()
    assert (atoms.numbers != start_crystal(config.model_copy(update={"seed": 1})).numbers).any()
    assert len(start_crystal(config, (2, 2, 2))) == 16
    with pytest.raises(DataError, match="get none"):
        atom_counts({"Nb": 0.99, "W": 0.01}, 16)


@pytest.mark.parametrize(("change", "message"), [
    ({"model": "both"}, "either train"), ({"start": {}}, "either lattice"),
    ({"start": {"source": "a.xyz"}}, "elastic.repeats"), ({"melt_quench": {"cold_K": 500, "hot_K": 400}}, "more than")])
def test_what_does_not_fit_together_is_refused(config, change, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(WorkflowConfig, {**config, **change})


@pytest.mark.parametrize("name", ["alloy_nbmotaw", "mlearn_cu", "mlearn_mo", "mlearn_si"])
def test_the_configurations_are_valid_and_large_enough(root, name):
    config = load_config(WorkflowConfig, root / "configs" / f"{name}.yaml")
    assert len(start_crystal(config.start)) >= 500
    assert config.train.model.zbl
    assert min(config.train.loss.energy_weight, config.train.loss.forces_weight, config.train.loss.stress_weight) > 0.0


def test_nequip_takes_the_place_of_allegro(root):
    config = load_config(WorkflowConfig, root / "configs" / "alloy_nbmotaw.yaml", [
        "train.model.architecture=nequip", "train.model.num_features=16", "train.model.num_scalar_features=64"])
    assert config.train.model.architecture == "nequip"
