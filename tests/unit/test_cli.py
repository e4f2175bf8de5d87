"""The command line: result keys of the contract, exit codes, one clear line for bad input and never a traceback."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.io import read, write
from typer.testing import CliRunner

from toolkit.cli import app
from toolkit.console import ConsoleReporter, show_passport, show_result
from toolkit.data.catalog import CATALOG
from toolkit.models.checkpoint import save_model
from toolkit.models.potential import build_potential


def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return subprocess.run([sys.executable, "-m", "toolkit", *map(str, words)], capture_output=True, text=True, cwd=cwd,
                          env=environment, timeout=120)


@pytest.fixture(scope="module")
def aspirin_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model for C, H and O: the command line does not care how good it is."""
    from toolkit.config import ModelConfig

    folder = tmp_path_factory.mktemp("models") / "untrained"
    config = ModelConfig(species=("H", "C", "O"), r_max=3.0, num_layers=1, l_max=1, num_features=4, avg_num_neighbors=8.0,
                         per_species_energy_scales=dict.fromkeys("HCO", 1e-3))
    save_model(build_potential(config).model, config, folder)
    return folder


@pytest.fixture(scope="module")
def tiny_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text("data: {train: 'embedded:ethanol', split: {method: blocks, num_train: 20, num_val: 5, num_test: 5}}\n"
                    "model: {num_layers: 1, l_max: 1, num_features: 4, r_max: 3.0}\nmax_epochs: 2\nthreads: 1\ndevice: cpu\n")
    return path


