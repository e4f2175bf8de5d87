"""The Trajectory page: one system or several, frames in a file, a click that moves the view, the numbers as CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tests.packed_scene import unpack
from toolkit.config import MDConfig
from toolkit.jobs.requests import MDRequest
from toolkit.jobs.run_dir import create_run_dir
from toolkit.jobs.tasks import run_task
from toolkit.md.trajectory import Trajectory
from toolkit.ui import frame_store, trajectory, viewer

PAGE = "pages/4_Trajectory.py"


@pytest.fixture
def two_systems() -> Path:
    """A run of two frames of aspirin."""
    request = MDRequest(model="aspirin", structure="embedded:aspirin", frames=(0, 7), device="cpu",
                        md=MDConfig(steps=6, save_every=2, temperature_K=50.0))
    run_dir = create_run_dir("md")
    run_task("md", request.model_dump(mode="json"), run_dir)
    return run_dir


def shown(at: AppTest) -> tuple[dict, dict]:
    """Header and frames of the 3D view."""
    (component,) = at.get("bidi_component")
    return unpack(component.proto.bytes)


def test_the_newest_run_is_shown_with_all_its_frames(open_page, md_run: Path) -> None:
    at = open_page(PAGE)
    assert not at.exception and not at.error and len(at.get("plotly_chart")) == 3
    for replica in (0, 1):
        at.number_input(key=f"trajectory.replica.{md_run.name}").set_value(replica).run()
        header, found = shown(at)
        with Trajectory(md_run / "trajectory.h5") as expected:
            np.testing.assert_array_equal(found["positions"], expected.positions()[:, replica])
            np.testing.assert_allclose(found["numbers"], expected.times_fs)
            speeds = np.linalg.norm(expected.velocities()[:, replica], axis=-1)
        np.testing.assert_allclose(found["colorings"][0], speeds, rtol=1e-6)
        assert 0.0 < header["colorings"][0]["top"] <= speeds.max()
    at.multiselect(key="trajectory.pairs").set_value(["C-H"]).run()
    assert not at.exception and len(at.get("plotly_chart")) == 3


def test_each_system_of_a_run_can_be_chosen(open_page, two_systems: Path) -> None:
    at = open_page(PAGE)
    system = at.selectbox(key=f"trajectory.system.{two_systems.name}")
    assert system.options == ["1 of 2", "2 of 2"]
    views = set()
    for number in (0, 1):
        at.selectbox(key=f"trajectory.system.{two_systems.name}").select_index(number).run()
        assert not at.exception and not at.error
        header, found = shown(at)
        views.add(header["view"])
        with Trajectory(two_systems / f"trajectory.{number}.h5") as expected:
            np.testing.assert_array_equal(found["positions"], expected.positions()[:, 0])
    assert len(views) == 2


def test_a_long_trajectory_stays_in_a_file(open_page, md_run: Path, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_store, "FOLDER", tmp_path / "frames")
    monkeypatch.setattr(viewer, "INLINE_BYTES", 100)
    at = open_page(PAGE)
    (component,) = at.get("bidi_component")
    data = component.proto.bytes
    assert len(data) == 4 + int.from_bytes(data[:4], "little")
    (file,) = (tmp_path / "frames").glob("*.f4")
    with Trajectory(md_run / "trajectory.h5") as expected:
        positions = expected.positions()[:, 0]
    records = np.fromfile(file, dtype="<f4").reshape(len(positions), -1)
    np.testing.assert_array_equal(records[:, 1:1 + positions[0].size], positions.reshape(len(positions), -1))


def test_thinned_frames_are_those_of_their_times(md_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trajectory, "thinning_step", lambda frames, atoms: 3)
    with Trajectory(md_run / "trajectory.h5") as source:
        movie = trajectory.replica_movie(source, 1, 11)
        records = movie.read(1, movie.num_frames)
        assert (movie.num_frames, movie.scene.frames_left_out) == (4, 7)
        np.testing.assert_allclose(records[:, 0], source.times_fs[3::3])
        np.testing.assert_array_equal(records[:, 1:64], source.positions()[3::3, 1].reshape(3, -1))


@pytest.mark.parametrize(("step", "place"), [(1, 7), (3, 2)])
def test_a_clicked_energy_moves_the_view_to_its_frame(step: int, place: int, open_page, md_run: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trajectory, "thinning_step", lambda frames, atoms: step)
    with Trajectory(md_run / "trajectory.h5") as source:
        time_fs = float(source.times_fs[7])
    at = open_page(PAGE)
    assert shown(at)[0]["goTo"] is None
    monkeypatch.setattr(trajectory, "_clicked_time", lambda run, replica: time_fs)
    assert shown(at.run())[0]["goTo"] == [place, str(time_fs)]


def test_the_table_holds_what_the_plots_show(md_run: Path) -> None:
    lines = trajectory._csv(md_run / "trajectory.h5", 1, 11).splitlines()
    names, numbers = lines[0].split(","), np.array([line.split(",") for line in lines[1:]], dtype=float)
    with Trajectory(md_run / "trajectory.h5") as source:
        np.testing.assert_allclose(numbers[:, names.index("time_fs")], source.times_fs)
        total = (source.potential_energy_eV + source.kinetic_energy_eV)[:, 1]
        np.testing.assert_allclose(numbers[:, names.index("total_energy_eV")], total, rtol=1e-9)
        np.testing.assert_allclose(numbers[:, names.index("temperature_K")], source.temperature_K[:, 1], rtol=1e-9)


def test_a_damaged_trajectory_ends_in_a_red_box(open_page, md_run: Path) -> None:
    (md_run / "trajectory.h5").write_bytes(np.random.default_rng(0).bytes(1000))
    at = open_page(PAGE, run=md_run.name)
    assert not at.exception and "cannot read the trajectory" in at.error[0].value


def test_the_next_pages_begin_with_what_was_watched(open_page, md_run: Path) -> None:
    """And keep what is chosen there afterwards."""
    at = open_page("pages/4_Trajectory.py", run=md_run.name)
    assert not at.exception
    at.switch_page("pages/6_Spectra.py").run()
    assert at.selectbox(key="spectra.source").value == f"Last frame of {md_run.name}" and not at.exception
    at.selectbox(key="spectra.source").select("Embedded aspirin").run()
    at.switch_page("pages/4_Trajectory.py").run()
    at.switch_page("pages/6_Spectra.py").run()
    assert at.selectbox(key="spectra.source").value == "Embedded aspirin"
