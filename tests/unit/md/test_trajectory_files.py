"""Trajectory files: what is in them, resuming bit for bit, kills, full disks, damaged and hostile files."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from md_systems import argon, argon_potential
from toolkit.config import MDConfig
from toolkit.errors import ConfigError, DataError, StorageError, ToolkitError
from toolkit.md import pace, run_files
from toolkit.md.restart import restart_path
from toolkit.md.simulation import simulate
from toolkit.md.summary import _replica_steps, summarize
from toolkit.md.trajectory import Break, Trajectory
from toolkit.md.trajectory_writer import RESERVE_BYTES, trajectory_bytes
from toolkit.models.checkpoint import load_tensors, save_tensors
from toolkit.models.pair import LennardJones, pair_potential
from toolkit.models.potential import build_potential
from toolkit.progress import SilentReporter

CONFIG = MDConfig(temperature_K=60.0, timestep_fs=5.0, steps=60, save_every=5, replicas=2, seed=7)
ARRAYS = ("times_fs", "potential_energy_eV", "kinetic_energy_eV", "conserved_energy_eV", "temperature_K", "alive")


class StopAt(SilentReporter):
    """Asks to stop once it was asked `calls` times."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self.records: list[dict] = []
        self.updates: list[tuple[int, int, str]] = []

    def should_stop(self) -> bool:
        self.calls -= 1
        return self.calls < 0

    def metrics(self, record: dict) -> None:
        self.records.append(record)

    def update(self, step: int, total: int, message: str = "") -> None:
        self.updates.append((step, total, message))


def run(path: Path | None, config: MDConfig = CONFIG, **options) -> Trajectory:
    return simulate(argon_potential(), argon(1), config, path, **options)


def assert_same(first: Trajectory, second: Trajectory) -> None:
    assert first.num_frames == second.num_frames and first.steps_done == second.steps_done
    for name in ARRAYS:
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert np.array_equal(first.positions(), second.positions())
    assert np.array_equal(first.velocities(), second.velocities())


def test_file_says_everything_about_itself(tmp_path):
    path = tmp_path / "new" / "argon.h5"
    with run(path) as trajectory:
        assert (trajectory.num_frames, trajectory.num_replicas, trajectory.num_atoms) == (13, 2, 4)
        assert len(trajectory) == 13 and trajectory.path == path and not trajectory.stopped
        assert np.array_equal(trajectory.times_fs, 25.0 * np.arange(13))
        assert trajectory.frame_interval_fs == 25.0
        assert trajectory.positions(2, 9, 3).shape == (3, 2, 4, 3)
        assert trajectory.positions().dtype == np.float32 and trajectory.potential_energy_eV.dtype == np.float64
        assert np.array_equal(trajectory.positions(stop=-10), trajectory.positions()[:3])
        assert trajectory.positions(9, 2).shape[0] == 0
        assert trajectory.alive.all() and trajectory.breaks == []
        assert trajectory.config == CONFIG and "LennardJones" in trajectory.model
        chunks = list(trajectory.chunks("positions", 5, replica=1))
        assert [len(c) for c in chunks] == [5, 5, 3]
        assert np.array_equal(np.concatenate(chunks), trajectory.positions()[:, 1])
    with h5py.File(path) as file:
        attributes = dict(file.attrs)
        assert attributes["format_version"] == 2 and attributes["timestep_fs"] == 5.0
        assert attributes["save_interval_steps"] == 5 and json.loads(attributes["config"])["seed"] == 7
        assert np.array_equal(attributes["cell"], argon(1).cell.array) and attributes["pbc"].all()
        assert np.array_equal(file["masses"], argon(1).get_masses())
        assert file["velocities"].attrs["unit"] == "Å/fs"


