"""The pages with a model that has pairs instead of layers of atomic features."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pages.test_pages import texts
from toolkit.config import ModelConfig
from toolkit.jobs import launcher
from toolkit.models.checkpoint import save_model
from toolkit.models.potential import build_potential

SMALL = {"architecture": "allegro", "r_max": 3.0, "num_layers": 2, "l_max": 1, "num_features": 2,
         "num_scalar_features": 4}


@pytest.fixture
def models_folder(tmp_path: Path) -> Path:
    """A folder of shipped models whose aspirin is an Allegro."""
    potential = build_potential(ModelConfig(species=("H", "C", "O"), avg_num_neighbors=8.0, **SMALL))
    save_model(potential.model, potential.config, tmp_path / "models" / "aspirin")
    return tmp_path / "models"


def test_equivariance_shows_answers_and_says_that_there_are_no_atomic_features(open_page) -> None:
    at = open_page("pages/5_Equivariance.py")
    assert not at.exception and not at.error
    shown = texts(at)
    assert "This network, after · ✔ follows" in shown and "The broken copy, after · ✘" in shown
    assert "Allegro has no layers of equivariant features" in shown


def test_the_train_form_keeps_the_architecture_and_its_fields(open_page, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Path] = []
    monkeypatch.setattr(launcher, "_spawn", lambda run_dir, resume: started.append(run_dir))
    at = open_page("pages/2_Train.py")
    text = json.dumps({"data": {"train": "embedded:ethanol"}, "model": {**SMALL, "latent_mlp_depth": 2}})
    at.text_area(key="train.yaml").set_value(text).run()
    at.number_input(key="train.model.num_layers").set_value(3).run()
    at.button(key="train.start").click().run()
    assert not at.exception and not at.error
    model = json.loads((started[0] / "config.json").read_text())["model"]
    assert {key: model[key] for key in ("architecture", "num_layers", "num_scalar_features", "latent_mlp_depth")} == {
        "architecture": "allegro", "num_layers": 3, "num_scalar_features": 4, "latent_mlp_depth": 2}