def test_train_evaluate_and_resume_after_interrupt(tiny_yaml, tmp_path):
    done = run("train", tiny_yaml, "-o", tmp_path / "run", "--json", tmp_path / "train.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "train.json").read_text())
    keys = {"run_dir", "model_dir", "wall_s", "frames_per_s", "test.energy_mae_meV", "test.energy_mae_meV_per_atom",
            "test.forces_mae_meV_per_A", "test.forces_rmse_meV_per_A"}
    assert keys <= result.keys()
    done = run("evaluate", tmp_path / "run", "embedded:ethanol", "--json", tmp_path / "eval.json", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    errors = json.loads((tmp_path / "eval.json").read_text())
    assert errors["n_frames"] == 1200
    assert set(errors["per_species"]) == {"H", "C", "O"}
    assert errors["forces_rmse_meV_per_A"] >= errors["forces_mae_meV_per_A"] > 0
    again = run("train", tiny_yaml, "-o", tmp_path / "run")
    assert (again.returncode, "already holds a run" in again.stderr) == (2, True)


def test_interrupt_saves_and_exits_130(tiny_yaml, tmp_path):
    command = [sys.executable, "-m", "toolkit", "train", str(tiny_yaml), "--set", "max_epochs=5000", "-o", str(tmp_path / "run")]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    deadline = time.time() + 60
    while not (tmp_path / "run" / "metrics.jsonl").exists() and time.time() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert (tmp_path / "run" / "checkpoints" / "last" / "state.json").exists()
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "stopped"


def test_md_and_its_analysis(aspirin_model, tmp_path):
    done = run("md", aspirin_model, "embedded:aspirin", "--steps", 60, "--save-every", 2, "--replicas", 2, "--seed", 3,
               "--temperature-K", 300, "-o", tmp_path / "a.h5", "--json", tmp_path / "md.json", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "md.json").read_text())
    assert {"trajectory", "steps_per_s", "replica_steps_per_s", "ns_per_day", "temperature_mean_K", "temperature_sem_K",
            "energy_drift_meV_per_atom_per_ps", "energy_drift_meV_per_atom_per_ps_stderr", "stable_fraction"} <= result.keys()
    assert result["steps_per_s"] < result["replica_steps_per_s"] <= 2.001 * result["steps_per_s"]  # one may break
    assert len(result["breaks"]) == done.stderr.count("note: replica ")
    hot = run("md", aspirin_model, "embedded:aspirin", "--steps", 4, "--replicas", 2, "--max-temperature-K", 1, "-o", tmp_path / "b.h5",
              "--json", tmp_path / "hot.json", "--device", "cpu")
    assert hot.returncode == 0 and hot.stderr.count("note: replica ") == 2 and "above 1 K" in hot.stderr
    assert {broken["replica"] for broken in json.loads((tmp_path / "hot.json").read_text())["breaks"]} == {0, 1}
    done = run("analyze", "rdf", tmp_path / "a.h5", "--json", tmp_path / "rdf.json")
    assert done.returncode == 0, done.stderr
    rdf = json.loads((tmp_path / "rdf.json").read_text())
    density = np.array(rdf["pairs"]["C-C"]["values"])
    assert 1.3 < rdf["r_A"][int(np.argmax(density * (np.array(rdf["r_A"]) < 1.8)))] < 1.6
    assert run("analyze", "energy", tmp_path / "a.h5").returncode == 0
    for option, value in (("--skip-ps", "nan"), ("--skip-ps", "inf"), ("--r-max", "inf")):
        done = CliRunner().invoke(app, ["analyze", "rdf", str(tmp_path / "a.h5"), option, value])
        assert (done.exit_code, len(done.output.splitlines())) == (2, 1), done.output


def test_inspect_reports_units_and_species(tmp_path):
    done = run("data", "inspect", "embedded:ethanol", "--json", tmp_path / "i.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "i.json").read_text())
    assert "eV" in json.dumps(report)
    assert "GFN2" in json.dumps(report) or "ethanol" in json.dumps(report)


def _npz(path: Path, **changes) -> Path:
    from toolkit.data.formats import read_frames

    frames = read_frames("embedded:ethanol").frames[:40]
    arrays = {"R": np.array([a.positions for a in frames]), "z": frames[0].numbers,
              "E": np.array([a.get_potential_energy() for a in frames]), "F": np.array([a.get_forces() for a in frames])}
    np.savez(path, **{**arrays, **{key: change(arrays[key]) for key, change in changes.items()}})
    return path


def _truncated(path: Path) -> Path:
    path.write_bytes(_npz(path).read_bytes()[:2000])
    return path


def _nan(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[7, 0, 0] = np.nan
    return values


def _silver(path: Path) -> Path:
    frames = read(_xyz(path), ":")
    for atoms in frames:
        atoms.numbers[0] = 47
    write(path, frames)
    return path


def _xyz(path: Path) -> Path:
    from toolkit.data.formats import read_frames

    write(path, read_frames("embedded:ethanol").frames[:30])
    return path


BAD_INPUT = {
    "no such file": (lambda t, m: ["evaluate", m, t / "none.xyz"], "found nothing at"),
    "truncated npz": (lambda t, m: ["evaluate", m, _truncated(t / "a.npz")], "not a complete NumPy .npz archive"),
    "nan forces": (lambda t, m: ["evaluate", m, _npz(t / "a.npz", F=_nan)], "NaN"),
    "flipped forces": (lambda t, m: ["evaluate", m, _npz(t / "a.npz", F=np.negative)], "sign"),
    "unseen species": (lambda t, m: ["evaluate", m, _silver(t / "a.extxyz")], "this model knows only"),
    "no such model": (lambda t, m: ["evaluate", "nonsense", "embedded:ethanol"], "found no model 'nonsense'"),
    "unknown config field": (lambda t, m: ["train", _text(t / "c.yaml", "data: {train: x}\nmodle: {}\n")], "modle: unknown field"),
    "unknown md option": (lambda t, m: ["md", m, "embedded:aspirin", "--temprature-K", "300"], "unknown options ['temprature_K']"),
    "md value out of range": (lambda t, m: ["md", m, "embedded:aspirin", "--timestep-fs", "-1"], "timestep_fs"),
    "unwritable folder": (lambda t, m: ["md", m, "embedded:aspirin", "-o", _text(t / "file", "") / "a.h5"], "cannot write"),
    "not a trajectory": (lambda t, m: ["analyze", "rdf", _text(t / "a.h5", "hello")], "cannot read the trajectory"),
    "misspelt reading option": (lambda t, m: ["data", "inspect", "embedded:ethanol", "--energy-unt=eV"],
                                "options ['energy_unt']"),
    "another source as option": (lambda t, m: ["evaluate", m, "embedded:ethanol", "--train", "x"], "options ['train']"),
    "nothing to inspect": (lambda t, m: ["data", "inspect", "--energy-unit", "eV"], "expected a file to look at"),
    "no such kind of device": (lambda t, m: ["bench", "infer", "--device", "xpu"], "found device 'xpu'"),
    "resume without a run": (lambda t, m: ["train", _text(t / "c.yaml", "data: {train: x}"), "--resume"], "add -o RUN_DIR"),
}


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("case", sorted(BAD_INPUT))
def test_bad_input_gets_one_line_and_exit_code_2(aspirin_model, tmp_path, case):
    words, message = BAD_INPUT[case]
    done = run(*words(tmp_path, aspirin_model), cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]


def test_the_model_folder_of_an_interrupted_run_is_not_half_written(tiny_yaml, tmp_path):
    """A kill at any moment leaves a loadable best model or none."""
    from toolkit.models.potential import load_potential

    command = [sys.executable, "-m", "toolkit", "train", str(tiny_yaml), "--set", "max_epochs=5000", "-o", str(tmp_path / "run")]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 60
    while not (tmp_path / "run" / "model" / "config.json").exists() and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert load_potential(tmp_path / "run", device="cpu").species == ("H", "C", "O")


def test_a_full_disk_gets_one_line(tiny_yaml, tmp_path):
    """File sizes are limited (RLIMIT_FSIZE), so that writing the weights fails as it does on a full disk."""
    command = [sys.executable, "-m", "toolkit", "train", str(tiny_yaml), "-o", str(tmp_path / "full")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)))
    assert done.returncode == 2, done.stderr
    assert [line.partition(":")[0] for line in done.stderr.strip().splitlines()] == ["note", "error"]
    assert "cannot write" in done.stderr
    assert "free space" in done.stderr
    assert list((tmp_path / "full").rglob("*.tmp")) == []


def test_inspect_names_faults_and_strict_fails_on_them(tmp_path):
    path = _npz(tmp_path / "flipped.npz", F=np.negative)
    done = run("data", "inspect", path, "--json", tmp_path / "i.json")
    assert done.returncode == 0 and "Forces have the wrong sign" in done.stdout, done.stderr
    findings = json.loads((tmp_path / "i.json").read_text())["findings"]
    assert findings[0]["kind"] == "force_sign" and findings[0]["severity"] == "error"
    assert set(findings[0]) == {"kind", "severity", "file", "title", "evidence", "numbers", "n_frames", "frames", "advice"}
    assert run("data", "inspect", path, "--strict").returncode == 1
    assert run("data", "inspect", _npz(tmp_path / "clean.npz"), "--strict").returncode == 0


@pytest.mark.parametrize("options", [("--energy-unit", "kcal/mol", "--forces-key", "F"),
                                     ("--energy-unit=kcal/mol", "--forces-key=F")])
def test_inspect_reads_as_told_and_tells_files_from_options(tmp_path, options):
    first, second = (str(_npz(tmp_path / name)) for name in ("a.npz", "b.npz"))
    done = CliRunner().invoke(app, ["data", "inspect", first, *options, second, "--json", str(tmp_path / "i.json")])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "i.json").read_text())
    assert {report[name]["units"]["energy"] for name in (first, second)} == {"kcal/mol"}
    assert "declared as kcal/mol" in done.output


