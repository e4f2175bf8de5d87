"""Going on with new frames, such as harvested ones that were labelled since: they join the training frames of a model,
whose validation and test frames stay as they are, and a recipe starts from its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from toolkit.config import DataConfig, ModelConfig, SplitConfig, TrainConfig, parse_config, save_config
from toolkit.data.datasets import Splits, load_splits
from toolkit.data.detective.copies import known_frames
from toolkit.data.formats import FrameSet, read_frames
from toolkit.errors import ConfigError, DataError
from toolkit.jobs.frame_files import TEST, TRAIN, VAL, write_sets
from toolkit.jobs.uncertainty import own_data_here, own_recipe
from toolkit.models.checkpoint import read_model_config
from toolkit.models.folders import find_model
from toolkit.progress import Reporter, SilentReporter, tell

RECIPE = "config.yaml"
READ_AS_BEFORE = ("energy_key", "forces_key", "stress_key", "stress_offset_GPa")
"""How new files are read unless told otherwise: as the model's own. Units are found for each file anew."""


def extend(model: str, sources: Sequence[str], folder: Path, reading: Mapping[str, Any] | None = None,
           reporter: Reporter | None = None) -> dict[str, Any]:
    """Write `train.extxyz` with the new frames at its end, `val.extxyz`, `test.extxyz` and `config.yaml` into a folder.

    model : its own training files must be on this machine
    reading : fields of a DataConfig that say how new files are read; names of labels and the offset of stresses default to
        those of the model's own;  reporter : hears what readers have to say
    Raises ConfigError for a folder that holds such files already; ModelError; DataError for frames without the labels that
    are learned, of other elements, and for validation or test frames among them.
    """
    _refuse_taken(folder)
    recipe, splits = own_recipe(model), load_splits(own_data_here(model))
    own = recipe.data.model_dump(include=set(READ_AS_BEFORE))
    found = {source: read_frames(source, parse_config(DataConfig, {**own, **(reading or {}), "train": source}))
             for source in sources}
    for source, new in found.items():
        _check(source, new, recipe, read_model_config(find_model(model)).species)
    added = [atoms for new in found.values() for atoms in new]
    notes = _unseen(added, splits)
    tell(reporter or SilentReporter(), *(warning for new in found.values() for warning in new.report.warnings), *notes)
    write_sets(folder, [*splits.train, *added], splits.val, splits.test)
    extended = _going_on(recipe, model, splits, folder.absolute())
    load_splits(extended.data)  # what is written has to be readable
    save_config(extended, folder / RECIPE)
    return {"recipe": str(folder / RECIPE), "n_train": len(splits.train) + len(added), "n_new": len(added),
            "n_val": len(splits.val), "n_test": len(splits.test), "start_from": model,
            "read": {source: new.report.evidence for source, new in found.items()}}


def _refuse_taken(folder: Path) -> None:
    """Nobody's data are written over."""
    taken = [name for name in (TRAIN, VAL, TEST, RECIPE) if (folder / name).exists()]
    if taken:
        raise ConfigError(f"found {', '.join(taken)} in {folder}, expected a folder of its own", "choose another with -o")


def _check(source: str, found: FrameSet, recipe: TrainConfig, species: Sequence[str]) -> None:
    """Labels with a weight in the loss, and elements that the model knows. Raises DataError."""
    weights = {"energy": recipe.loss.energy_weight, "forces": recipe.loss.forces_weight, "stress": recipe.loss.stress_weight}
    bare = {label: sum(not _has(atoms, label) for atoms in found) for label, weight in weights.items() if weight > 0.0}
    lacking = ", ".join(f"{count} without {label}" for label, count in bare.items() if count)
    if lacking:
        raise DataError(f"found {lacking} among the {len(found)} frames of {source}, expected labels of your reference method",
                        "compute them first, or name the keys that hold them (--energy-key, --forces-key, --stress-key)")
    unknown = sorted({symbol for atoms in found for symbol in atoms.symbols} - set(species))
    if unknown:
        raise DataError(f"found {', '.join(unknown)} in {source}, which the model does not know, expected {', '.join(species)}",
                        "train a model with these elements from the start")


def _has(atoms: Atoms, label: str) -> bool:
    """Whether a frame has a label, or cannot have it: a molecule has no stress."""
    return (atoms.calc is not None and label in atoms.calc.results) or (label == "stress" and not atoms.pbc.all())


def _unseen(added: Sequence[Atoms], splits: Splits) -> list[str]:
    """What is to be said of new frames that are training frames already. Raises DataError for frames that judge the model."""
    judges = [*splits.val, *splits.test]
    known = known_frames(added, judges)
    if known:
        raise DataError(f"found {len(known)} of the {len(judges)} validation and test frames of the model among the "
                        f"{len(added)} new ones, expected none", "remove them from the new files")
    again = known_frames(splits.train, added)
    return [f"{len(again)} of the {len(added)} new frames are training frames of the model already"] if again else []


def _going_on(recipe: TrainConfig, model: str, splits: Splits, folder: Path) -> TrainConfig:
    """The model's own recipe on the files in `folder`, from its weights."""
    isolated = {symbol: energy for report in splits.reports for symbol, energy in report.isolated_atom_energies.items()}
    data = DataConfig(train=str(folder / TRAIN), val=str(folder / VAL), test=str(folder / TEST) if splits.test else None,
                      split=SplitConfig(num_test=None if splits.test else 0), energy_unit="eV", length_unit="Å",
                      forces_unit="eV/Å", isolated_atom_energies=recipe.data.isolated_atom_energies or isolated or None)
    return recipe.model_copy(update={"data": data, "model": ModelConfig(), "start_from": str(find_model(model).absolute())})
