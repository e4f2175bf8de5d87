"""Fit the last-layer uncertainty of a trained potential and calibrate it: two passes over frames, no training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from ase import Atoms
from torch import Tensor

from toolkit.data.graph import AtomicGraph
from toolkit.errors import DataError
from toolkit.models.derivatives import readout_responses
from toolkit.models.potential import Potential
from toolkit.models.uncertainty import LastLayerUncertainty, last_weight
from toolkit.progress import Reporter, SilentReporter

BATCH_SIZE = 10
RIDGE = 1e-8
"""Added to the eigenvalues of the precision, relative to the largest: directions that no frame has ever seen."""


def fit_uncertainty(potential: Potential, train: Sequence[Atoms], val: Sequence[Atoms], *, num_directions: int = 8,
                    seed: int = 0, reporter: Reporter | None = None) -> LastLayerUncertainty:
    """What labelled training frames leave uncertain, calibrated on frames not trained on; see `models.uncertainty`.

    num_directions : K, so many backward passes each prediction takes; as many as features (or more) are exact
    seed : of the random mixture of the directions when there are fewer
    Raises DataError when frames without forces or energies leave nothing to fit or to calibrate, ModelError when the
    energy is linear in no weights, KeyboardInterrupt when the reporter asks to stop: half a fit is none.
    """
    weight = last_weight(potential.model)
    root = posterior_root(potential, weight, train, reporter or SilentReporter())
    return calibrate(potential, LastLayerUncertainty(weight, mixed(root, num_directions, seed)), val, reporter)


def posterior_root(potential: Potential, weight: str, frames: Sequence[Atoms], reporter: Reporter) -> Tensor:
    """A matrix R (C, C), float64, on the CPU, with Σ = R Rᵀ the covariance of the last weights given the labels."""
    sums = _PrecisionSums()
    unit = torch.eye(potential.model.get_parameter(weight).numel(), dtype=torch.float64, device=potential.device)
    for graph in _batches(potential, frames, "rigidity of the last layer", reporter):
        output = potential.evaluate(graph)
        features, gradients = readout_responses(potential.model, graph, weight, unit)
        known = ~graph.labels["energy"].isnan()
        sums.add("energy", features[known], (output["energy"] - graph.labels["energy"])[known])
        errors = output["forces"] - graph.labels["forces"]
        for z in graph.atomic_numbers.unique().tolist():
            rows = (graph.atomic_numbers == z)[:, None] & ~errors.isnan()
            sums.add(z, gradients[rows], errors[rows])
    values, vectors = torch.linalg.eigh(sums.precision())
    return vectors / (values.clamp_min(0.0) + RIDGE * values[-1]).sqrt()


def mixed(root: Tensor, count: int, seed: int) -> Tensor:
    """K columns (C, K) that stand for R: √(C/K) R Q, Q random and orthonormal; their mean square is right."""
    size = len(root)
    if count >= size:
        return root
    noise = torch.randn(size, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (size / count) ** 0.5 * root @ torch.linalg.qr(noise).Q


def calibrate(potential: Potential, uncertainty: LastLayerUncertainty, frames: Sequence[Atoms],
              reporter: Reporter | None = None) -> LastLayerUncertainty:
    """The same with the scales that make labelled frames most likely: α² = ⟨(error/σ)²⟩, of energies and of forces.

    What no weight reaches, such as an atom without neighbours, has σ = 0 and does not count.
    Raises DataError when no frame has forces or none has an energy.
    """
    squares: dict[str, list[Tensor]] = {"energy": [], "forces": []}
    unscaled = replace(uncertainty, forces_scale=1.0, energy_scale=1.0).to(potential.device)
    for graph in _batches(potential, frames, "calibration", reporter or SilentReporter()):
        output = potential.evaluate(graph)
        found = unscaled.evaluate(potential.model, graph)
        for name, parts in squares.items():
            errors, std = output[name] - graph.labels[name], found[f"{name}_std"]
            parts.append((errors.reshape(len(std), -1) / std[:, None])[std > 0.0].square())
    scales = {}
    for name, parts in squares.items():
        scales[name] = scale = float(torch.cat(parts).nanmean().sqrt()) if parts else float("nan")
        if not 0.0 < scale < float("inf"):
            raise DataError(f"found a scale of {scale} for the {name} of {len(frames)} frames",
                            "calibrate on frames with energies and forces that the model was not trained on")
    return replace(uncertainty, forces_scale=scales["forces"], energy_scale=scales["energy"])


class _PrecisionSums:
    """Sums of φ φᵀ and of squared errors over kinds of labels: energies, and forces on each element."""

    def __init__(self) -> None:
        self._kinds: dict[str | int, tuple[Tensor, float, int]] = {}

    def add(self, kind: str | int, rows: Tensor, errors: Tensor) -> None:
        """rows : (M, C), gradient of each label with respect to the weights;  errors : (M,), prediction minus label"""
        gram, squares, count = self._kinds.get(kind, (0.0, 0.0, 0))
        self._kinds[kind] = (gram + (rows.T @ rows).cpu(), squares + float(errors.square().sum()), count + len(errors))

    def precision(self) -> Tensor:
        """Σ over kinds of Σ φ φᵀ / s², s the RMS error of the kind, (C, C). Raises DataError without labels."""
        terms = [gram * (count / squares) for gram, squares, count in self._kinds.values() if squares > 0.0]
        if not terms:
            raise DataError("found no energies and no forces in the training frames", "name their keys")
        return torch.stack(terms).sum(dim=0)


def _batches(potential: Potential, frames: Sequence[Atoms], what: str, reporter: Reporter) -> Iterator[AtomicGraph]:
    for first in range(0, len(frames), BATCH_SIZE):
        if reporter.should_stop():
            raise KeyboardInterrupt
        yield potential.graph(frames[first:first + BATCH_SIZE])
        reporter.update(min(first + BATCH_SIZE, len(frames)), len(frames), what)
