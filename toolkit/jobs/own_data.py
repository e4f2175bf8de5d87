"""The data that a model says it was trained on: where they are, how they are read, and what else is read alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from toolkit.config import DataConfig, TrainConfig, parse_config
from toolkit.data.catalog import PREFIX as CATALOG_PREFIX
from toolkit.data.formats import FrameSet, is_here, read_frames
from toolkit.errors import DataError, ModelError
from toolkit.models.folders import find_model
from toolkit.progress import Reporter, tell
from toolkit.storage import read_json
from toolkit.training.seen import seen_frames

READING = "reading.json"
"""Beside files that were joined: how the last ones were read, so that others that come after them are read alike."""
UNITS, KEYS = ("energy_unit", "length_unit", "forces_unit"), ("energy_key", "forces_key", "stress_key")
READ_AS_BEFORE = (*UNITS, *KEYS, "stress_offset_GPa")


def own_recipe(model: str) -> TrainConfig:
    """How a model says it was trained. Raises ModelError when it does not say."""
    folder = find_model(model)
    values = (read_json(folder / "metrics.json") or {}).get("train_config") or read_json(folder.parent / "config.json")
    if not values:
        raise ModelError(f"{folder} does not say what it was trained on", "name a file with training frames")
    return parse_config(TrainConfig, values)


def own_data(model: str) -> DataConfig:
    """Data and split that a model says it was trained on. Raises ModelError when it does not say."""
    return own_recipe(model).data


def own_data_here(model: str) -> DataConfig:
    """As `own_data`. Raises ModelError, too, when a file of it is not on this machine."""
    data = own_data(model)
    for source in (data.train, data.val, data.test):
        if source is not None and not source.startswith(CATALOG_PREFIX) and not is_here(source):
            raise ModelError(f"{model} was trained on {source_name(source)}, which is not on this machine{_made_by(model)}",
                             "name the file with its frames, and how it is to be split")
    return data


def _made_by(model: str) -> str:
    """Where the commands are that make the model and its frames, if it has a card."""
    card = find_model(model) / "CARD.md"
    return f" (commands that make it: {card})" if card.is_file() else ""


def source_name(source: str) -> str:
    """A source as cards name it: the name of a file without its folders."""
    return source if ":" in source else Path(source).name


def own_reading(model: str) -> dict[str, Any]:
    """How the files of a model are read, as far as that was declared: also those that it was extended by.

    Raises ModelError when it does not say what it was trained on.
    """
    data = own_data(model)
    train = Path(data.train)
    values = (read_json(train.parent / READING) if train.is_file() else None) or data.model_dump()
    return {name: value for name, value in values.items() if name in READ_AS_BEFORE and value not in (None, "auto", 0.0)}


def read_as_own(model: str, source: str, reading: Mapping[str, Any], reporter: Reporter) -> FrameSet:
    """The frames of a file, read as the model's own are unless `reading` says otherwise (fields of a DataConfig).

    Names of labels that are the model's are given up where the file does not have them. What readers have to say becomes
    notes. Raises DataError.
    """
    try:
        own = own_reading(model)
    except ModelError:  # nothing is known of its data
        own = {}
    try:
        found = read_frames(source, parse_config(DataConfig, {**own, **reading, "train": source}))
    except DataError as error:
        free = {name: value for name, value in own.items() if name not in KEYS}
        if free == own:
            raise
        found = read_frames(source, parse_config(DataConfig, {**free, **reading, "train": source}))
        tell(reporter, f"names of labels in the model's own files do not fit, others were looked for: {error.message}")
    tell(reporter, *found.report.warnings)
    return found


def refuse_learned(model: str, frames: Sequence[Atoms], what: str) -> None:
    """Raise DataError when some of the frames, called `what`, are training frames of a model: they cannot judge it.

    Of models that are not on this disk, or whose training frames are not, nothing is known.
    """
    try:
        metrics = read_json(find_model(model) / "metrics.json") or {}
    except ModelError:
        return
    seen = seen_frames(metrics, frames) or {}
    if seen.get("n_copies"):
        raise DataError(f"found {seen['n_copies']} of the {len(frames)} {what} frames among those that {model} was trained on, "
                        "expected none",
                        "split the file as the training did, e.g. --method blocks --num-train 950 --num-val 50 or --method random "
                        "--split-seed N; frames that stand twice in a file have to be removed")
