"""The point from which an interrupted run continues bit for bit: `<trajectory>.restart`, a safetensors file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from toolkit.errors import DataError
from toolkit.md.state import MDState
from toolkit.models.checkpoint import load_tensors, save_tensors

TENSORS = ("positions", "velocities", "forces", "potential_energies", "masses", "replica_ids")


@dataclass(frozen=True)
class RestartPoint:
    """The state of a run after `step` steps."""

    state: MDState
    step: int


def restart_path(trajectory: Path) -> Path:
    """Where the restart point of a trajectory lives."""
    return trajectory.with_name(f"{trajectory.name}.restart")


def save_restart(trajectory: Path, point: RestartPoint) -> None:
    """Replace the restart point of a trajectory. Raises StorageError."""
    state = point.state
    tensors = {name: getattr(state, name).cpu().contiguous() for name in TENSORS}
    tensors["counters"] = torch.tensor([point.step, state.num_replicas])
    tensors["generator"] = state.generator.get_state()
    save_tensors(tensors, restart_path(trajectory))


def load_restart(trajectory: Path, device: torch.device) -> RestartPoint:
    """Read it back onto a device of the same kind. Raises DataError or ModelError when it does not fit."""
    path = restart_path(trajectory)
    tensors = load_tensors(path)
    try:
        step, num_replicas = tensors["counters"].tolist()
        generator = torch.Generator(device)
        generator.set_state(tensors["generator"])
        state = MDState(**{name: tensors[name].to(device) for name in TENSORS}, num_replicas=num_replicas,
                        generator=generator)
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        raise DataError(f"{path} is no restart point for {device}: {error}",
                        "resume on the kind of device the run was started on") from None
    return RestartPoint(state, step)
