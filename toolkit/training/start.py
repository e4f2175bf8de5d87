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
from toolkit.models.folders import find_model, weights_sha256
from toolkit.models.potential import Potential, load_potential

MAX_FRAMES = 300
FRAMES_AT_ONCE = 20
SAME_ZERO_EV_PER_ATOM = 0.1
SHIFTS = "table.shifts"


def network_of(config: TrainConfig) -> ModelConfig:
    """The network to train: `config.model`, or that of the model in `config.start_from`. Raises ModelError."""
    return config.model if config.start_from is None else read_model_config(find_model(config.start_from))


def describe_start(name: str) -> dict[str, str]:
    """What metrics.json says of the model that a training went on from."""
    folder = find_model(name)
    return {"model": folder.parent.name if folder.name == "model" else folder.name,
            "weights_sha256": weights_sha256(folder)}


def refit_shifts(name: str, frames: Sequence[Atoms], device: str,
                 isolated: dict[str, float] | None = None) -> tuple[dict[str, float], tuple[str, ...]]:
    """Energy shifts, element -> eV, with which a model fits the energies of new frames best: its own plus the smallest
    change that does it, by least squares of the differences on the compositions of some 300 frames. And warnings.

    isolated : energies of free atoms, eV; they take the place of the fit where the network gives energies above them
        already, within 0.1 eV/atom. Elsewhere they would shift every energy by what the network has yet to learn
    Raises ModelError; DataError for elements that the model does not know.
    """
    potential = load_potential(name, device=device)
    shifts = _shifts(potential)
    labelled = [atoms for atoms in frames if atoms.calc is not None and "energy" in atoms.calc.results]
    if not labelled:
        return {**shifts, **(isolated or {})}, ()
    sample = _of_every_element(labelled)
    predicted = [potential.evaluate(potential.graph(sample[first:first + FRAMES_AT_ONCE]), forces=False)["energy"].cpu().numpy()
                 for first in range(0, len(sample), FRAMES_AT_ONCE)]
    difference = np.array([atoms.calc.results["energy"] for atoms in sample]) - np.concatenate(predicted)
    symbols, counts = composition_counts(sample)
    changes, _ = fit_to_compositions(counts, difference)
    fitted = {symbol: shifts[symbol] + float(change) for symbol, change in zip(symbols, changes, strict=True)}
    if not isolated or any(symbol not in isolated for symbol in symbols):
        return {**shifts, **fitted}, ()
    moved = counts @ np.array([isolated[symbol] - fitted[symbol] for symbol in symbols]) / counts.sum(axis=1)
    if np.abs(moved).max() <= SAME_ZERO_EV_PER_ATOM:
        return {**shifts, **isolated}, ()
    return {**shifts, **fitted}, (
        f"the energies of isolated atoms are not used: {name} was trained above another zero of energy, they would move "
        f"its energies by up to {np.abs(moved).max():.2f} eV/atom; its zero was fitted to the new frames instead",)


def _shifts(potential: Potential) -> dict[str, float]:
    """Energy shifts, element -> eV, that the weights hold; those of the configuration are where a training began."""
    values = next(value for key, value in potential.model.state_dict().items() if key.endswith(SHIFTS))
    return dict(zip(potential.species, values.tolist(), strict=True))


def _of_every_element(frames: Sequence[Atoms]) -> list[Atoms]:
    """Some 300 frames, evenly spaced, and some more of each element."""
    places = set(spread_out(range(len(frames)), MAX_FRAMES))
    _, counts = composition_counts(frames)
    for of_element in counts.T:
        places.update(spread_out(np.flatnonzero(of_element).tolist(), FRAMES_AT_ONCE))
    return [frames[t] for t in sorted(places)]


def adopt_weights(model: AtomisticModel, name: str) -> None:
    """Give a model the weights of another of the same network, all but the energy shifts. Raises ModelError."""
    own = model.state_dict()
    source, _ = load_model(find_model(name), next(iter(own.values())).dtype)
    model.load_state_dict({key: own[key] if key.endswith(SHIFTS) else value for key, value in source.state_dict().items()})
