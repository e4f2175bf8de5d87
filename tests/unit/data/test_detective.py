"""Each of ten broken copies of real data is named for what it is, and the clean sets raise no such alarm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tests.unit.data.corruptions import CORRUPTIONS, CONSEQUENCES, leak, relabelled
from toolkit.data.detective.data_file import open_data
from toolkit.data.detective.detective import investigate
from toolkit.data.detective.findings import SEVERITIES, Finding
from toolkit.data.formats import read_frames

SETS = {
    "aspirin": ("embedded:aspirin", slice(0, 400, 4)),
    "ethanol": ("embedded:ethanol", slice(0, 120)),
    "rMD17 uracil": ("rmd17/rmd17_uracil_train_01.npz", slice(0, 100)),
    "3BPA": ("3bpa/train_300K.xyz.gz", slice(0, 60)),
    "Si AIMD": ("si_aimd_800K/sitraj.xyz.gz", slice(1, 61)),
    "NbMoTaW": ("snap_nbmotaw/NbMoTaW_test.extxyz.gz", slice(0, None, 3)),
}
"""Name -> source and frames: molecules at two levels of theory, a semiconductor and alloys with stress."""

ALARMS = {"leaked_frames", *CONSEQUENCES, *(kind for corruption in CORRUPTIONS.values() for kind in corruption.kinds)}
PARAMS = [pytest.param(name, marks=[] if source.startswith("embedded") else pytest.mark.shared)
          for name, (source, _) in SETS.items()]


@pytest.fixture(scope="module", params=PARAMS)
def clean(request: pytest.FixtureRequest, shared_data: Path) -> list[Atoms]:
    source, chosen = SETS[request.param]
    path = source if source.startswith("embedded") else str(shared_data / source)
    return [relabelled(atoms) for atoms in read_frames(path).frames[chosen]]


@pytest.fixture
def rng(clean: list[Atoms]) -> np.random.Generator:
    """Another seed for each set."""
    return np.random.default_rng(len(clean) * len(clean[0]))


def findings(folder: Path, *sets: list[Atoms]) -> list[Finding]:
    """What the detective says about frames written to extended XYZ files, which state eV and Å."""
    files = []
    for k, frames in enumerate(sets):
        write(folder / f"{k}.extxyz", frames, format="extxyz")
        files.append(open_data(str(folder / f"{k}.extxyz")))
    return investigate(files)


def alarms(found: list[Finding]) -> set[str]:
    return {finding.kind for finding in found} & ALARMS


def test_clean_sets_raise_no_alarm(clean: list[Atoms], tmp_path: Path) -> None:
    half = len(clean) // 2
    found = findings(tmp_path, clean[:half], clean[half:])
    assert alarms(found) == set() and "error" not in {finding.severity for finding in found}
    assert {"read", "units"} <= {finding.kind for finding in found}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_broken_copies_are_named(name: str, clean: list[Atoms], rng: np.random.Generator, tmp_path: Path) -> None:
    corruption = CORRUPTIONS[name]
    if not corruption.applies_to(clean):
        pytest.skip("nothing of the kind in this set")
    found = findings(tmp_path, corruption.apply(clean, rng))
    assert corruption.kinds <= alarms(found) <= corruption.kinds | corruption.consequences
    named = next(finding for finding in found if finding.kind in corruption.kinds)
    assert named.severity != "info" and named.advice and (named.evidence or named.frames)
    assert [f.severity for f in found] == sorted((f.severity for f in found), key=SEVERITIES.index)


def test_leaked_frames_are_named_though_turned(clean: list[Atoms], rng: np.random.Generator, tmp_path: Path) -> None:
    half = len(clean) // 2
    train, test = leak(clean[:half], clean[half:], rng)
    leaked = [finding for finding in findings(tmp_path, train, test) if finding.kind == "leaked_frames"]
    assert leaked[0].frames == tuple(range(len(clean) - half, len(test))) and leaked[0].severity == "error"


@pytest.mark.parametrize("first, second", [
    ("kcal for eV", "flipped forces"), ("Bohr for Å", "NaN"), ("duplicated frames", "missing energies"),
    ("permuted species", "duplicated frames"), ("shuffled forces", "missing energies"), ("flipped forces", "NaN")])
def test_two_faults_at_once_are_both_named(first: str, second: str, tmp_path: Path) -> None:
    frames = [relabelled(atoms) for atoms in read_frames("embedded:aspirin").frames[:150]]
    rng = np.random.default_rng(3)
    for name in (first, second):
        frames = CORRUPTIONS[name].apply(frames, rng)
    named = CORRUPTIONS[first].kinds | CORRUPTIONS[second].kinds
    assert named <= alarms(findings(tmp_path, frames)) <= named | CORRUPTIONS[first].consequences


def test_one_moved_atom_of_many_is_another_structure(tmp_path: Path) -> None:
    """Finite displacements of a crystal, and a molecule of more atoms than are compared at first."""
    crystal, rng = bulk("Cu", cubic=True) * (3, 3, 3), np.random.default_rng(0)
    displaced = [_with_labels(crystal, k, rng.normal(size=3), 0.01) for k in range(0, 108, 9)]
    assert not {"near_duplicates", "leaked_frames"} & alarms(findings(tmp_path, displaced))
    large = crystal * (2, 1, 1)
    moved = [_with_labels(large, 1, np.array([1.0, 0.0, 0.0]), step) for step in (0.0, 0.5)]
    assert "leaked_frames" not in alarms(findings(tmp_path, moved[:1], moved[1:]))
    assert "leaked_frames" in alarms(findings(tmp_path, moved[:1], moved[:1]))


def _with_labels(atoms: Atoms, k: int, direction: np.ndarray, step_A: float) -> Atoms:
    """A copy with atom k moved, and labels that are of no interest."""
    copy = atoms.copy()
    copy.positions[k] += step_A * direction / np.linalg.norm(direction)
    copy.calc = SinglePointCalculator(copy, energy=-3.5 * len(copy) + step_A**2, forces=np.zeros((len(copy), 3)))
    return copy


def test_crystals_are_compared_in_whatever_cell(tmp_path: Path) -> None:
    """Neighbours in time at constant pressure, copies whose cell was printed with four decimals, atoms moved to other images;
    and other cells, which are other structures."""
    crystal, rng = bulk("Ar", "fcc", a=5.3, cubic=True) * (2, 2, 2), np.random.default_rng(1)
    scaled, moved, frames = crystal.get_scaled_positions(), 0.08 * rng.normal(size=(32, 3)), []
    for k in range(240):
        moved = 0.998 * moved + 0.005 * rng.normal(size=moved.shape)
        cell = crystal.cell.array * (1.0 + 1e-3 * np.sin(k / 5.0))
        frame = Atoms(crystal.numbers, scaled @ cell + moved, cell=cell, pbc=True)
        frames.append(_with_labels(frame, 0, np.ones(3), 0.0))
    assert "correlated_split" in {found.kind for found in findings(tmp_path, frames[::2], frames[1::2])}
    copies = []
    for atoms in frames[:20:2]:
        copy = Atoms(atoms.numbers, atoms.positions.round(4), cell=atoms.cell.array.round(4), pbc=True)
        copy.positions[::3] += copy.cell.array[0]
        copies.append(_with_labels(copy, 0, np.ones(3), 0.0))
    leaked = [found for found in findings(tmp_path, frames[::2], copies) if found.kind == "leaked_frames"]
    assert leaked and len(leaked[0].frames) == 10
    strained = []
    for atoms in frames[:20:2]:
        other = atoms.copy()
        other.set_cell(1.02 * atoms.cell.array, scale_atoms=True)
        strained.append(_with_labels(other, 0, np.ones(3), 0.0))
    assert not {"leaked_frames", "correlated_split"} & {found.kind for found in findings(tmp_path, frames[::2], strained)}
