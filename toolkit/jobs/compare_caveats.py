"""What a reader of a comparison must know before believing its table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.analysis.energy_zero import describe_other_zero, has_other_zero

Models = Mapping[str, dict[str, Any]]


def caveats(models: Models, num_frames: int, environment: Mapping[str, Any]) -> list[str]:
    """One sentence or two for each thing that makes rows less comparable than they look.

    models : label -> its row;  environment : what `bench.measure.environment` says of this machine
    """
    return [*_problems(models), *_seen(models, num_frames), *_other_data(models), *_other_zero(models),
            *_passports(models), *_busy(environment)]


def _problems(models: Models) -> Iterator[str]:
    for label, row in models.items():
        if "problem" in row:
            yield f"{label} could not be judged: {row['problem']}."
        elif "problem" in row.get("md", {}):
            yield f"{label} could not be simulated: {row['md']['problem']}."


def _seen(models: Models, num_frames: int) -> Iterator[str]:
    for label, row in models.items():
        seen = row.get("seen") or {}
        known = sum(seen.values())
        if known:
            yield (f"{label} was trained on {known} of these {num_frames} frames or on near copies of them: its errors "
                   "here are smaller than on frames that it has never seen.")


def _other_data(models: Models) -> Iterator[str]:
    trained = {label: row["training"] for label, row in models.items() if row.get("training")}
    if len({json.dumps(training, sort_keys=True) for training in trained.values()}) > 1:
        told = "; ".join(f"{label}: {training['n_train']} frames of {' and '.join(training['sources'])}"
                         for label, training in trained.items())
        yield (f"The models were trained on different data or splits ({told}): the table compares models "
               "together with their data.")


def _other_zero(models: Models) -> Iterator[str]:
    for label, row in models.items():
        if "errors" in row and has_other_zero(row["errors"]):
            yield (f"{describe_other_zero(row['errors'], label)} Compare the column without offset: one constant for each "
                   "element is removed there.")


def _passports(models: Models) -> Iterator[str]:
    for label, row in models.items():
        if (row.get("passport") or {}).get("stale"):
            yield f"The passport of {label} was made for other weights: make a new one."


def _busy(environment: Mapping[str, Any]) -> Iterator[str]:
    load, cores = environment["load_average"], environment["cores"]
    if environment["device"].startswith("CPU") and load > cores:
        yield (f"This machine is busy (load {load:.1f} on {cores} cores): times are longer than they would be alone. "
               "All models took turns, so ratios hold; the processor time suffers least.")
