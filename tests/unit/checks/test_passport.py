"""The passport of a model: what it holds, where it is kept, and what the command line says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

from toolkit.checks.passport import passport, with_section
from toolkit.cli import app
from toolkit.config import ModelConfig
from toolkit.errors import DataError
from toolkit.jobs.shipping import write_sample
from toolkit.models.checkpoint import save_model
from toolkit.models.potential import build_potential

CONFIG = {"r_max": 3.0, "num_layers": 1, "l_max": 1, "num_features": 4, "num_bessels": 4, "radial_mlp_width": 8,
          "avg_num_neighbors": 5.0, "seed": 2}


def _folder(path: Path, species: str = "HCO", **changes) -> Path:
    config = ModelConfig(**{**CONFIG, "species": tuple(species), **changes})
    save_model(build_potential(config).model, config, path)
    (path / "CARD.md").write_text("# A model\n\n- **Data**: none\n")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model, whose symmetries are as good as any."""
    return _folder(tmp_path_factory.mktemp("passport") / "model")


@pytest.fixture(scope="module")
def made(folder: Path):
    return passport(folder, nve_ps=0.0, device="cpu")


def test_every_check_in_both_precisions(made):
    assert made.passed
    names = {(result.name, result.dtype, result.backend) for result in made.results}
    assert len(names) == len(made.results) == 4 * 16 - 1  # precision compares with the reference, so not that with itself
    assert {("precision", "float32", "reference"), ("precision", "float64", "compiled")} <= names
    assert made.structures == {"data": "C9H8O4, not periodic", "crystal": "C9H8O4, periodic along abc"}


def test_it_is_kept_in_the_folder_and_says_the_same_again(made, folder):
    kept = (folder / "passport.json").read_text()
    values = json.loads(kept)
    assert values == json.loads(json.dumps(made.to_dict()))
    entry = values["checks"]["forces.float64.reference"]
    assert entry["passed"] is (entry["value"] <= entry["threshold"])
    assert values["weights_sha256"]
    card = (folder / "CARD.md").read_text()
    assert card.startswith("# A model\n\n- **Data**: none\n\n## Passport\n\nOn CPU")
    assert ", every check passed. Structures: data C9H8O4" in card
    assert "| rotation | ✓ " in card
    passport(folder, nve_ps=0.0, device="cpu")
    assert (folder / "passport.json").read_text() == kept
    assert (folder / "CARD.md").read_text() == card


def test_a_section_is_replaced_where_it_stands():
    text = "# Card\n\n## Passport\n\nold\n\n## Licence\n\nMIT\n"
    assert with_section(text, "## Passport\n\nnew\n") == "# Card\n\n## Passport\n\nnew\n\n## Licence\n\nMIT\n"
    assert with_section("# Card\n", "## Passport\n\nnew\n") == "# Card\n\n## Passport\n\nnew\n"


@pytest.mark.parametrize("metrics", ['{"data": {"sources": ["catalog:rmd17_ethanol"]}}', "[" * 100_000])
def test_the_molecule_of_the_training_set_is_preferred(tmp_path, metrics):
    folder = _folder(tmp_path / "model")
    (folder / "metrics.json").write_text(metrics)
    chosen = passport(folder, nve_ps=0.0, device="cpu", reporter=_Impatient()).structures["data"]
    assert chosen == ("C2H6O, not periodic" if "ethanol" in metrics else "C9H8O4, not periodic")


@pytest.mark.parametrize("source", ["sample", "data", "gone", "catalog:nothing"])
def test_its_own_frames_come_before_those_of_others(tmp_path, source):
    """A model of water is not tried on aspirin, which it happens to know the elements of and breaks in a simulation."""
    folder = _folder(tmp_path / "model")
    water = molecule("H2O")
    water.calc = SinglePointCalculator(water, energy=-1.0, forces=np.zeros((3, 3)))
    if source == "sample":
        write_sample([water], folder / "sample.npz")
    named = {"data": tmp_path / "water.xyz", "gone": tmp_path / "gone.xyz"}.get(source, source)
    write(tmp_path / "water.xyz", water, format="extxyz")
    (folder / "metrics.json").write_text(json.dumps({"train_config": {"data": {"train": str(named)}}}))
    chosen = passport(folder, nve_ps=0.0, device="cpu", reporter=_Impatient()).structures["data"]
    assert chosen == ("H2O, not periodic" if source in ("sample", "data") else "C9H8O4, not periodic")


