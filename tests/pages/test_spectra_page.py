"""The Spectra page on normal modes of water made of springs, and on a simulation of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

import toolkit.jobs.modes
from tests.synthetic_trajectories import write_trajectory
from toolkit.analysis.normal_modes import NormalModes
from toolkit.analysis.thermochemistry import rrho
from toolkit.figures.modes import FRAMES_PER_PERIOD, LARGEST_MOVE_A, bands, mode_scene
from toolkit.interfaces.relaxation import Relaxed, vibrations
from toolkit.jobs import launcher
from toolkit.jobs.modes import ModesRequest, load_modes, modes_result, run_modes, save_modes
from toolkit.jobs.run_dir import Status, create_run_dir, write_status
from toolkit.models.pair import HarmonicSprings, pair_potential
from toolkit.units import PER_FS_CM1

BOND = 1.2


@pytest.fixture
def atoms() -> Atoms:
    return Atoms("OCH", [[0.0, 0.0, 0.0], [BOND, 0.0, 0.0], [BOND / 2, BOND * np.sqrt(0.75), 0.0]])


@pytest.fixture
def modes_run(atoms: Atoms) -> Path:
    """A finished computation of normal modes."""
    modes = vibrations(pair_potential(HarmonicSprings(("C", "O", "H"), 40.0, BOND, 2.0)), atoms)
    run_dir = finished("modes", ModesRequest(model="aspirin", structure="embedded:aspirin").model_dump(mode="json"))
    save_modes(run_dir, atoms, modes)
    (run_dir / "result.json").write_text(json.dumps(modes_result(run_dir, Relaxed(atoms, 0.0, 0.0, 0), modes)))
    return run_dir


def finished(task: str, config: dict) -> Path:
    run_dir = create_run_dir(task)
    launcher.prepare(run_dir, task, config)
    write_status(run_dir, Status(task=task, state="finished", started=1.0, ended=2.0))
    return run_dir


def simulated(atoms: Atoms, modes: NormalModes) -> Path:
    """A run in which only the first mode moves."""
    omega = 2.0 * np.pi * modes.frequencies_cm1[0] / PER_FS_CM1
    shape = modes.displacements(0)

    def motion(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        phase = (omega * times)[:, None, None, None]
        return atoms.positions + 1e-2 / omega * np.sin(phase) * shape, 1e-2 * np.cos(phase) * shape

    run_dir = finished("md", {})
    write_trajectory(run_dir / "trajectory.h5", atoms, motion, 20_000)
    return run_dir


def test_a_mode_is_chosen_and_seen_and_a_simulation_is_compared(open_page, modes_run: Path, atoms: Atoms) -> None:
    _, modes = load_modes(modes_run)
    other = finished("md", {})
    write_trajectory(other / "trajectory.h5", Atoms("H2", [[0, 0, 0], [0, 0, 1.0]]),
                     lambda times: (np.zeros((len(times), 1, 2, 3)),) * 2, 10)
    run = simulated(atoms, modes)
    at = open_page("pages/6_Spectra.py", run=modes_run.name)
    assert not at.exception and not at.error
    assert {m.label: m.value for m in at.metric}["Vibrations"] == "3"
    assert len(at.get("plotly_chart")) == 1
    choice = at.selectbox(key="spectra.simulation")
    assert len(choice.options) == 2 and run.name in choice.options[1]  # the hydrogen molecule is not offered
    choice.select(choice.options[1]).run()
    assert not at.exception and not at.error
    assert len(at.get("plotly_chart")) == 3
    table, peaks = (frame.value for frame in at.dataframe)
    lowest = modes.frequencies_cm1[0]
    assert table["in motion, cm⁻¹"][0] == pytest.approx(lowest, abs=0.5 + 0.02 * lowest)
    assert len(peaks) == 1 and peaks["modes"][0].startswith("1 (")
    assert table["temperature, K"][0] > 100.0 * max(table["temperature, K"][1:])


def test_a_simulation_that_does_not_suit_leaves_the_modes(open_page, modes_run: Path, atoms: Atoms) -> None:
    short = finished("md", {})
    write_trajectory(short / "trajectory.h5", atoms, lambda times: (np.tile(atoms.positions, (len(times), 1, 1, 1)),
                                                                    np.zeros((len(times), 1, 3, 3))), 10)
    at = open_page("pages/6_Spectra.py", run=modes_run.name)
    choice = at.selectbox(key="spectra.simulation")
    choice.select(choice.options[1]).run()
    assert not at.exception and len(at.error) == 1
    assert len(at.get("plotly_chart")) == 1 and len(at.dataframe) == 1 and len(at.get("bidi_component")) == 1


def test_phonons_of_a_cell_of_one_atom_are_shown(open_page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At Γ it has translations alone: no table, no mode to move."""
    pytest.importorskip("phonopy")
    springs = pair_potential(HarmonicSprings(("Cu",), 1.7, 4.0 / np.sqrt(2.0), 3.7))
    monkeypatch.setattr(toolkit.jobs.modes, "load_potential", lambda *given, **options: springs)
    write(tmp_path / "copper.extxyz", bulk("Cu", "fcc", a=4.0))
    request = ModesRequest(model="springs", structure=str(tmp_path / "copper.extxyz"), supercell=(3, 3, 3))
    run_dir = finished("modes", request.model_dump(mode="json"))
    (run_dir / "result.json").write_text(json.dumps(run_modes(request, run_dir)))
    at = open_page("pages/6_Spectra.py", run=run_dir.name)
    assert not at.exception and not at.error
    assert {m.label: m.value for m in at.metric}["Vibrations"] == "0" and len(at.get("plotly_chart")) == 2


