"""Pages run in this process through AppTest, on folders of their own and with a tiny untrained model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from toolkit.config import MDConfig, ModelConfig
from toolkit.jobs import launcher
from toolkit.jobs.requests import MDRequest
from toolkit.jobs.run_dir import create_run_dir
from toolkit.jobs.tasks import run_task
from toolkit.models.checkpoint import save_model
from toolkit.models.potential import build_potential
from toolkit.ui.server_files import list_files

Open = Callable[..., AppTest]


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shipped models with one that knows aspirin's elements and nothing else."""
    folder = tmp_path_factory.mktemp("models")
    config = ModelConfig(species=("H", "C", "O"), r_max=3.0, num_layers=1, l_max=1, num_features=4, radial_mlp_width=8,
                         avg_num_neighbors=8.0, per_species_energy_scales={"H": 0.01, "C": 0.01, "O": 0.01})
    potential = build_potential(config)
    save_model(potential.model, potential.config, folder / "aspirin")
    return folder


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TOOLKIT_MODELS", str(models_folder))


@pytest.fixture
def open_page(root: Path) -> Open:
    """Open a page of the app, as a browser that follows a link to it would."""

    def open_(page: str, **query: str) -> AppTest:
        at = AppTest.from_file(str(root / "app.py"), default_timeout=60)
        for name, value in query.items():
            at.query_params[name] = value
        if page != "app.py":
            at.switch_page(page)
        return at.run()

    return open_


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Jobs that a page starts get their folder, but no process."""
    run_dirs: list[Path] = []
    monkeypatch.setattr(launcher, "_spawn", lambda run_dir, resume: run_dirs.append(run_dir))
    return run_dirs


def choose_on_server(at: AppTest, page: str, name: str) -> AppTest:
    """Choose a file by its name in the list of the server, also one that was written a moment ago."""
    list_files.clear()
    at.selectbox(key=f"{page}.source").select("File on the server").run()
    return at.selectbox(key=f"{page}.path").select(name).run()


@pytest.fixture
def md_run() -> Path:
    """A short finished molecular dynamics run of aspirin, two replicas."""
    request = MDRequest(model="aspirin", structure="embedded:aspirin", device="cpu",
                        md=MDConfig(steps=20, save_every=2, temperature_K=50.0, replicas=2))
    run_dir = create_run_dir("md")
    run_task("md", request.model_dump(mode="json"), run_dir)
    return run_dir
