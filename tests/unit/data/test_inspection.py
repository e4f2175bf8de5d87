"""The inspection finds what was planted."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from toolkit.data.formats import FrameSet, read_frames
from toolkit.data.inspection import duplicates, inspect_frames, leakage, suspicious_frames, time_correlation


@pytest.fixture
def frame_set(npz_file) -> FrameSet:
    return read_frames(str(npz_file()))


def _with(atoms: Atoms, **results: object) -> Atoms:
    changed = atoms.copy()
    changed.calc = SinglePointCalculator(changed, **{**atoms.calc.results, **results})
    return changed


def test_summary_of_clean_data(frame_set: FrameSet) -> None:
    summary = inspect_frames(frame_set)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["n_frames"] == 300 and summary["species"] == {"C": 600, "H": 1800, "O": 300}
    assert summary["compositions"] == {"C2H6O": 300} and summary["n_atoms"] == {"min": 9, "max": 9, "mean": 9.0}
    assert summary["units"]["energy"] == "eV" and "Badger" in summary["units"]["evidence"]
    assert summary["duplicates"] == {"n_repeated": 0, "n_conflicting": 0, "groups": []}
    assert summary["suspicious"] == [] and summary["correlation"]["advice"] == ""
    forces = np.array([atoms.get_forces() for atoms in frame_set.frames])
    assert summary["forces"]["rms_eV_per_A"] == pytest.approx(np.sqrt(np.mean(forces**2)))
    energies = np.array([atoms.get_potential_energy() for atoms in frame_set.frames])
    assert summary["energy"]["spread_meV_per_atom"] == pytest.approx(1e3 * energies.std() / 9)


def test_summary_without_labels() -> None:
    from dataclasses import replace

    plain = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]])
    report = replace(read_frames("embedded:ethanol").report, num_frames=1)
    summary = inspect_frames(FrameSet([plain], report))
    assert summary["energy"] is None and summary["forces"] is None
    json.dumps(summary, allow_nan=False)


def test_exact_and_conflicting_duplicates(frame_set: FrameSet) -> None:
    frames = frame_set.frames[:10]
    copy, conflict = frames[2].copy(), _with(frames[4], energy=-1.0)
    copy.calc = frames[2].calc
    assert duplicates([*frames, copy, conflict]) == {"n_repeated": 2, "n_conflicting": 1, "groups": [[2, 10], [4, 11]]}


def test_planted_outliers_are_named(frame_set: FrameSet) -> None:
    frames = list(frame_set.frames[:100])
    forces = frames[7].get_forces().copy()
    forces[0, 0] += 40.0
    frames[7] = _with(frames[7], forces=forces)
    frames[20] = _with(frames[20], energy=frames[20].get_potential_energy() + 30.0)
    frames[30] = _with(frames[30], forces=np.zeros((9, 3)))
    frames[40] = _with(frames[40])
    frames[40].positions[5] = frames[40].positions[6] + 0.1
    reasons = {entry["frame"]: entry["reason"] for entry in suspicious_frames(frames)}
    found = [(entry["frame"], entry["reason"]) for entry in suspicious_frames(frames)]
    assert {frame for frame, _ in found} == {7, 20, 30, 40}
    assert any(frame == 7 and "net force of 40.0" in reason for frame, reason in found)
    assert any(frame == 7 and "times the RMS" in reason for frame, reason in found)
    assert "standard deviations" in reasons[20] and "exactly zero" in reasons[30]
    assert "H5 and H6 are 0.17 Å" in reasons[40]


def test_correlated_trajectories_are_noticed(frame_set: FrameSet) -> None:
    slow = [_with(frame_set.frames[0], energy=-309.0 + np.sin(t / 8.0)) for t in range(100)]
    assert time_correlation(slow)["energy_autocorrelation"] > 0.9
    assert "split by blocks" in time_correlation(slow)["advice"]
    assert abs(time_correlation(frame_set.frames)["energy_autocorrelation"]) < 0.3


def test_leakage_sees_copies_turned_copies_and_near_copies(frame_set: FrameSet) -> None:
    train, test = frame_set.frames[:200], frame_set.frames[200:]
    assert leakage(train, test) == {"n_test": 100, "n_copies": 0, "n_near_copies": 0, "copies": [], "near_copies": []}
    turned, near = train[5].copy(), train[9].copy()
    turned.rotate(40.0, (1, 2, 3))
    near.rattle(0.003, seed=1)
    found = leakage(train, [test[0], train[3], turned, near, test[1]])
    assert (found["copies"], found["near_copies"]) == ([1], [2, 3])


def test_leakage_between_periodic_frames_wrapped_differently() -> None:
    frames = []
    for seed in range(4):
        crystal = bulk("Cu", a=3.6, cubic=True)
        crystal.rattle(0.1, seed=seed)
        frames.append(crystal)
    moved = frames[1].copy()
    moved.positions += 2.0 * moved.cell.array[0]
    assert leakage(frames[:3], [frames[3], moved])["near_copies"] == [1]
