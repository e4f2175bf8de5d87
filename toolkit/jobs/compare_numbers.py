"""The numbers of a comparison: errors with error bars, speed of all models in turn, what they differ by in pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from ase import Atoms
from torch import Tensor

from toolkit.analysis.energy_zero import REST, energy_zero, has_other_zero
from toolkit.analysis.paired import FrameStatistic, frame_statistics, mean_of
from toolkit.bench.measure import Timing, time_calls
from toolkit.bench.memory import peak_tensor_bytes
from toolkit.bench.rows import recorded_call
from toolkit.data.graph import AtomicGraph
from toolkit.jobs.evaluation import PredictionRecorder
from toolkit.models.base import ModelOutput
from toolkit.models.potential import Potential
from toolkit.progress import Reporter
from toolkit.training.metrics import evaluate_potential
from toolkit.units import MEV_PER_EV

Numbers = dict[str, Any]
ROUNDS = 5
"""Each model is timed in turn so many times; a neighbour that disturbs one round disturbs all models alike."""
BATCH_ATOMS, MAX_BATCH = 1000, 64
WITH_OFFSET = "energy_mae_meV_per_atom"
PAIRED = ("forces_mae_meV_per_A", "forces_rmse_meV_per_A", WITH_OFFSET, REST, "stress_mae_meV_per_A3")
"""Errors that are compared model by model."""


class StressRecorder:
    """Keeps the stress errors of each batch that `evaluate_potential` tells of; call it, then take `statistic()`."""

    def __init__(self) -> None:
        self._total: list[np.ndarray] = []
        self._count: list[np.ndarray] = []

    def __call__(self, graph: AtomicGraph, output: ModelOutput) -> None:
        label = graph.labels["stress"]
        error: Tensor = (output.get("stress", label) - label).abs()
        known = ~label.isnan()
        self._total.append(MEV_PER_EV * error.where(known, error.new_zeros(())).sum(dim=(1, 2)).cpu().numpy())
        self._count.append(known.sum(dim=(1, 2)).cpu().numpy())

    def statistic(self) -> FrameStatistic | None:
        """Mean absolute error of the components, meV/Å³; None without labels."""
        return mean_of(np.concatenate(self._total), np.concatenate(self._count))


def judged(potential: Potential, frames: Sequence[Atoms], reporter: Reporter) -> Numbers | None:
    """What `evaluate_potential` finds, standard errors under the same names with `_stderr`, the energy offset, and
    `influences`, from which paired differences are taken; None when it was asked to stop.

    Raises DataError for species that the model does not know and for predictions that are not finite.
    """
    record, stress = PredictionRecorder(), StressRecorder()

    def each(graph: AtomicGraph, output: ModelOutput) -> None:
        record(graph, output)
        stress(graph, output)

    errors = evaluate_potential(potential, frames, reporter=reporter, each=each)
    if errors.pop("stopped"):
        return None
    parity = record.parity()
    statistics = frame_statistics(parity)
    if stress_statistic := stress.statistic():
        statistics["stress_mae_meV_per_A3"] = stress_statistic
    result = {**errors, **energy_zero(parity)}
    for name, found in statistics.items():
        group, _, symbol = name.partition(".")
        place = result["per_species"][symbol] if symbol else result
        place |= {group: found.value, f"{group}_stderr": found.stderr}
    result["influences"] = {name: {"value": found.value, "influence": found.influence.tolist()}
                            for name, found in statistics.items()}
    return result


def without_influences(errors: Numbers) -> Numbers:
    """What is worth showing of what `judged` returned."""
    return {name: value for name, value in errors.items() if name != "influences"}


def paired_differences(models: Mapping[str, Numbers]) -> list[Numbers]:
    """One row for each two models and each of PAIRED: first − second, its standard error, and how many of these it is.
    Energies with their offset are left out where one of the two has another zero of energy.

    models : label -> what `judged` returned, all on the same frames
    """
    rows = []
    for (first, a), (second, b) in combinations(models.items(), 2):
        left_out = {WITH_OFFSET} if has_other_zero(a) or has_other_zero(b) else set()
        for name in PAIRED:
            if name in a["influences"] and name in b["influences"] and name not in left_out:
                difference = _statistic(a, name) - _statistic(b, name)
                stderr = difference.stderr
                rows.append({"first": first, "second": second, "quantity": name, "difference": difference.value,
                             "stderr": stderr, "sigmas": difference.value / stderr if stderr else None})
    return rows


def median_frame(frames: Sequence[Atoms]) -> Atoms:
    """The frame of middle size; of equally large ones the first."""
    return sorted(frames, key=len)[(len(frames) - 1) // 2]


def speeds(potentials: Mapping[str, Potential], atoms: Atoms, seconds: float,
           reporter: Reporter) -> dict[str, Numbers] | None:
    """Energies and forces of one structure and of a batch of copies: medians over rounds in which every model is timed
    once, and the quartiles of these; memory of the tensors of the batch. None when asked to stop.

    Raises DeviceError when the batch does not fit into memory.
    """
    batch = max(1, min(MAX_BATCH, BATCH_ATOMS // len(atoms)))
    calls = {(label, size): _call(potential, potential.graph([atoms] * size))
             for label, potential in potentials.items() for size in dict.fromkeys((1, batch))}
    rounds: dict[tuple[str, int], list[Timing]] = {key: [] for key in calls}
    for number in range(ROUNDS):
        for step, (label, size) in enumerate(calls):
            if reporter.should_stop():
                return None
            reporter.update(number * len(calls) + step, ROUNDS * len(calls), f"{label}, {size} at once")
            rounds[label, size].append(time_calls(calls[label, size], potentials[label].device,
                                                  seconds=seconds / ROUNDS, min_repeats=3))
    return {label: _speed(potential, atoms, batch, rounds[label, 1], rounds[label, batch])
            for label, potential in potentials.items()}


def _speed(potential: Potential, atoms: Atoms, batch: int, single: list[Timing], many: list[Timing]) -> Numbers:
    low, median, high = (1e3 * np.percentile([timing.median_s for timing in single], [25, 50, 75])).tolist()
    graph = potential.graph([atoms] * batch)
    peak = peak_tensor_bytes(lambda: potential.evaluate(graph), potential.device)
    return {"num_atoms": len(atoms), "ms": median, "ms_low": low, "ms_high": high, "batch": batch,
            "processor_ms": 1e3 * float(np.median([timing.process_s for timing in single])),
            "frames_per_s": batch / float(np.median([timing.median_s for timing in many])),
            "batch_peak_memory_MB": peak / 1e6}


def _call(potential: Potential, graph: AtomicGraph) -> Callable[[], object]:
    """Energies and forces as molecular dynamics computes them: on a GPU replayed as one CUDA graph."""
    if potential.device.type == "cuda":
        return recorded_call(potential, graph)
    return lambda: potential.evaluate(graph)


def _statistic(errors: Numbers, name: str) -> FrameStatistic:
    stored = errors["influences"][name]
    return FrameStatistic(stored["value"], np.array(stored["influence"]))
