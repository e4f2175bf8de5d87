"""The study from the first stage to its page: stopped and continued, reported, repeated by its script, and shown."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.io import write

import toolkit.jobs.study
from md_systems import ExternalField
from tests.stopping import run_until
from toolkit.analysis.normal_modes import normal_modes
from toolkit.errors import ConfigError, DataError
from toolkit.jobs import launcher
from toolkit.jobs.mode_analysis import trajectory_modes
from toolkit.jobs.modes import load_modes, save_modes
from toolkit.jobs.run_dir import create_run_dir
from toolkit.jobs.study import STAGES, START_FILE, Study, constant_energy, equilibrate, run_study
from toolkit.jobs.study_config import PRESETS, StudyConfig, StudyRequest
from toolkit.jobs.study_numbers import bond_peaks
from toolkit.jobs.study_report import write_reports
from toolkit.jobs.study_script import script
from toolkit.jobs.tasks import run_task
from toolkit.md.trajectory import Trajectory
from toolkit.progress import SilentReporter

SHORT = StudyConfig(equilibration_ps=0.02, nve_ps=0.08, nvt_ps=0.05, nvt_replicas=2, resolution_cm1=500.0, seed=4)
REQUEST = StudyRequest(model="aspirin_xtb", structure="embedded:aspirin", study=SHORT, device="cpu",
                       backend="reference")  # nothing to compile first


@dataclass(frozen=True)
class Finished:
    folder: Path
    first_results: dict
    steps_when_stopped: int
    results: dict


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """A study that was stopped in its first simulation at constant energy and then continued as the same job."""
    folder = create_run_dir("study", tmp_path_factory.mktemp("runs"))
    config = REQUEST.model_dump(mode="json")
    first = run_until("Constant energy, float64", "study", config, folder)
    with Trajectory(folder / "nve_float64.h5") as trajectory:
        steps = trajectory.steps_done
    yield Finished(folder, first, steps, run_task("study", config, folder, resume=True))


def test_a_stopped_study_goes_on_where_it_was(study: Finished) -> None:
    assert list(study.first_results) == ["modes", "equilibration"]
    assert 0 < study.steps_when_stopped < SHORT.nve().steps
    assert list(study.results) == list(STAGES)
    for name in ("modes", "equilibration"):
        assert study.results[name] == study.first_results[name]
    with Trajectory(study.folder / "nve_float64.h5") as trajectory:
        assert trajectory.steps_done == SHORT.nve().steps and trajectory.config == SHORT.nve()
    with Trajectory(study.folder / "nvt.h5") as trajectory:
        assert trajectory.num_replicas == 2 and trajectory.config.seed == SHORT.seed + 1


def test_a_finished_study_does_nothing_again_and_keeps_to_its_settings(study: Finished) -> None:
    written = {path: path.stat().st_mtime_ns for path in study.folder.glob("*.h5")}
    again = run_study(REQUEST, study.folder)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert again["nvt"] == study.results["nvt"]
    with pytest.raises(ConfigError, match="other settings"):
        run_study(REQUEST.model_copy(update={"frame": 3}), study.folder)


def test_results_and_report_hold_the_numbers_and_need_no_network(study: Finished) -> None:
    results = json.loads((study.folder / "results.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    page, markdown = ((study.folder / name).read_text() for name in ("report.html", "report.md"))
    assert results["modes"]["n_imaginary"] == 0 and len(results["mode_comparison"]["modes"]) == 57
    for dtype in ("float64", "float32"):
        energy = results[f"nve_{dtype}"]["energy"]
        assert abs(energy["slope_meV_per_atom_per_ps"]) < 0.5 and energy["stderr_meV_per_atom_per_ps"] > 0.0
        assert f"{energy['slope_meV_per_atom_per_ps']:.2e}" in page
        assert f"{energy['stderr_meV_per_atom_per_ps']:.1e}" in markdown
    bonds = results["structure"]["bonds_A"]
    shortest = min(bond["mean"] for name, bond in bonds.items() if name.count("C") == 2)
    assert len(bonds) == 21 and 1.3 < shortest < 1.5 and f"{shortest:.4f}" in markdown
    peaks = [f"{peak:.3f}" for found in results["structure"]["bond_peaks_A"].values() for peak in found]
    assert all(peak in markdown for peak in peaks) and (peaks or "none above the noise" in markdown)
    assert page.count("Plotly.newPlot(") == 7 and "<script src=" not in page and page.count("<html") == 1
    assert len(results["torsions"]["torsions"]) >= 4
    assert np.trapezoid(results["spectrum"]["curves"]["total"]["values"], results["spectrum"]["frequency_cm1"]) > 30.0


def test_names_in_a_report_are_text_and_no_markup(study: Finished, tmp_path: Path) -> None:
    write_reports(REQUEST.model_copy(update={"structure": "<img src=x>"}), study.results, tmp_path)
    assert "<img" not in (tmp_path / "report.html").read_text()


def test_a_mode_without_a_centre_has_dashes_in_the_report(study: Finished, tmp_path: Path) -> None:
    """As imaginary modes are: NaN at first, null once a stage was read again."""
    first, second, *_ = rows = [dict(row) for row in study.results["mode_comparison"]["modes"]]
    for row, unknown in ((first, None), (second, float("nan"))):
        row |= {**dict.fromkeys(("centre_cm1", "centre_stderr_cm1", "shift_cm1", "width_cm1"), unknown), "band_share": 0.0}
    comparison = {**study.results["mode_comparison"], "modes": rows}
    write_reports(REQUEST, {**study.results, "mode_comparison": comparison}, tmp_path)
    report = (tmp_path / "report.md").read_text()
    for row in (first, second):
        assert f"| {row['mode']} | {row['harmonic_cm1']:.1f} | — | — | — | 0.00 |" in report


def test_the_script_does_the_same(study: Finished, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOOLKIT_MODELS", str(root / "trained_models"))
    runpy.run_path(str(study.folder / "study.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert f"zero-point energy {study.results['modes']['zero_point_energy_eV']:.4f} eV" in printed
    with Trajectory(tmp_path / "script_nve_float64.h5") as mine, Trajectory(study.folder / "nve_float64.h5") as theirs:
        assert mine.config == theirs.config
        np.testing.assert_allclose(mine.positions(stop=3), theirs.positions(stop=3), atol=1e-4)


def test_a_hostile_name_stays_a_string_in_the_script() -> None:
    name = 'a"""\nraise SystemExit("ran")\n"""{0}\\'
    source = script(REQUEST.model_copy(update={"structure": name, "model": name}))
    compile(source, "study.py", "exec")
    assert 'raise SystemExit("ran")\n' not in source and repr(name) in source


def test_modes_of_another_molecule_are_refused(study: Finished, tmp_path: Path) -> None:
    table = trajectory_modes(study.folder / "nve_float64.h5", study.folder, 500.0)
    assert [row["mode"] for row in table["modes"]] == list(range(1, 58)) and table["peaks"]
    water = molecule("H2O")
    save_modes(tmp_path, water, normal_modes(np.eye(9), water.positions, water.get_masses()))
    with pytest.raises(DataError, match="3 of the normal modes"):
        trajectory_modes(study.folder / "nve_float64.h5", tmp_path)
    (tmp_path / "modes.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match="no readable normal modes"):
        load_modes(tmp_path)


class Torn(Study):
    """A study of a molecule whose atoms repel each other."""

    def potential(self, dtype: str) -> ExternalField:
        def pushed(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            away = x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(1e-9)
            return -0.2 * torch.linalg.vector_norm(x, dim=1), 0.2 * away

        return ExternalField(pushed)


def test_a_study_whose_simulation_breaks_says_so_and_starts_nothing_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hydroxyl = Atoms("OH", positions=[[0.0, 0.0, 0.0], [0.97, 0.0, 0.0]])
    monkeypatch.setattr(toolkit.jobs.study, "load_modes", lambda folder: (hydroxyl.copy(), None))
    request = StudyRequest(model="torn", structure="-", study=StudyConfig(equilibration_ps=0.5, nve_ps=0.5))
    study = Torn(request, tmp_path, SilentReporter())
    for stage in (equilibrate, lambda study: constant_energy(study, "float64")):
        with pytest.raises(DataError, match="broke: bond O0-H1"):
            stage(study)
        assert not (tmp_path / START_FILE).exists() or stage is not equilibrate
        write(tmp_path / START_FILE, hydroxyl)


def test_short_stages_end_with_a_frame() -> None:
    config = StudyConfig(equilibration_ps=0.01, nve_ps=0.001, nvt_ps=0.004)
    assert all(run.steps % run.save_every == 0 for run in (config.equilibration(), config.nve(), config.nvt()))


def test_the_page_shows_the_report_of_a_finished_study(study: Finished, open_page,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_RUNS", str(study.folder.parent))
    at = open_page("pages/7_Study.py", run=study.folder.name)
    assert not at.exception and not at.error
    assert [heading.value for heading in at.subheader][:3] == ["Summary", "Energy conservation", "Distances"]
    assert len(at.get("plotly_chart")) == 7 and len(at.get("download_button")) == 4


def test_the_page_starts_a_study_of_the_chosen_size(open_page, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Path] = []
    monkeypatch.setattr(launcher, "_spawn", lambda run_dir, resume: started.append(run_dir))
    at = open_page("pages/7_Study.py")
    at.button(key="study.start").click().run()
    assert not at.exception and not at.error
    config = json.loads((started[0] / "config.json").read_text())
    assert StudyRequest.model_validate(config).study == StudyConfig(**PRESETS["coffee-break"])


def test_noise_of_a_short_run_is_no_bond() -> None:
    """One bond of 1.53 ± 0.03 Å in a few frames has one peak, and two bonds that lie apart have two."""
    r, random = np.arange(0.005, 3.0, 0.01), np.random.default_rng(2)

    def peaks(*lengths_A: float) -> list[float]:
        blocks = np.array([np.histogram(np.concatenate([random.normal(length, 0.03, 20) for length in lengths_A]), len(r), (0.0, 3.0))[0]
                           for _ in range(10)]) / (20 * len(lengths_A) * 0.01)
        found = {"values": blocks.mean(axis=0).tolist(), "stderr": (blocks.std(axis=0, ddof=1) / np.sqrt(10)).tolist()}
        return bond_peaks({"r_A": r.tolist(), "pairs": {"C-C": found, "H-C": found, "total": found}})["C-C"]

    for _ in range(20):
        assert np.allclose(peaks(1.53), [1.53], atol=0.02)
        assert np.allclose(peaks(1.21, 1.36), [1.21, 1.36], atol=0.02)
