"""From a training configuration to graphs and a complete model configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from toolkit.config import LossConfig, ModelConfig, TrainConfig
from toolkit.data.datasets import Splits, load_splits
from toolkit.data.graph import AtomicGraph
from toolkit.data.graph_store import GraphStore
from toolkit.data.statistics import Statistics, compute_statistics, elements
from toolkit.errors import ConfigError, DataError
from toolkit.progress import Reporter, tell
from toolkit.training.seen import known_judges
from toolkit.training.start import describe_start, network_of, refit_shifts


@dataclass(frozen=True)
class TrainingData:
    """Graphs with labels, the model configuration with species and statistics filled in, and what to tell the user."""

    train: Sequence[AtomicGraph]
    val: Sequence[AtomicGraph]
    test: Sequence[AtomicGraph]
    model_config: ModelConfig
    statistics: Statistics
    summary: dict[str, Any]


def prepare(config: TrainConfig, reporter: Reporter) -> TrainingData:
    """Read, split and check the data, take statistics of the training set, build neighbour lists. Warnings become notes.

    Raises DataError when labels that the loss needs are missing or a split holds an unknown species.
    """
    splits = load_splits(config.data)
    _check_labels(splits.train, config.loss)
    isolated, notes = config.data.isolated_atom_energies, []
    if isolated is None:
        isolated, notes = isolated_atoms(splits)
    network = network_of(config)
    statistics = compute_statistics(splits.train, network.r_max, isolated)
    model_config = complete_model_config(network, splits.train, statistics, isolated)
    warnings = (*notes, *statistics.warnings, *_unseen_in_validation(splits.val, config.loss))
    if config.start_from is not None:
        shifts, more = refit_shifts(config.start_from, splits.train, config.device, isolated)
        warnings = (*warnings, *more)
        shifts = {symbol: shifts[symbol] for symbol in model_config.species}
        model_config = model_config.model_copy(update={"per_species_energy_shifts": shifts})
    _check_species(model_config, {"validation": splits.val, "test": splits.test})
    seen = known_judges(splits, config.start_from)
    sets = {"train": splits.train, "val": splits.val, "test": splits.test}
    graphs = {name: GraphStore(frames, model_config.r_max, reporter) for name, frames in sets.items()}
    summary = {
        "sources": [Path(report.path).name for report in splits.reports],
        "units": [f"{report.energy_unit}, {report.length_unit}: {report.evidence}" for report in splits.reports],
        "n_train": len(splits.train), "n_val": len(splits.val), "n_test": len(splits.test),
        "forces_rms_train_eV_per_A": None if np.isnan(statistics.force_rms_eV_per_A) else statistics.force_rms_eV_per_A,
        "start_from": None if config.start_from is None else describe_start(config.start_from),
        "test_was_seen": bool(seen["test"]),
        "warnings": [*warnings, *seen["validation"], *seen["test"], *(w for report in splits.reports for w in report.warnings)],
    }
    tell(reporter, *summary["warnings"])
    return TrainingData(graphs["train"], graphs["val"], graphs["test"], model_config, statistics, summary)


def isolated_atoms(splits: Splits) -> tuple[dict[str, float] | None, list[str]]:
    """Energies (eV) of isolated atoms in the training file, else in another, if one has them all; and what to say."""
    needed = set(elements(splits.train))
    for report in splits.reports:
        if needed <= report.isolated_atom_energies.keys():
            return report.isolated_atom_energies, []
    missing = sorted(needed - splits.reports[0].isolated_atom_energies.keys())
    some = any(report.isolated_atom_energies for report in splits.reports)
    return None, [f"isolated atoms of {missing} are missing, so those that are there are not used and energy shifts are "
                  "fitted"] if some else []


def complete_model_config(config: ModelConfig, frames: Sequence[Atoms], statistics: Statistics,
                          isolated: dict[str, float] | None = None) -> ModelConfig:
    """Fill in species (sorted by atomic number), shifts, scales and neighbours where not given.

    isolated : element -> eV, for species that no frame has; 0 where nothing is known
    Scales are the force RMS (eV), without forces the RMS of the energy per atom above the shifts, else 1.
    """
    found = tuple(elements(frames))
    species = config.species or found
    unknown = sorted(set(found) - set(species))
    if unknown:
        raise ConfigError(f"found {unknown} in the training data, model.species lists only {list(species)}",
                          "add them to model.species, or leave it empty")
    shifts = {s: statistics.per_species_energy_shifts.get(s, (isolated or {}).get(s, 0.0)) for s in species}
    spreads = (statistics.force_rms_eV_per_A, statistics.energy_residual_rms_eV_per_atom)
    scale = next((spread for spread in spreads if np.isfinite(spread) and spread > 0), 1.0)
    filled = {
        "species": species,
        "avg_num_neighbors": config.avg_num_neighbors or max(statistics.avg_num_neighbors, 1.0),
        "per_species_energy_shifts": config.per_species_energy_shifts or shifts,
        "per_species_energy_scales": config.per_species_energy_scales
        or dict.fromkeys(species, scale),
    }
    return config.model_copy(update=filled)


def _check_labels(frames: Sequence[Atoms], loss: LossConfig) -> None:
    for label in _missing_labels(frames, loss):
        raise DataError(f"found no {label} in the training data, but loss.{label}_weight is {_weights(loss)[label]}",
                        f"set loss.{label}_weight to 0, or name the key: data.{label}_key")


def _unseen_in_validation(frames: Sequence[Atoms], loss: LossConfig) -> tuple[str, ...]:
    """A warning for what the choice of the best epoch cannot see. Raises DataError when that is all there is."""
    missing = _missing_labels(frames, loss)
    if len(missing) == sum(weight > 0.0 for weight in _weights(loss).values()):
        raise DataError(f"found no {' and no '.join(missing)} in the validation data, which has to choose the best epoch",
                        "label it like the training data, or name its keys: data.energy_key, data.forces_key")
    return tuple(f"the validation data has no {label}: the best epoch is chosen without it" for label in missing)


def _missing_labels(frames: Sequence[Atoms], loss: LossConfig) -> list[str]:
    """What the loss weighs and no frame has."""
    return [label for label, weight in _weights(loss).items()
            if weight > 0.0 and not any(atoms.calc is not None and label in atoms.calc.results for atoms in frames)]


def _weights(loss: LossConfig) -> dict[str, float]:
    return {"energy": loss.energy_weight, "forces": loss.forces_weight, "stress": loss.stress_weight}


def _check_species(config: ModelConfig, sets: dict[str, Sequence[Atoms]]) -> None:
    for name, frames in sets.items():
        unknown = set(elements(frames)) - set(config.species)
        if unknown:
            raise DataError(f"found {sorted(unknown)} in the {name} set, the training set has only {list(config.species)}",
                            "split the data so that every element occurs in training")
