"""Errors of a potential on labelled structures, with units in their names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.data import chemical_symbols
from torch import Tensor

from toolkit.config import LossConfig
from toolkit.data.graph import AtomicGraph
from toolkit.errors import DataError
from toolkit.models.base import AtomisticModel, ModelOutput
from toolkit.models.derivatives import evaluate
from toolkit.models.potential import Potential, load_potential
from toolkit.progress import Reporter, SilentReporter
from toolkit.training.loss import error_sums


Listener = Callable[[AtomicGraph, ModelOutput], None]
"""Hears of each batch with its predictions."""


class ErrorMeter:
    """Accumulates errors over batches; labels that are NaN (absent) do not count."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._species: dict[int, list[float]] = {}
        self.num_frames = 0

    def add(self, output: ModelOutput, graph: AtomicGraph) -> None:
        """Add one batch of predictions beside its labels."""
        labels = graph.labels
        self.num_frames += graph.num_structures
        energy, known = (output["energy"] - labels["energy"]).abs(), ~labels["energy"].isnan()
        self._accumulate("energy", energy, known)
        per_atom = energy / graph.atoms_per_structure()
        self._accumulate("energy_per_atom", per_atom, known)
        self._accumulate("energy_per_atom_squared", per_atom.square(), known)
        if "forces" in output:
            difference, known = output["forces"] - labels["forces"], ~labels["forces"].isnan()
            self._accumulate("forces", difference.abs(), known)
            self._accumulate("forces_squared", difference.square(), known)
            self._accumulate("label_forces_squared", labels["forces"].square(), known)
            self._add_species(difference.abs().mean(dim=1), known.all(dim=1), graph.atomic_numbers)
        if "stress" in output:
            known = ~labels["stress"].isnan()
            difference = output["stress"] - labels["stress"]
            self._accumulate("stress", difference.abs(), known)
            self._accumulate("stress_squared", difference.square(), known)

    def result(self) -> dict[str, Any]:
        """MAEs and RMSEs in meV, meV/atom, meV/Å, meV/Å³; `per_species` force MAEs; None for what had no labels."""
        forces_rms = self._root_mean("label_forces_squared")
        return {
            "n_frames": self.num_frames,
            "energy_mae_meV": self._mean("energy"),
            "energy_mae_meV_per_atom": self._mean("energy_per_atom"),
            "energy_rmse_meV_per_atom": self._root_mean("energy_per_atom_squared"),
            "forces_mae_meV_per_A": self._mean("forces"),
            "forces_rmse_meV_per_A": self._root_mean("forces_squared"),
            "forces_label_rms_meV_per_A": forces_rms,
            "stress_mae_meV_per_A3": self._mean("stress"),
            "stress_rmse_meV_per_A3": self._root_mean("stress_squared"),
            "per_species": {chemical_symbols[z]: {"forces_mae_meV_per_A": 1e3 * total / count, "n_atoms": int(count)}
                            for z, (total, count) in sorted(self._species.items())},
        }

    def _accumulate(self, name: str, values: Tensor, known: Tensor) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + float(values[known].sum())
        self._counts[name] = self._counts.get(name, 0) + int(known.sum())

    def _add_species(self, per_atom: Tensor, known: Tensor, atomic_numbers: Tensor) -> None:
        for z in atomic_numbers[known].unique().tolist():
            values = per_atom[known & (atomic_numbers == z)]
            entry = self._species.setdefault(z, [0.0, 0.0])
            entry[0] += float(values.sum())
            entry[1] += values.numel()

    def _mean(self, name: str) -> float | None:
        return 1e3 * self._sums[name] / self._counts[name] if self._counts.get(name) else None

    def _root_mean(self, name: str) -> float | None:
        return 1e3 * math.sqrt(self._sums[name] / self._counts[name]) if self._counts.get(name) else None


def evaluate_errors(model: AtomisticModel, batches: Iterable[AtomicGraph], loss: LossConfig | None = None,
                    each: Listener | None = None) -> dict[str, Any]:
    """Errors over batches on the model's device; with `loss` also that `loss` of them all together, however they
    are divided into batches. each : hears of all."""
    device = next(model.parameters()).device
    meter, sums = ErrorMeter(), {}
    for batch in batches:
        graph = batch.to(device)
        forces = bool((~graph.labels["forces"].isnan()).any())
        stress = bool((~graph.labels["stress"].isnan()).any()) and bool(graph.pbc.all(dim=1).any())
        output = evaluate(model, graph, forces=forces or bool(loss and loss.forces_weight),
                          stress=stress or bool(loss and loss.stress_weight))
        meter.add(output, graph)
        if each is not None:
            each(graph, output)
        if loss is not None:
            for name, (errors, known) in error_sums(output, graph, loss).items():
                total, count = sums.get(name, (0.0, 0))
                sums[name] = total + float(errors), count + int(known)
    result = meter.result()
    if loss is not None:
        result["loss"] = sum(getattr(loss, f"{name}_weight") * total / max(count, 1) for name, (total, count) in sums.items())
    return result


def evaluate_potential(potential: Potential | str | Path, frames: Sequence[Atoms], *, batch_size: int = 50,
                       reporter: Reporter | None = None, each: Listener | None = None) -> dict[str, Any]:
    """Errors of a potential on labelled structures: `energy_mae_meV`, `forces_mae_meV_per_A`, `per_species`, `n_frames` …

    each : hears of all batches with their predictions, in the order of the frames
    Asked to stop, it returns the errors of the frames done, and `stopped` is True.
    potential : or the name or folder of a model
    Raises DataError for species the model does not know, and when no frame has an energy or forces.
    """
    reporter = reporter or SilentReporter()
    potential = load_potential(potential) if isinstance(potential, str | Path) else potential

    def graphs() -> Iterator[AtomicGraph]:
        for first in range(0, len(frames), batch_size):
            if reporter.should_stop():
                return
            yield potential.graph(frames[first:first + batch_size])
            reporter.update(min(first + batch_size, len(frames)), len(frames), "evaluating")

    errors = evaluate_errors(potential.model, graphs(), each=each)
    if errors["n_frames"] and errors["energy_mae_meV"] is None and errors["forces_mae_meV_per_A"] is None:
        raise DataError(f"found no energies and no forces in {errors['n_frames']} frames, expected labels to compare with",
                        "read them with toolkit.read_frames, which knows other names of labels than ase.io.read")
    return {**errors, "stopped": errors["n_frames"] < len(frames)}
