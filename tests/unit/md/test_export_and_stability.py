"""Trajectories for other programs, and how sure a fraction of stable replicas is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import units
from ase.io import read
from scipy.stats import binom
from typer.testing import CliRunner

from md_systems import argon, argon_potential
from test_trajectory_files import StopAt
from toolkit.commands.trajectory import app
from toolkit.config import MDConfig, parse_config
from toolkit.errors import ConfigError, DataError, StorageError
from toolkit.md.export import export_trajectory
from toolkit.md.simulation import simulate
from toolkit.md.stability import stable_fraction
from toolkit.md.trajectory import Break, Trajectory

CONFIG = MDConfig(temperature_K=60.0, timestep_fs=5.0, steps=60, save_every=5, replicas=2, seed=7)


def run(path=None, **changes) -> Trajectory:
    return simulate(argon_potential(), argon(1), CONFIG.model_copy(update=changes), path)


@pytest.mark.parametrize("name", ["a.xyz", "a.extxyz", "a.traj"])
@pytest.mark.parametrize("ensemble", ["langevin", "npt"])
def test_exported_frames_are_those_of_the_trajectory(tmp_path, name, ensemble):
    trajectory = run(ensemble=ensemble)
    assert export_trajectory(trajectory, tmp_path / name, slice(None, None, 4), replica=1) == 4
    frames = read(tmp_path / name, ":")
    assert len(frames) == 4
    assert np.abs(frames[-1].positions - trajectory.positions()[12, 1]).max() < 1e-6
    assert np.abs(frames[-1].get_velocities() * units.fs - trajectory.velocities()[12, 1]).max() < 1e-8
    assert np.abs(frames[2].cell.array - trajectory.cells()[8, 1]).max() < 1e-7
    assert frames[1].get_potential_energy() == pytest.approx(trajectory.potential_energy_eV[4, 1], abs=1e-7)
    assert [f.info.get("time_fs", 100.0 * i) for i, f in enumerate(frames)] == [0.0, 100.0, 200.0, 300.0]
    assert frames[-1].pbc.all()


def test_what_cannot_be_exported_is_refused_and_a_stop_keeps_the_beginning(tmp_path, monkeypatch):
    trajectory = run()
    with pytest.raises(StorageError, match="cannot write"):
        export_trajectory(trajectory, tmp_path / "absent" / "a.xyz")
    with pytest.raises(DataError, match="expected one of .xyz"):
        export_trajectory(trajectory, tmp_path / "a.pdb")
    with pytest.raises(DataError, match="found replica 2"):
        export_trajectory(trajectory, tmp_path / "a.xyz", replica=2)
    (tmp_path / "kept.xyz").write_text("of before")
    with pytest.raises(DataError, match="found no frame to write"):
        export_trajectory(trajectory, tmp_path / "kept.xyz", slice(5000, None))
    assert (tmp_path / "kept.xyz").read_text() == "of before"
    monkeypatch.setattr("toolkit.md.export.REPORT_EVERY", 3)
    assert export_trajectory(trajectory, tmp_path / "a.xyz", reporter=StopAt(2)) == 6
    assert len(read(tmp_path / "a.xyz", ":")) == 6


def test_export_from_the_command_line(tmp_path):
    run(tmp_path / "a.h5").close()
    arguments = ["export", str(tmp_path / "a.h5"), "-o", str(tmp_path / "b.xyz"), "--start", "2", "--every", "5"]
    result = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "r.json")])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "r.json").read_text())["n_frames"] == 3 == len(read(tmp_path / "b.xyz", ":"))
    assert CliRunner().invoke(app, ["export", str(tmp_path / "absent.h5"), "-o", "b.xyz"]).exit_code == 2


class Broken:
    """A trajectory of which only the fate of the replicas matters."""

    def __init__(self, num_replicas: int, break_times_fs: list[float]) -> None:
        self.num_replicas, self.steps_done, self.timestep_fs = num_replicas, 1000, 1.0
        self.breaks = [Break(r, t, "", np.zeros((1, 3))) for r, t in enumerate(break_times_fs)]


def test_the_stable_fraction_falls_at_every_break():
    stable = stable_fraction(Broken(4, [300.0, 100.0]))
    assert stable.times_fs.tolist() == [0.0, 100.0, 300.0, 1000.0]
    assert stable.fraction.tolist() == [1.0, 0.75, 0.5, 0.5]
    assert (stable.low < stable.fraction).all() and stable.high[0] == 1.0
    assert stable.high[-1] == pytest.approx(0.85, abs=0.01)
    assert stable_fraction(Broken(4, [100.0]), np.array([99.0, 100.0])).fraction.tolist() == [1.0, 0.75]


@pytest.mark.parametrize("truth", [0.5, 0.9])
def test_the_interval_covers_the_truth_nineteen_times_of_twenty(truth):
    replicas = 40
    covered = 0.0
    for whole in range(replicas + 1):
        last = stable_fraction(Broken(replicas, [1.0] * (replicas - whole)), np.array([10.0]))
        covered += binom(replicas, truth).pmf(whole) * (last.low[0] <= truth <= last.high[0])
    assert 0.92 < covered < 0.985


@pytest.mark.parametrize(("fields", "words"), [
    ({"ladder_K": "300,320", "replicas": 3}, "expected 3 temperatures"),
    ({"ladder_K": "300,320", "replicas": 2, "final_temperature_K": 10.0}, "exclude each other"),
    ({"ensemble": "csvr", "temperature_K": 0.0}, "above 0 K"),
    ({"ensemble": "npt", "final_temperature_K": 0.0}, "above 0 K"),
    ({"ensemble": "nose-hoover", "thermostat_fs": 4.0}, "10 time steps"),
    ({"max_bond_change_A": 0.0}, "greater than 0")])
def test_settings_that_make_no_sense_are_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        parse_config(MDConfig, fields)


def test_settings_from_the_command_line():
    config = parse_config(MDConfig, {"ladder_K": "300,320", "replicas": "2", "max_bond_change_A": "none"})
    assert config.start_temperatures_K == (300.0, 320.0) and config.hottest_K == 320.0
    assert config.max_bond_change_A is None
    ramp = parse_config(MDConfig, {"temperature_K": "100", "final_temperature_K": "500", "steps": "200"})
    assert ramp.heating_K_per_step == 2.0 and ramp.hottest_K == 500.0
