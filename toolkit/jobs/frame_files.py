"""Training, validation and test frames as extended XYZ in one folder, in eV and Å."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from toolkit.config import DataConfig, SplitConfig
from toolkit.data.extxyz import ENERGY_NAMES, FORCES_NAMES, STRESS_NAMES
from toolkit.storage import replacing

LABEL_NAMES = frozenset({*ENERGY_NAMES, *FORCES_NAMES, *STRESS_NAMES})
TRAIN, VAL, TEST = "train.extxyz", "val.extxyz", "test.extxyz"
"""The last only where there are test frames."""


def with_labels(atoms: Atoms, labels: Mapping[str, Any]) -> Atoms:
    """A copy with energy, forces … of its own, and without entries that a reader could take for others."""
    copy = atoms.copy()
    for table in (copy.info, copy.arrays):
        for key in [key for key in table if key.lower() in LABEL_NAMES]:
            del table[key]
    copy.calc = SinglePointCalculator(copy, **labels)
    return copy


def write_frames(path: Path, frames: Sequence[Atoms]) -> None:
    """Write frames with their labels as extended XYZ. Raises StorageError."""
    with replacing(path) as temporary:
        write(temporary, frames, format="extxyz")


def write_sets(folder: Path, train: Sequence[Atoms], val: Sequence[Atoms], test: Sequence[Atoms]) -> None:
    """Write the frames of each set that have labels; no file for a set without. Raises StorageError."""
    for name, frames in ((TRAIN, train), (VAL, val), (TEST, test)):
        labelled = [with_labels(atoms, atoms.calc.results) for atoms in frames if atoms.calc is not None]
        if labelled:
            write_frames(folder / name, labelled)


def named_sets(folder: Path) -> DataConfig:
    """The sets in a folder as data of a training. Without test frames none are taken from the others."""
    val, test = (str(folder / name) if (folder / name).is_file() else None for name in (VAL, TEST))
    return DataConfig(train=str(folder / TRAIN), val=val, test=test, split=SplitConfig(num_test=None if test else 0),
                      energy_unit="eV", length_unit="Å", forces_unit="eV/Å")
