"""Going on with new frames, such as harvested ones that were labelled since: they join the training frames of a model,
whose validation and test frames stay as they are, and a recipe starts from its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from toolkit.config import DataConfig, ModelConfig, SplitConfig, TrainConfig, parse_config, save_config
from toolkit.data.datasets import Splits, load_splits
from toolkit.data.detective.copies import leakage
from toolkit.data.formats import FrameSet, read_frames
from toolkit.errors import DataError
from toolkit.jobs.frame_files import TEST, TRAIN, VAL, write_sets
from toolkit.jobs.uncertainty import own_data_here, own_recipe
from toolkit.models.folders import find_model

RECIPE = "config.yaml"


def extend(model: str, sources: Sequence[str], folder: Path, reading: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write `train.extxyz` with the new frames at its end, `val.extxyz`, `test.extxyz` and `config.yaml` into a folder.

    model : its own training files must be on this machine;  reading : fields of a DataConfig that say how new files are read
    Raises DataError for frames without labels and for copies of validation or test frames, ModelError, ConfigError.
    """
    recipe, splits = own_recipe(model), load_splits(own_data_here(model))
    new = [(source, read_frames(source, parse_config(DataConfig, {**(reading or {}), "train": source}))) for source in sources]
    added = [atoms for source, found in new for atoms in _labelled(source, found)]
    _check_unseen(added, splits)
    write_sets(folder, [*splits.train, *added], splits.val, splits.test)
    save_config(_going_on(recipe, model, splits, folder.absolute()), folder / RECIPE)
    return {"recipe": str(folder / RECIPE), "n_train": len(splits.train) + len(added), "n_new": len(added),
            "n_val": len(splits.val), "n_test": len(splits.test), "start_from": model}


def _labelled(source: str, found: FrameSet) -> Sequence[Atoms]:
    if found.report.missing:
        bare = ", ".join(f"{count} without {label}" for label, count in found.report.missing.items())
        raise DataError(f"found {bare} among the {len(found)} frames of {source}, expected labels of your reference method",
                        "compute them first, or name the keys that hold them (--energy-key, --forces-key)")
    return found.frames


def _check_unseen(added: Sequence[Atoms], splits: Splits) -> None:
    """Frames that judge a model must not be learned."""
    copies = leakage(added, [*splits.val, *splits.test])["n_copies"]
    if copies:
        raise DataError(f"found {copies} validation or test frames of the model among the {len(added)} new ones, expected none",
                        "remove them from the new files")


def _going_on(recipe: TrainConfig, model: str, splits: Splits, folder: Path) -> TrainConfig:
    """The model's own recipe on the files in `folder`, from its weights."""
    isolated = {symbol: energy for report in splits.reports for symbol, energy in report.isolated_atom_energies.items()}
    data = DataConfig(train=str(folder / TRAIN), val=str(folder / VAL), test=str(folder / TEST) if splits.test else None,
                      split=SplitConfig(num_test=None if splits.test else 0), energy_unit="eV", length_unit="Å",
                      isolated_atom_energies=recipe.data.isolated_atom_energies or isolated or None)
    return recipe.model_copy(update={"data": data, "model": ModelConfig(), "start_from": str(find_model(model))})