def test_frames_as_atoms():
    trajectory = run(None)
    atoms = trajectory.to_atoms(-1, replica=1)
    assert atoms.get_temperature() == pytest.approx(trajectory.temperature_K[-1, 1], rel=1e-5)
    assert atoms.get_potential_energy() == trajectory.potential_energy_eV[-1, 1]
    assert atoms.info["time_fs"] == 300.0
    for frame, replica in ((13, 0), (-14, 0), (0, 2)):
        with pytest.raises(DataError, match="13 frames and 2 replicas"):
            trajectory.to_atoms(frame, replica)


def test_stop_and_resume_is_the_uninterrupted_run(tmp_path):
    whole = run(None)
    stopper = StopAt(23)
    first = run(tmp_path / "a.h5", reporter=stopper)
    assert first.stopped and first.steps_done == 23 and first.num_frames == 5
    assert stopper.updates[-1][:2] == (23, 60) and stopper.records[-1]["step"] == 23
    first.close()
    second = run(tmp_path / "a.h5", resume=True, reporter=StopAt(0))
    assert second.stopped and second.steps_done == 23
    second.close()
    third = run(tmp_path / "a.h5", resume=True)
    assert not third.stopped
    assert_same(third, whole)
    third.close()
    assert_same(run(tmp_path / "a.h5", resume=True), whole)  # finished already: nothing to do


def test_an_exception_keeps_what_was_computed_and_the_noise(tmp_path):
    class Interrupt(StopAt):
        def should_stop(self) -> bool:
            if super().should_stop():
                raise KeyboardInterrupt
            return False

    pot = argon_potential()
    inner, calls = pot.evaluate, []

    def failing(graph):
        calls.append(1)
        if len(calls) == 31:  # inside a step, after its noise was drawn
            raise DataError("the model gave up")
        return inner(graph)

    pot.evaluate = failing
    with pytest.raises(DataError, match="gave up"):
        simulate(pot, argon(1), CONFIG, tmp_path / "a.h5")
    assert Trajectory(tmp_path / "a.h5").steps_done == 29
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a.h5", resume=True, reporter=Interrupt(12))
    assert Trajectory(tmp_path / "a.h5").steps_done == 41
    assert_same(run(tmp_path / "a.h5", resume=True), run(None))


