"""Helpers for tests of training runs: changed configurations, a reporter that remembers, weights of a run."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from toolkit.config import TrainConfig, parse_config
from toolkit.progress import SilentReporter


def changed(config: TrainConfig, **changes) -> TrainConfig:
    """The configuration with some fields, or fields of its groups, changed."""
    values = config.model_dump()
    for name, value in changes.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    return parse_config(TrainConfig, values)


class Recorder(SilentReporter):
    """Remembers epochs and notes, and stops at a given step."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.epochs, self.notes, self.steps, self.stop_at = [], [], 0, stop_at

    def metrics(self, record) -> None:
        if record["kind"] == "note":
            self.notes.append(record["message"])
        else:
            self.epochs.append(record)

    def update(self, step, total, message="") -> None:
        self.steps = step

    def should_stop(self) -> bool:
        return self.stop_at is not None and self.steps >= self.stop_at


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    """Weights of the best model."""
    return load_file(run_dir / "model" / "weights.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
