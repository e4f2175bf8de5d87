"""The point from which an interrupted run continues bit for bit: `<trajectory>.restart`, a safetensors file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from toolkit.errors import DataError
from toolkit.md.state import MDState, tensor_names
from toolkit.models.checkpoint import load_tensors, save_tensors


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
    tensors = {name: getattr(state, name).cpu().clone().contiguous() for name in tensor_names()}  # memory of its own
    tensors["counters"] = torch.tensor([point.step, state.num_replicas])
    tensors["generator"] = state.generator.get_state()
    save_tensors(tensors, restart_path(trajectory))


def load_restart(trajectory: Path, device: torch.device) -> RestartPoint:
    """Read it back onto a device of the same kind. Raises DataError or ModelError when it does not fit."""
    path = restart_path(trajectory)
    tensors = load_tensors(path)
    try:
        step, num_replicas = tensors["counters"].tolist()
        # files from before there were inner steps
        tensors.setdefault("inner_forces", tensors["positions"].new_zeros(len(tensors["positions"]), 0, 3))
        generator = torch.Generator(device)
        generator.set_state(tensors["generator"])
        state = MDState(**{name: tensors[name].to(device) for name in tensor_names()}, num_replicas=num_replicas,
                        generator=generator)
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        raise DataError(f"{path} is no restart point for {device}: {error}",
                        "resume with the version, and on the kind of device, that the run was started with") from None
    return RestartPoint(state, step)