def test_more_steps_extend_a_finished_run(tmp_path):
    run(tmp_path / "a.h5").close()
    longer = CONFIG.model_copy(update={"steps": 400})
    assert_same(run(tmp_path / "a.h5", longer, resume=True), run(None, longer))


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from md_systems import argon, argon_potential
from toolkit.config import MDConfig
from toolkit.md import pace
from toolkit.md.simulation import simulate
pace.COMMIT_INTERVAL_S = 0.02
simulate(argon_potential(), argon(1), MDConfig.model_validate_json({config!r}), {path!r}, resume=True)
"""


def test_kill_9_loses_nothing_committed_and_resume_is_exact(tmp_path, root):
    config = CONFIG.model_copy(update={"steps": 900})
    path = tmp_path / "killed.h5"
    code = KILLED.format(tests=str(root / "tests"), config=config.model_dump_json(), path=str(path))
    reached = [1]
    for _ in range(2):
        worker = subprocess.Popen([sys.executable, "-c", code], cwd=root)
        give_up = time.monotonic() + 60.0
        while not (path.exists() and Trajectory(path).num_frames > reached[-1] + 20):  # readable while being written
            assert worker.poll() is None and time.monotonic() < give_up
            time.sleep(0.01)
        worker.send_signal(signal.SIGKILL)
        assert worker.wait() == -signal.SIGKILL
        with Trajectory(path) as partial:
            reached.append(partial.num_frames)
            assert partial.stopped and np.isfinite(partial.positions()).all()
            assert np.ptp(partial.positions(), axis=0).min() > 0.0
    assert reached[-1] < 181
    assert_same(run(path, config, resume=True), run(None, config))


def test_two_runs_cannot_write_one_file(tmp_path):
    run(tmp_path / "a.h5", reporter=StopAt(5)).close()
    path = str(tmp_path / "a.h5")
    code = f"import h5py, sys; f = h5py.File({path!r}, 'r+'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(StorageError, match="cannot write"):
            run(tmp_path / "a.h5", resume=True)
        other.stdin.close()
    assert not run(tmp_path / "a.h5", resume=True).stopped


def test_existing_files_are_not_overwritten(tmp_path):
    run(tmp_path / "a.h5").close()
    with pytest.raises(StorageError, match="exists already"):
        run(tmp_path / "a.h5")


@pytest.mark.parametrize(("change", "named"), [
    ({"seed": 8}, "seed"), ({"timestep_fs": 4.0}, "timestep_fs"), ({"steps": 10}, "steps")])
def test_resume_refuses_other_settings(tmp_path, change, named):
    run(tmp_path / "a.h5", reporter=StopAt(20)).close()
    with pytest.raises(ConfigError, match=named):
        run(tmp_path / "a.h5", CONFIG.model_copy(update=change), resume=True)


def test_resume_refuses_other_weights_and_another_charge(tmp_path):
    """Two physics in one file are none."""
    run(tmp_path / "a.h5", reporter=StopAt(20)).close()
    other = pair_potential(LennardJones(("Ar",), 0.02, 3.4, 6.0))
    with pytest.raises(ConfigError, match="other weights"):
        simulate(other, argon(1), CONFIG, tmp_path / "a.h5", resume=True)
    charged = argon(1)
    charged.info["charge"] = 1.0
    with pytest.raises(DataError, match="does not belong"):
        simulate(argon_potential(), charged, CONFIG, tmp_path / "a.h5", resume=True)
    run(tmp_path / "a.h5", resume=True).close()


def test_resume_refuses_another_precision_and_another_frame(tmp_path, small_config, ethanol):
    config = CONFIG.model_copy(update={"timestep_fs": 0.5, "max_bond_change_A": None})
    accurate, fast = (build_potential(small_config, dtype=dtype) for dtype in ("float64", "float32"))
    simulate(accurate, ethanol, config, tmp_path / "a.h5", reporter=StopAt(20)).close()
    with pytest.raises(ConfigError, match=r"in torch.float64, found torch.float32"):
        simulate(fast, ethanol, config, tmp_path / "a.h5", resume=True)
    moved = ethanol.copy()
    moved.positions[0] += 0.1
    with pytest.raises(DataError, match="begins at another structure"):
        simulate(accurate, moved, config, tmp_path / "a.h5", resume=True)
    simulate(accurate, ethanol, config, tmp_path / "a.h5", resume=True).close()


def test_systems_that_do_not_fit_together_are_refused_at_once(tmp_path, monkeypatch):
    size = trajectory_bytes(argon(1), CONFIG)
    disk = namedtuple("disk", "total used free")(0, 0, RESERVE_BYTES + int(1.5 * size))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: disk)
    with pytest.raises(StorageError, match="MiB free"):
        simulate(argon_potential(), [argon(1)] * 4, CONFIG, tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


def test_files_of_systems_are_all_there_or_none(tmp_path, monkeypatch):
    create = run_files.create_on_disk

    def fails_at_the_third(path: Path, *given: object) -> object:
        if path.name == "a.2.h5":
            raise StorageError("no more")
        return create(path, *given)

    monkeypatch.setattr(run_files, "create_on_disk", fails_at_the_third)
    with pytest.raises(StorageError, match="no more"):
        simulate(argon_potential(), [argon(1)] * 4, CONFIG, tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


def test_frames_of_an_ion_have_its_charge(tmp_path):
    cation = argon(1)
    cation.info["charge"] = 1
    with simulate(argon_potential(), cation, CONFIG, tmp_path / "a.h5") as trajectory:
        assert trajectory.to_atoms(-1).info["charge"] == 1.0
    with run(tmp_path / "b.h5") as trajectory:
        assert "charge" not in trajectory.to_atoms(-1).info


def test_resume_refuses_another_structure_or_a_lost_restart_point(tmp_path):
    run(tmp_path / "a.h5", reporter=StopAt(20)).close()
    with pytest.raises(DataError, match="does not belong"):
        simulate(argon_potential(), argon(2), CONFIG, tmp_path / "a.h5", resume=True)
    restart = restart_path(tmp_path / "a.h5")
    whole = restart.read_bytes()
    restart.write_bytes(whole[:100])
    with pytest.raises(ToolkitError, match="cannot read"):
        run(tmp_path / "a.h5", resume=True)
    restart.unlink()
    with pytest.raises(DataError, match="missing"):
        run(tmp_path / "a.h5", resume=True)
    assert Trajectory(tmp_path / "a.h5").num_frames == 5


def test_runs_of_one_and_of_several_systems_do_not_share_a_name(tmp_path):
    """Their restart points would be the same file."""
    several = [argon(1), argon(1)]
    for trajectory in simulate(argon_potential(), several, CONFIG, tmp_path / "a.h5", reporter=StopAt(20)):
        trajectory.close()
    whole = restart_path(tmp_path / "a.h5").read_bytes()
    with pytest.raises(StorageError, match=r"a.0.h5 exists already"):
        run(tmp_path / "a.h5")
    assert restart_path(tmp_path / "a.h5").read_bytes() == whole and not (tmp_path / "a.h5").exists()
    run(tmp_path / "b.h5", reporter=StopAt(20)).close()
    with pytest.raises(StorageError, match=r"b.h5 exists already"):
        simulate(argon_potential(), several, CONFIG, tmp_path / "b.h5")
    assert not (tmp_path / "b.0.h5").exists()
    shutil.copy(restart_path(tmp_path / "b.h5"), restart_path(tmp_path / "a.h5"))
    with pytest.raises(DataError, match="replicas in all"):
        simulate(argon_potential(), several, CONFIG, tmp_path / "a.h5", resume=True)


def test_a_run_from_before_there_were_inner_steps_goes_on(tmp_path):
    run(tmp_path / "a.h5", reporter=StopAt(20)).close()
    restart = restart_path(tmp_path / "a.h5")
    save_tensors({name: value for name, value in load_tensors(restart).items() if name != "inner_forces"}, restart)
    assert_same(run(tmp_path / "a.h5", resume=True), run(None))


def test_resume_starts_when_nothing_was_committed(tmp_path):
    assert_same(run(tmp_path / "a.h5", resume=True), run(None))
    run(tmp_path / "b.h5", reporter=StopAt(0)).close()
    restart_path(tmp_path / "b.h5").unlink()  # killed between the first frame and its restart point
    assert_same(run(tmp_path / "b.h5", resume=True), run(None))


def test_full_disk_is_one_line_and_keeps_the_committed_part(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    commits = []

    def disk_usage(_path):
        commits.append(1)
        return usage(1 << 40, 0, 1 << 40 if len(commits) < 4 else 1000)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    monkeypatch.setattr(pace, "COMMIT_INTERVAL_S", 0.0)
    with pytest.raises(StorageError, match="MiB free") as caught:
        run(tmp_path / "a.h5")
    assert "\n" not in str(caught.value)
    assert Trajectory(tmp_path / "a.h5").steps_done == 1
    monkeypatch.undo()
    assert_same(run(tmp_path / "a.h5", resume=True), run(None))


def test_too_large_or_unwritable_is_refused_at_the_start(tmp_path):
    huge = CONFIG.model_copy(update={"steps": 10**9, "replicas": 1000, "save_every": 1})
    with pytest.raises(StorageError, match="TiB more"):
        run(tmp_path / "a.h5", huge)
    with pytest.raises(ConfigError, match="GiB of memory"):
        run(None, huge)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        run(tmp_path / "file" / "a.h5")
    with pytest.raises(StorageError):
        run(Path("/proc/a.h5"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def damage(path: Path, how: str) -> None:
    """Spoil a good trajectory file."""
    whole = path.read_bytes()
    if how == "truncated":
        path.write_bytes(whole[:len(whole) // 3])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "garbage":
        path.write_bytes(bytes(range(256)) * 20)
    elif how == "absent":
        path.unlink()
    elif how == "folder":
        path.unlink()
        path.mkdir()
    else:
        with h5py.File(path, "r+") as file:
            damage_inside(file, how)


def damage_inside(file: h5py.File, how: str) -> None:
    """Spoil what an HDF5 file says."""
    if how == "too many frames":
        file["progress"][0] = 10**12
    elif how == "negative frames":
        file["progress"][0] = -1
    elif how == "newer":
        file.attrs["format_version"] = 99
    elif how == "no format":
        del file.attrs["format"]
    elif how == "bad config":
        file.attrs["config"] = '{"steps": -1}'
    elif how == "config no json":
        file.attrs["config"] = "{"
    elif how == "no cell":
        del file.attrs["cell"]
    else:
        del file["positions"]
        if how == "external link":
            file["positions"] = h5py.ExternalLink("/etc/passwd", "/x")
        elif how == "external data":
            file.create_dataset("positions", (13, 2, 4, 3), "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
        elif how == "text":
            file["positions"] = np.full((13, 2, 4, 3), b"x")
        elif how == "shape":
            file["positions"] = np.zeros((13, 2, 5, 3), dtype="f4")
        elif how == "dimensions":
            file["positions"] = np.zeros((13, 2), dtype="f4")
        elif how == "group":
            file.create_group("positions")


@pytest.mark.parametrize("how", [
    "truncated", "empty", "garbage", "absent", "folder", "too many frames", "negative frames", "newer", "no format",
    "bad config", "config no json", "no cell", "missing", "external link", "external data", "text", "shape",
    "dimensions", "group"])
def test_damaged_and_hostile_files_are_refused_in_one_line(tmp_path, how):
    path = tmp_path / "a.h5"
    run(path).close()
    damage(path, how)
    with pytest.raises(ToolkitError) as caught:
        Trajectory(path)
    assert "\n" not in str(caught.value) and isinstance(caught.value, DataError)


def test_summary_has_the_keys_of_the_contract(tmp_path):
    result = summarize(run(tmp_path / "a.h5"))
    assert {"trajectory", "steps_per_s", "replica_steps_per_s", "ns_per_day",
            "temperature_mean_K", "temperature_sem_K", "energy_drift_meV_per_atom_per_ps",
            "energy_drift_meV_per_atom_per_ps_stderr", "stable_fraction"} <= set(result)
    assert json.loads(json.dumps(result)) == result
    assert result["trajectory"] == str(tmp_path / "a.h5") and result["stable_fraction"] == 1.0
    assert result["replica_steps_per_s"] == pytest.approx(2 * result["steps_per_s"])
    assert result["ns_per_day"] == pytest.approx(result["steps_per_s"] * 5e-6 * 86400)
    assert summarize(run(None, CONFIG.model_copy(update={"steps": 5})))["temperature_mean_K"] is None


def test_steps_of_replicas_that_broke_are_counted_as_far_as_they_came():
    broken = Break(1, 5.0, "", np.zeros((1, 3)))
    assert _replica_steps(SimpleNamespace(breaks=[broken], timestep_fs=0.5, steps_done=100, num_replicas=3)) == 210.0


def test_a_file_of_the_first_version_is_still_read(root):
    """Two Langevin steps of four argon atoms, written by the version before baths had energies."""
    with Trajectory(root / "tests" / "unit" / "md" / "version1.h5") as old:
        assert (old.num_frames, old.num_atoms, old.ensemble, old.timestep_fs) == (3, 4, "langevin", 4.0)
        assert np.isfinite(old.positions()).all() and old.to_atoms(-1).info["time_fs"] == 8.0
        assert not old.variable_cell and np.array_equal(old.cells()[2, 0], old.cell)
        with pytest.raises(DataError, match="older version"):
            old.conserved_energy_eV  # noqa: B018
        assert summarize(old)["energy_drift_meV_per_atom_per_ps"] is None
