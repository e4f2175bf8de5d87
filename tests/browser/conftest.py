"""A live server with folders of its own, and Debian's Chromium without any network but that server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from ase import Atoms

from tests.synthetic_trajectories import write_trajectory
from toolkit.jobs.run_dir import Status, create_run_dir, write_status
from toolkit.jobs.sources import starting_structure

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM_ARGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader",
                 "--enable-unsafe-swiftshader"]
FRAMES = 10_000
"""Of each of the `long_runs`."""


@pytest.fixture(scope="session")
def app_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the app keeps its `runs`, its log and the number of its process, `server.pid`."""
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="session")
def server(root: Path, app_folder: Path) -> Iterator[str]:
    """Address of the running app. Its shipped model is the real one."""
    if not (root / "trained_models" / "aspirin").is_dir():
        pytest.skip("needs the shipped model trained_models/aspirin")
    if not (root / "static" / "3Dmol-min.js").is_file():
        pytest.skip("needs static/3Dmol-min.js: run scripts/fetch_viewer.sh")
    with running_app(root, app_folder) as address:
        yield address


@contextmanager
def running_app(root: Path, folder: Path, *options: str) -> Iterator[str]:
    """Start the app with further options of Streamlit, and yield its address. It keeps what it makes in `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), "--server.headless",
               "true", "--server.address", "127.0.0.1", *options]
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(command, cwd=root, stdout=log, stderr=subprocess.STDOUT,
                                   env={**os.environ, "TOOLKIT_RUNS": str(folder / "runs")})
    (folder / "server.pid").write_text(str(process.pid))
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_up(address)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def _wait_until_up(address: str) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    pytest.fail("the server did not start within a minute")


@pytest.fixture(scope="session")
def long_runs(app_folder: Path) -> list[str]:
    """Names of five finished runs of 10,000 frames of aspirin, each atom on a circle of its own."""
    atoms = starting_structure("embedded:aspirin", 0)
    return [_long_run(app_folder / "runs", atoms, seed) for seed in range(5)]


def _long_run(root: Path, atoms: Atoms, seed: int) -> str:
    phases = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, (len(atoms), 1))

    def motion(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle = times[:, None, None] / 20.0 + phases
        speed = np.linspace(0.002, 0.02, len(atoms))[:, None]
        circle = np.concatenate([np.cos(angle), np.sin(angle), 0.0 * angle], axis=-1)
        along = np.concatenate([-np.sin(angle), np.cos(angle), 0.0 * angle], axis=-1)
        return (atoms.positions + 20.0 * speed * circle)[:, None], (speed * along)[:, None]

    run = create_run_dir("md", root)
    write_trajectory(run / "trajectory.h5", atoms, motion, FRAMES)
    (run / "config.json").write_text("{}")
    write_status(run, Status("md", "finished", FRAMES, FRAMES, created=time.time() - 3600.0))
    return run.name


@dataclass
class Browser:
    """One browser context, everything it complained about, and where its pictures go."""

    context: playwright.BrowserContext
    address: str
    pictures: Path
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> playwright.Page:
        """A new tab on a page of the app."""
        tab = self.context.new_page()
        tab.on("console", self._on_console)
        tab.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        tab.goto(f"{self.address}/{path}")
        tab.get_by_role("heading", level=1).wait_for(timeout=60_000)
        return tab

    def picture(self, tab: playwright.Page, name: str) -> None:
        """Keep a screenshot for people to look at."""
        tab.screenshot(path=self.pictures / f"{name}.png", full_page=True)

    def _on_console(self, message: playwright.ConsoleMessage) -> None:
        known = "/_stcore/" in message.location.get("url", "")  # Streamlit looks for its own address on deep links
        if message.type == "error" and not known:
            self.complaints.append(f"console: {message.text} ({message.location.get('url')})")


@pytest.fixture
def browser(server: str, root: Path) -> Iterator[Browser]:
    """Chromium that reaches nothing but the server; a test fails when the browser complained."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.skip("needs Chromium")
    pictures = root / "test-results"
    pictures.mkdir(exist_ok=True)
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=executable, args=CHROMIUM_ARGS)
        context = chromium.new_context(viewport={"width": 1400, "height": 1200})
        found = Browser(context, server, pictures)
        context.route(lambda url: not url.startswith((server, "blob:", "data:")), lambda route: (
            found.complaints.append(f"asked the network for {route.request.url}"), route.abort()))
        yield found
        chromium.close()
    assert found.complaints == []
