"""The Compare models page: the form starts what it says, and a comparison is shown with its caveats and error bars."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.pages.test_evaluate_page import titles
from tests.pages.test_pages import texts
from toolkit.config import ModelConfig, parse_config
from toolkit.jobs import launcher
from toolkit.jobs.compare import FILE
from toolkit.jobs.compare_config import CompareRequest
from toolkit.jobs.run_dir import create_run_dir
from toolkit.jobs.tasks import run_task
from toolkit.models.checkpoint import save_model
from toolkit.models.potential import build_potential
from toolkit.storage import read_json

PAGE = "pages/10_Compare_Models.py"


@pytest.fixture
def two_models(tmp_path: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped model of all page tests and a second one, in a folder of their own."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "aspirin").symlink_to(models_folder / "aspirin")
    config = ModelConfig(species=("H", "C"), r_max=3.0, num_layers=1, l_max=1, num_features=4)
    save_model(build_potential(config).model, config, folder / "hydrocarbons")
    monkeypatch.setenv("TOOLKIT_MODELS", str(folder))
    return folder


def column(at: AppTest, table: int, name: str) -> list[str]:
    """Cells of a column as they are read, without the marks that keep Markdown away."""
    return [cell.replace("\\", "") for cell in at.table[table].value[name]]


def test_the_form_starts_what_it_says(open_page, two_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Path] = []
    monkeypatch.setattr(launcher, "_spawn", lambda run_dir, resume: started.append(run_dir))
    at = open_page(PAGE)
    assert at.multiselect(key="compare.models").value == ["aspirin (shipped)", "hydrocarbons (shipped)"]
    at.multiselect(key="compare.models").set_value(["aspirin (shipped)"]).run()
    assert "Choose two models or more" in texts(at) and not at.button
    at.multiselect(key="compare.models").set_value([]).run()
    assert not [box for box in at.selectbox if box.key == "compare.source"]
    at.multiselect(key="compare.models").set_value(["hydrocarbons (shipped)", "aspirin (shipped)"]).run()
    at.selectbox(key="compare.source").select("Embedded ethanol")
    at.number_input(key="compare.replicas").set_value(9)
    at.number_input(key="compare.md_ps").set_value(0.0).run()
    at.button(key="compare.start").click().run()
    assert not at.exception and not at.error
    request = parse_config(CompareRequest, json.loads((started[0] / "config.json").read_text()))
    assert request.models == ("hydrocarbons", "aspirin") and request.data.train == "embedded:ethanol"
    assert (request.replicas, request.md_ps, request.part, request.dtype) == (9, 0.0, "all", "float32")
    assert "compare hydrocarbons aspirin --data embedded:ethanol --md-ps 0.0 --replicas 9" in texts(at)


def test_the_page_shows_tables_figures_and_what_to_take_home(open_page, two_models: Path) -> None:
    run_dir = create_run_dir("compare")
    request = CompareRequest(models=("aspirin", "aspirin", "hydrocarbons"), data="embedded:aspirin", frames=20,
                             speed_s=0.01, md_ps=0.01, replicas=2, temperature_K=20.0, device="cpu",
                             backend="reference")
    run_task("compare", request.model_dump(mode="json"), run_dir)
    at = open_page(PAGE, run=run_dir.name)
    assert not at.exception and not at.error
    errors = read_json(run_dir / FILE)["models"]["aspirin"]["errors"]
    assert [heading.value for heading in at.subheader][:3] == ["Before you compare", "Errors on 20 frames",
                                                               "Differences on the same frames"]
    assert column(at, 0, "model") == ["aspirin", "aspirin (2)"]
    assert column(at, 0, "force MAE, meV/Å")[0] == (f"{errors['forces_mae_meV_per_A']:.2f} ± "
                                                    f"{errors['forces_mae_meV_per_A_stderr']:.2f}")
    assert column(at, 1, "finding") == ["aspirin, aspirin (2): no difference seen"] * 3
    assert column(at, 3, "stable replicas") == ["100 % (34 … 100)"] * 2 + ["—"]
    assert column(at, 3, "passport") == ["none", "none", "—"]
    assert "hydrocarbons could not be judged" in texts(at) and "python -m toolkit compare" in texts(at)
    assert len(at.get("download_button")) == 3 and len(at.get("plotly_chart")) == 2
    assert {"force MAE, meV/Å", "energies and forces of one frame, ms"} <= set(titles(at))


def test_a_run_that_has_only_begun_shows_its_first_row(open_page, two_models: Path) -> None:
    class StopAtSpeed:
        seen = False

        def update(self, step: int, total: int, message: str = "") -> None:
            self.seen |= "speed" in message

        def metrics(self, record: dict) -> None:
            """Nothing to keep."""

        def should_stop(self) -> bool:
            return self.seen

    run_dir = create_run_dir("compare")
    request = CompareRequest(models=("aspirin", "hydrocarbons"), data="embedded:aspirin", frames=12, device="cpu",
                             backend="reference")
    run_task("compare", request.model_dump(mode="json"), run_dir, reporter=StopAtSpeed())
    at = open_page(PAGE, run=run_dir.name)
    assert not at.exception and at.button(key=f"compare.{run_dir.name}.resume")
    assert "Errors on 12 frames" in texts(at) and "Speed and size" not in texts(at)