def test_structures_follow_what_is_given(folder):
    potential = build_potential(ModelConfig(**CONFIG, species=("Si", "O")), dtype="float64")
    made = passport(potential, nve_ps=0.0)
    assert made.structures == {"molecule": "O4Si4, not periodic", "crystal": "O2Si2, periodic along abc"}
    assert made.weights_sha256 is None
    slab = Atoms("SiO", [[0, 0, 0], [0, 0, 1.7]], cell=[3, 3.2, 9], pbc=(True, True, False))
    assert set(passport(potential, [slab], nve_ps=0.0).structures) == {"data", "molecule", "crystal"}
    with pytest.raises(DataError, match="knows only"):
        passport(potential, [Atoms("He2", [[0, 0, 0], [0, 0, 1]])], nve_ps=0.0)


def test_without_a_known_structure_the_simulation_asks_for_data():
    potential = build_potential(ModelConfig(**CONFIG, species=("Si", "O")), dtype="float64")
    made = passport(potential, nve_ps=20.0)
    assert not made.passed
    problems = [result.problem for result in made.results if not result.passed]
    assert problems == ["no structure that the model knows: give DATA"] * 4  # in each precision, on each backend


class _Impatient:
    """Asks to stop after a few checks."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []

    def update(self, step: int, total: int, message: str = "") -> None:
        self.steps.append((step, total))

    def metrics(self, record: dict) -> None:
        pass

    def should_stop(self) -> bool:
        return len(self.steps) == 3


def test_a_stopped_passport_is_not_kept(tmp_path):
    folder, reporter = _folder(tmp_path / "model"), _Impatient()
    made = passport(folder, nve_ps=1.0, device="cpu", reporter=reporter)
    assert reporter.steps == [(0, 463), (1, 463), (2, 463)]
    assert (len(made.results), made.complete, made.passed) == (3, False, False)
    assert not (folder / "passport.json").exists()


def test_a_folder_that_cannot_be_written_is_left_alone(tmp_path, monkeypatch):
    folder = _folder(tmp_path / "model")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert passport(folder, nve_ps=0.0, device="cpu").passed
    assert not (folder / "passport.json").exists()


def _run(*words: object):
    return CliRunner().invoke(app, ["passport", *map(str, words)])


def test_the_command_line_says_green(folder, tmp_path):
    done = _run(folder, "embedded:ethanol", "--nve-ps", 0, "--json", tmp_path / "p.json")
    assert done.exit_code == 0, done.output
    assert "rotation" in done.output
    assert "does not depend on anything beyond" in " ".join(done.output.split())
    values = json.loads((tmp_path / "p.json").read_text())
    assert values["passed"]
    assert values["structures"]["data"] == "C2H6O, not periodic"
    for entry in values["checks"].values():
        assert {"value", "threshold", "passed", "unit", "sentence"} <= entry.keys()


def test_a_flat_potential_is_red(tmp_path):
    """Zero forces obey every symmetry; that must not look like success."""
    flat = _folder(tmp_path / "flat", per_species_energy_scales=dict.fromkeys("HCO", 1e-9))
    done = _run(flat, "--nve-ps", 0)
    assert done.exit_code == 1, done.output
    assert "nothing to test: the force RMS is" in " ".join(done.output.split())
    assert not json.loads((flat / "passport.json").read_text())["passed"]
    assert "some checks failed" in (flat / "CARD.md").read_text()


def test_elements_the_model_does_not_know_are_bad_input(folder, tmp_path):
    write(tmp_path / "he.xyz", [Atoms("He2", [[0, 0, 0], [0, 0, 1.0 + 0.1 * k]]) for k in range(3)])
    assert _run(folder, tmp_path / "he.xyz").exit_code == 2
    assert _run("nonsense").exit_code == 2


def test_a_cell_of_one_atom_is_checked_as_the_crystal_that_it_is():
    config = ModelConfig(architecture="atom_mlp", species=("Cu",), r_max=4.0, l_max=1, num_features=8)
    made = passport(build_potential(config, dtype="float64"), [bulk("Cu")], nve_ps=0.0)
    assert made.passed and made.structures["data"].startswith("Cu8")
