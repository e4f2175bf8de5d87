"""Everything a training run needs to go on exactly where it stopped: tensors in safetensors, numbers in JSON."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from toolkit.config import TrainConfig, parse_config
from toolkit.errors import ConfigError, ModelError, StorageError
from toolkit.models.checkpoint import load_tensors, save_tensors
from toolkit.storage import write_text_atomic

FORMAT_VERSION = 1


@dataclass
class Progress:
    """Where a run stands. `step` counts batches done in the current epoch; sums belong to that epoch, `global_step` and
    `trained_frames` to the whole run.

    max_edges : edges computed at once, kept so that a resumed run adds up the same parts; 0 means not chosen yet
    """

    epoch: int = 0
    step: int = 0
    global_step: int = 0
    loss_sum: float = 0.0
    frames: int = 0
    trained_frames: int = 0
    best_loss: float = float("inf")
    best_epoch: int = -1
    plateau_scale: float = 1.0
    epochs_since_reduction: int = 0
    wall_s: float = 0.0
    train_s: float = 0.0
    max_edges: int = 0


def save_state(folder: Path, config: TrainConfig, progress: Progress, tensors: dict[str, torch.Tensor]) -> None:
    """Write a checkpoint as one unit: a kill at any moment leaves either the old or the new one complete."""
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        save_tensors(tensors, fresh / "state.safetensors")
        header = {"format_version": FORMAT_VERSION, "config": config.model_dump(mode="json"), "progress": asdict(progress)}
        write_text_atomic(fresh / "state.json", json.dumps(header, indent=1))
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"cannot write the checkpoint {folder}: {error}", "free space on the disk") from None


def find_state(folder: Path) -> Path | None:
    """The newest complete checkpoint under this name, or None."""
    for candidate in (folder, folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")):
        if (candidate / "state.json").is_file() and (candidate / "state.safetensors").is_file():
            return candidate
    return None


def load_state(folder: Path, config: TrainConfig) -> tuple[Progress, dict[str, torch.Tensor]]:
    """Read a checkpoint. Raises ModelError when it is damaged or belongs to another configuration."""
    try:
        header = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        progress = Progress(**header["progress"])
        saved = parse_config(TrainConfig, header["config"]).model_dump(mode="json")
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise ModelError(f"cannot read the checkpoint {folder}: {error}", "start the training again") from None
    free = {"device", "threads", "eval_batch_size", "checkpoint_every_steps", "max_edges_per_batch"}
    wanted = config.model_dump(mode="json")
    changed = sorted(key for key in wanted if key not in free and wanted[key] != saved[key])
    if changed:
        raise ModelError(f"found a checkpoint of another configuration in {folder} ({', '.join(changed)} differ)",
                         "resume with the configuration the run was started with")
    return progress, load_tensors(folder / "state.safetensors")