def test_what_is_interrupted_says_so_and_exits_130(aspirin_model, tmp_path, monkeypatch):
    move = ConsoleReporter.update

    def interrupted(self: ConsoleReporter, step: int, total: int, message: str = "") -> None:
        move(self, step, total, message)
        self.interrupted = True

    monkeypatch.setattr(ConsoleReporter, "update", interrupted)
    words = [str(aspirin_model), "embedded:ethanol", "--device", "cpu", "--json"]
    done = CliRunner().invoke(app, ["evaluate", *words, str(tmp_path / "e.json")])
    errors = json.loads((tmp_path / "e.json").read_text())
    assert (done.exit_code, errors["n_frames"], errors["stopped"]) == (130, 50, True), done.output
    done = CliRunner().invoke(app, ["modes", *words, str(tmp_path / "m.json"), "-o", str(tmp_path / "modes")])
    assert (done.exit_code, json.loads((tmp_path / "m.json").read_text())) == (130, {}), done.output


def test_the_catalogue_is_listed_whole_with_what_stands_in_the_way(tmp_path):
    done = CliRunner().invoke(app, ["data", "catalog", "--json", str(tmp_path / "c.json")])
    rows = [line.split()[1] for line in done.output.splitlines() if line.startswith("│ ") and line[2] != " "]
    told = json.loads((tmp_path / "c.json").read_text())
    assert done.exit_code == 0 and rows == list(CATALOG) == list(told)
    assert told["rmd17_aspirin"].endswith("licence CC0-1.0") and "accept_unverified" in told["qm7"]


def test_paths_are_printed_as_they_are(capsys):
    show_result("In /data/run[old]", {"file": "/data/run[old]/:x:.h5", "closing": "[/old]"}, None)
    show_passport("Passport of [/old]", ["check", "question"], [["symmetry", "asked"]])
    printed = capsys.readouterr().out
    for text in ("In /data/run[old]", "/data/run[old]/:x:.h5", "Passport of [/old]"):
        assert text in printed


@pytest.mark.parametrize("words", [("evaluate", "ethanol_s", "x" * 300), ("evaluate", "x" * 300, "embedded:ethanol"),
                                   ("data", "inspect", "x" * 300)])
def test_a_path_that_cannot_be_looked_at_is_one_line(words):
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert "File name too long" in done.stderr
