"""Frames that a model knows already, which say nothing of how it does on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from toolkit.config import DataConfig, TrainConfig, parse_config
from toolkit.data.datasets import Splits, load_splits
from toolkit.data.detective.copies import known_frames, leakage
from toolkit.data.formats import is_here, locate
from toolkit.errors import ToolkitError
from toolkit.models.folders import find_model
from toolkit.storage import read_json

MAX_TRAINING_BYTES = 200_000_000
"""Larger training files are not read to look for frames that a model has seen."""
MAX_COMPARED = 20_000
"""Frames of a training that are compared with each other, in all."""


def seen_frames(metrics: Mapping[str, Any], frames: Sequence[Atoms]) -> dict[str, int] | None:
    """How many of `frames` are, or nearly are, training frames of the model; None when these are not on this disk, and
    when none are but the training went on from another model, of whose frames nothing is known here.

    metrics : what metrics.json holds. Copies to 1e-5 Å and conformations within 0.02 Å (RMS of distances) are counted,
    see `leakage`.
    """
    learned = _learned(metrics)
    if learned is None:
        return None
    found = leakage(learned, frames)
    seen = {name: found[name] for name in ("n_copies", "n_near_copies")}
    went_on = isinstance(metrics.get("data"), dict) and metrics["data"].get("start_from") is not None
    return None if went_on and not any(seen.values()) else seen


def known_judges(splits: Splits, start_from: str | None) -> dict[str, list[str]]:
    """What is to be said of `validation` and `test` frames that are learned from, here or by the model that a training goes
    on from, and of test frames that choose the best epoch. Large sets are not compared."""
    judges = {"validation": splits.val, "test": splits.test}
    notes: dict[str, list[str]] = {name: [] for name in judges}
    if len(splits.train) + len(splits.val) + len(splits.test) > MAX_COMPARED:
        return notes
    before = None if start_from is None else _learned(read_json(find_model(start_from) / "metrics.json") or {})
    for name, frames in judges.items():
        found = {"training frames: errors on them say nothing about others": len(known_frames(splits.train, frames)),
                 f"training frames of {start_from}, which this training goes on from: split as it did":
                     0 if before is None else leakage(before, frames)["n_copies"]}
        if name == "test":
            found["validation frames, which choose the best epoch"] = len(known_frames(splits.val, frames))
        notes[name] += [f"{count} of the {len(frames)} {name} frames are {what}" for what, count in found.items() if count]
    return notes


def _learned(metrics: Mapping[str, Any]) -> Sequence[Atoms] | None:
    """The training frames that metrics.json names, None when they are not here, cannot be read or are too many."""
    try:
        data = parse_config(TrainConfig, metrics.get("train_config") or {}).data
        return load_splits(data).train if _is_readable(data) else None
    except ToolkitError:
        return None


def _is_readable(data: DataConfig) -> bool:
    """Whether all files are here, and not too large."""
    sources = [source for source in (data.train, data.val, data.test) if source is not None]
    return all(map(is_here, sources)) and sum(_size(locate(source)[0]) for source in sources) <= MAX_TRAINING_BYTES


def _size(path: Path) -> int:
    """Bytes of a file, or of all that lies in a folder."""
    return sum(part.stat().st_size for part in (path.iterdir() if path.is_dir() else [path]))
