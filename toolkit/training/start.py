"""Training that goes on from another model: its network and weights, with energies shifted to the new data.

What a network has learned of one level of theory, or of one molecule, is a better start for the next than random weights;
few frames then do for what would else need many.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from toolkit.config import ModelConfig, TrainConfig
from toolkit.data.statistics import composition_counts, fit_to_compositions, spread_out
from toolkit.models.base import AtomisticModel
from toolkit.models.checkpoint import load_model, read_model_config
from toolkit.models.folders import find_model
from toolkit.models.potential import load_potential
from toolkit.storage import file_sha256

MAX_FRAMES = 300
FRAMES_AT_ONCE = 20
SHIFTS = "table.shifts"


def network_of(config: TrainConfig) -> ModelConfig:
    """The network to train: `config.model`, or that of the model in `config.start_from`. Raises ModelError."""
    return config.model if config.start_from is None else read_model_config(find_model(config.start_from))


def describe_start(name: str) -> dict[str, str]:
    """What metrics.json says of the model that a training went on from."""
    folder = find_model(name)
    return {"model": folder.parent.name if folder.name == "model" else folder.name,
            "weights_sha256": file_sha256(folder / "weights.safetensors")}


def refit_shifts(name: str, frames: Sequence[Atoms], device: str) -> dict[str, float]:
    """Energy shifts, element -> eV, with which a model fits the energies of new frames best: its own plus the smallest
    change that does it, by least squares of the differences on the compositions of up to 300 frames.

    Raises ModelError; DataError for elements that the model does not know.
    """
    potential = load_potential(name, device=device)
    shifts = dict(potential.config.per_species_energy_shifts or dict.fromkeys(potential.species, 0.0))
    labelled = [atoms for atoms in frames if atoms.calc is not None and "energy" in atoms.calc.results]
    if not labelled:
        return shifts
    sample = spread_out(labelled, MAX_FRAMES)
    predicted = [potential.evaluate(potential.graph(sample[first:first + FRAMES_AT_ONCE]), forces=False)["energy"].cpu().numpy()
                 for first in range(0, len(sample), FRAMES_AT_ONCE)]
    difference = np.array([atoms.calc.results["energy"] for atoms in sample]) - np.concatenate(predicted)
    symbols, counts = composition_counts(sample)
    changes, _ = fit_to_compositions(counts, difference)
    return {**shifts, **{symbol: shifts[symbol] + float(change) for symbol, change in zip(symbols, changes, strict=True)}}


def adopt_weights(model: AtomisticModel, name: str) -> None:
    """Give a model the weights of another of the same network, all but the energy shifts. Raises ModelError."""
    own = model.state_dict()
    source, _ = load_model(find_model(name), next(iter(own.values())).dtype)
    model.load_state_dict({key: own[key] if key.endswith(SHIFTS) else value for key, value in source.state_dict().items()})