def test_the_gas_of_a_free_energy_is_said(open_page, modes_run: Path, atoms: Atoms) -> None:
    result = json.loads((modes_run / "result.json").read_text())
    gas = rrho(load_modes(modes_run)[1], symmetry_number=2, spin=0.5).to_dict()
    (modes_run / "result.json").write_text(json.dumps({**result, "thermochemistry": gas}))
    at = open_page("pages/6_Spectra.py", run=modes_run.name)
    assert any("symmetry number 2, 1 unpaired electron" in caption.value for caption in at.caption)


def test_the_form_starts_a_computation(open_page, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Path] = []
    monkeypatch.setattr(launcher, "_spawn", lambda run_dir, resume: started.append(run_dir))
    at = open_page("pages/6_Spectra.py")
    at.number_input(key="spectra.supercell").set_value(2)
    at.button(key="spectra.start").click().run()
    assert not at.exception and not at.error
    request = ModesRequest.model_validate(json.loads((started[0] / "config.json").read_text()))
    assert request.supercell == (2, 2, 2) and request.structure == "embedded:aspirin"


def test_a_mode_in_motion_swings_both_ways_and_is_enlarged_alike(modes_run: Path) -> None:
    atoms, modes = load_modes(modes_run)
    for mode in range(3):
        positions = mode_scene(atoms, 7.0 * modes.displacements(mode), "a mode").positions
        moved = positions - atoms.positions
        assert len(positions) == FRAMES_PER_PERIOD
        assert np.linalg.norm(moved, axis=2).max() == pytest.approx(LARGEST_MOVE_A, rel=1e-3)
        np.testing.assert_allclose(moved.sum(axis=0), 0.0, atol=1e-5)


def test_points_where_the_path_jumps_share_a_tick() -> None:
    figure = bands(np.linspace(0.0, 2.0, 5), np.ones((5, 3)), [("G", 0.0), ("X", 1.0), ("U", 1.0), ("G", 2.0)])
    assert list(figure.layout.xaxis.ticktext) == ["Γ", "X|U", "Γ"] and len(figure.data) == 3
