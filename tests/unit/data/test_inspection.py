"""The inspection finds what was planted, and says it in a form that programs can read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from tests.unit.data.corruptions import relabelled
from toolkit.data.detective.copies import duplicates, leakage
from toolkit.data.detective.findings import Finding
from toolkit.data.formats import FrameSet, read_frames
from toolkit.data.inspection import Inspection, frame_table, inspect_sources


@pytest.fixture
def frame_set(npz_file) -> FrameSet:
    return read_frames(str(npz_file()))


@pytest.fixture
def inspect(tmp_path: Path) -> Callable[[list[Atoms]], Inspection]:
    def look(frames: list[Atoms]) -> Inspection:
        write(tmp_path / "planted.xyz", frames, format="extxyz")
        return inspect_sources([str(tmp_path / "planted.xyz")])
    return look


def found(inspection: Inspection, kind: str) -> Finding:
    return next(finding for finding in inspection.findings if finding.kind == kind)


def test_summary_of_clean_data(npz_file, frame_set: FrameSet) -> None:
    inspection = inspect_sources([str(npz_file())])
    summary = inspection.to_dict()
    assert json.loads(json.dumps(summary, allow_nan=False)) == json.loads(json.dumps(summary))
    assert summary["n_frames"] == summary["n_usable_frames"] == 300
    assert summary["species"] == {"C": 600, "H": 1800, "O": 300} and summary["compositions"] == {"C2H6O": 300}
    assert summary["n_atoms"] == {"min": 9, "max": 9, "mean": 9.0}
    assert summary["units"]["energy"] == "eV" and "Badger" in summary["units"]["evidence"]
    assert summary["duplicates"] == {"n_repeated": 0, "n_conflicting": 0, "groups": []}
    assert summary["suspicious"] == [] and not inspection.has_errors
    assert {finding["kind"] for finding in summary["findings"]} == {"read", "units", "undetermined_e0"}
    forces = np.array([atoms.get_forces() for atoms in frame_set.frames])
    assert summary["forces"]["rms_eV_per_A"] == pytest.approx(np.sqrt(np.mean(forces**2)))
    energies = np.array([atoms.get_potential_energy() for atoms in frame_set.frames])
    assert summary["energy"]["spread_meV_per_atom"] == pytest.approx(1e3 * energies.std() / 9)


def test_a_file_without_labels_is_no_error(tmp_path: Path) -> None:
    write(tmp_path / "plain.xyz", Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]]), format="extxyz")
    inspection = inspect_sources([str(tmp_path / "plain.xyz")])
    summary = inspection.to_dict()
    assert summary["energy"] is None and summary["forces"] is None and summary["reference_energies"] is None
    assert {"missing_energy", "missing_forces"} <= {finding.kind for finding in inspection.findings}
    json.dumps(summary, allow_nan=False)


def test_several_files_are_compared_with_the_first(frame_set: FrameSet, tmp_path: Path) -> None:
    frames = [relabelled(atoms) for atoms in frame_set.frames]
    paths = [str(tmp_path / f"{name}.xyz") for name in ("train", "test")]
    write(paths[0], frames[:200], format="extxyz")
    write(paths[1], [*frames[200:], frames[3]], format="extxyz")
    summary = inspect_sources(paths).to_dict()
    assert summary["leakage"][paths[1]]["copies"] == [100] and summary[paths[0]]["n_frames"] == 200
    assert summary["findings"][0]["kind"] == "leaked_frames" and summary["findings"][0]["frames"] == [100]


def test_energies_of_another_method_are_noticed(frame_set: FrameSet, tmp_path: Path) -> None:
    frames = [relabelled(atoms) for atoms in frame_set.frames]
    for name, offset in (("train", 0.0), ("same", 0.0), ("other", 3.0)):
        part = frames[:150] if name == "train" else frames[150:]
        write(tmp_path / f"{name}.xyz", [relabelled(atoms, energy=atoms.calc.results["energy"] + offset)
                                         for atoms in part], format="extxyz")
    inspection = inspect_sources([str(tmp_path / f"{name}.xyz") for name in ("train", "same", "other")])
    offsets = [finding for finding in inspection.findings if finding.kind == "energy_offset"]
    assert [Path(finding.file).stem for finding in offsets] == ["other"]
    assert offsets[0].numbers["offset_meV_per_atom"] == pytest.approx(3000.0 / 9, rel=0.02)


def test_planted_outliers_are_named(frame_set: FrameSet, inspect) -> None:
    frames = [relabelled(atoms) for atoms in frame_set.frames[:100]]
    frames[7].calc.results["forces"][0, 0] += 40.0
    frames[20].calc.results["energy"] += 30.0
    frames[30].calc.results["forces"][:] = 0.0
    frames[40].positions[5] = frames[40].positions[6] + 0.1
    frames[50].positions[8] += 9.0
    inspection = inspect(frames)
    for kind, frame, text in (
            ("net_force", 7, "40.0"), ("force_outlier", 7, "times the RMS"),
            ("energy_outlier", 20, "standard deviations"), ("zero_forces", 30, "Frame 30"),
            ("short_distance", 40, "H5 and H6 are 0.17 Å"), ("fragments", 50, "pieces")):
        assert found(inspection, kind).frames == (frame,) and text in found(inspection, kind).evidence, kind
    listed = {entry["frame"] for entry in inspection.to_dict()["suspicious"]}
    assert listed == {7, 20, 30, 40, 50}


def test_places_count_frames_that_were_set_aside(frame_set: FrameSet, inspect) -> None:
    frames = [relabelled(atoms) for atoms in frame_set.frames[:60]]
    frames[2].calc.results["energy"] = np.nan
    frames[20].calc.results["energy"] += 30.0
    inspection = inspect(frames)
    assert found(inspection, "nan").frames == (2,) and found(inspection, "energy_outlier").frames == (20,)
    summary = inspection.to_dict()
    assert (summary["n_frames"], summary["n_usable_frames"]) == (60, 59) and inspection.has_errors
    file = inspection.files[0]
    table = frame_table(file, file)
    assert table["frame"].tolist() == [t for t in range(60) if t != 2] and np.isfinite(table["energy_eV"]).all()


def test_constant_drifting_and_zero_energies(frame_set: FrameSet, inspect) -> None:
    frames = frame_set.frames[:200]
    constant = inspect([relabelled(atoms, energy=-300.0) for atoms in frames])
    assert found(constant, "constant_energy").severity == "error"
    energies = [atoms.get_potential_energy() for atoms in frames]
    drifting = inspect([relabelled(atoms, energy=energies[t] + 0.01 * t) for t, atoms in enumerate(frames)])
    assert found(drifting, "energy_drift").numbers["drift_eV"] == pytest.approx(2.0, rel=0.1)
    zero = inspect([relabelled(atoms, energy=0.0 if t == 9 else energies[t]) for t, atoms in enumerate(frames)])
    assert found(zero, "missing_energy").frames == (9,)


def test_exact_turned_and_conflicting_copies(frame_set: FrameSet, inspect) -> None:
    frames = [relabelled(atoms) for atoms in frame_set.frames[:40]]
    turned = relabelled(frames[6])
    turned.rotate(40.0, (1, 2, 3))
    planted = [*frames, frames[2], relabelled(frames[4], energy=frames[4].calc.results["energy"] + 0.5), turned]
    assert duplicates(planted) == {"n_repeated": 2, "n_conflicting": 1, "groups": [[2, 40], [4, 41]]}
    inspection = inspect(planted)
    assert found(inspection, "duplicates").frames == (40, 41)
    assert found(inspection, "conflicting_labels").frames == (4, 41)
    assert found(inspection, "near_duplicates").frames == (42,)


def test_correlated_trajectories_are_noticed(frame_set: FrameSet, inspect) -> None:
    order = np.argsort([atoms.get_potential_energy() for atoms in frame_set.frames])
    inspection = inspect([relabelled(frame_set.frames[t]) for t in order])
    assert found(inspection, "correlated_frames").numbers["energy_autocorrelation"] > 0.9
    assert "blocks" in found(inspection, "correlated_frames").advice


def test_leakage_sees_copies_turned_copies_and_near_copies(frame_set: FrameSet) -> None:
    train, test = frame_set.frames[:200], frame_set.frames[200:]
    assert leakage(train, test) == {"n_test": 100, "n_copies": 0, "n_near_copies": 0, "copies": [], "near_copies": []}
    turned, near = train[5].copy(), train[9].copy()
    turned.rotate(40.0, (1, 2, 3))
    near.rattle(0.003, seed=1)
    leaked = leakage(train, [test[0], train[3], turned, near, test[1]])
    assert (leaked["copies"], leaked["near_copies"]) == ([1], [2, 3])


def test_leakage_between_periodic_frames_wrapped_differently() -> None:
    frames = []
    for seed in range(4):
        crystal = bulk("Cu", a=3.6, cubic=True)
        crystal.rattle(0.1, seed=seed)
        frames.append(crystal)
    moved = frames[1].copy()
    moved.positions += 2.0 * moved.cell.array[0]
    assert leakage(frames[:3], [frames[3], moved])["near_copies"] == [1]


@pytest.mark.shared
def test_neighbours_in_time_of_rmd17_are_counted(shared_data: Path) -> None:
    """The published split of aspirin has 50 test frames within 5 steps of a training frame and 170 within 20."""
    folder = shared_data / "rmd17"
    inspection = inspect_sources([str(folder / f"rmd17_aspirin_{name}_01.npz") for name in ("train", "test")])
    split = found(inspection, "correlated_split")
    assert split.severity == "info" and 50 <= split.numbers["n_correlated"] <= 170
    steps = [np.load(folder / f"rmd17_aspirin_{name}_01.npz")["old_indices"] for name in ("train", "test")]
    gaps = np.abs(steps[1][:, None] - steps[0][None]).min(axis=1)
    assert set(np.flatnonzero(gaps <= 3)) <= set(split.frames) and gaps[list(split.frames)].max() <= 30
