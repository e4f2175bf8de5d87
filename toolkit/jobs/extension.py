"""Going on with new frames, such as harvested ones that were labelled since: they join the training frames of a model,
whose validation and test frames stay as they are, and a recipe starts from its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from toolkit.config import DataConfig, ModelConfig, TrainConfig, save_config
from toolkit.data.datasets import Splits, load_splits
from toolkit.data.detective.copies import duplicates, known_frames
from toolkit.data.formats import FrameSet
from toolkit.errors import ConfigError, DataError, ModelError
from toolkit.jobs.frame_files import TEST, TRAIN, VAL, named_sets, write_sets
from toolkit.jobs.label_check import LabelErrors, compare
from toolkit.jobs.own_data import READING, own_data_here, own_reading, own_recipe, read_as_own
from toolkit.models.folders import find_model
from toolkit.models.potential import load_potential
from toolkit.progress import Reporter, SilentReporter, tell
from toolkit.storage import write_json
from toolkit.training.prepare import isolated_atoms

RECIPE = "config.yaml"
"""What to train on with."""


def extend(model: str, sources: Sequence[str], folder: Path, reading: Mapping[str, Any] | None = None,
           reporter: Reporter | None = None) -> dict[str, Any]:
    """Write `train.extxyz` with the new frames at its end, `val.extxyz`, `test.extxyz` and `config.yaml` into a folder.

    model : its own training files must be on this machine, or in the catalogue
    reading : fields of a DataConfig that say how new files are read; they default to those of the model's own, and of the
        files it was extended by before;  reporter : hears what readers have to say
    Raises ConfigError for a folder that holds such files already; ModelError; DataError for frames without the labels that
    are learned, of other elements, with labels far from what the model says, and for validation or test frames among them.
    """
    reporter = reporter or SilentReporter()
    _refuse_taken(folder)
    recipe, splits = own_recipe(model), load_splits(_data(model))
    reading = dict(reading or {})
    found = {source: read_as_own(model, source, reading, reporter) for source in sources}
    potential = load_potential(model)
    own_errors = LabelErrors.of(potential, splits.train)
    for source, new in found.items():
        _check(source, new, recipe, potential.species)
        compare(source, LabelErrors.of(potential, new.frames), own_errors)
    added = [atoms for new in found.values() for atoms in new]
    tell(reporter, *_repeats(added, splits))
    write_sets(folder, [*splits.train, *added], splits.val, splits.test)
    write_json(own_reading(model) | reading, folder / READING)
    save_config(_going_on(recipe, model, splits, folder.absolute()), folder / RECIPE)
    return {"recipe": str(folder / RECIPE), "n_train": len(splits.train) + len(added), "n_new": len(added),
            "n_val": len(splits.val), "n_test": len(splits.test), "start_from": model,
            "read": {source: new.report.evidence for source, new in found.items()}}


def _refuse_taken(folder: Path) -> None:
    """Nobody's data are written over."""
    taken = [name for name in (TRAIN, VAL, TEST, RECIPE) if (folder / name).exists()]
    if taken:
        raise ConfigError(f"found {', '.join(taken)} in {folder}, expected a folder of its own", "choose another with -o")


def _data(model: str) -> DataConfig:
    """Data and split of the model. Raises ModelError when they are not on this machine."""
    try:
        return own_data_here(model)
    except ModelError as error:
        raise ModelError(error.message, "put the file back where it was, or join the files yourself and train with start_from: "
                         f"{model}") from None


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


def _repeats(added: Sequence[Atoms], splits: Splits) -> list[str]:
    """What is to be said of frames that come again. Raises DataError for frames that judge the model, and for repeats whose
    energies differ."""
    judges = [*splits.val, *splits.test]
    known = known_frames(added, judges)
    if known:
        raise DataError(f"found {len(known)} of the {len(judges)} validation and test frames of the model among the "
                        f"{len(added)} new ones, expected none", "remove them from the new files")
    again, twice = known_frames(splits.train, added), duplicates(added)
    if twice["n_conflicting"]:
        raise DataError(f"found {twice['n_conflicting']} frames several times among the new ones, with different energies",
                        "keep those of the reference method")
    notes = [f"{len(again)} of the {len(added)} new frames are training frames of the model already"] if again else []
    return notes + ([f"{twice['n_repeated']} of the {len(added)} new frames are repeated"] if twice["n_repeated"] else [])


def _going_on(recipe: TrainConfig, model: str, splits: Splits, folder: Path) -> TrainConfig:
    """The model's own recipe on the files in `folder`, from its weights."""
    energies = recipe.data.isolated_atom_energies or isolated_atoms(splits)[0]
    data = named_sets(folder).model_copy(update={"isolated_atom_energies": energies})
    return recipe.model_copy(update={"data": data, "model": ModelConfig(), "start_from": str(find_model(model).absolute())})
