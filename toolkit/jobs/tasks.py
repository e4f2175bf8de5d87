"""The tasks a job can do, and their one synchronous entry `run_task` for the command line and Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from toolkit.config import TrainConfig, parse_config
from toolkit.data.formats import read_frames
from toolkit.errors import DataError, JobError
from toolkit.jobs.requests import MDRequest
from toolkit.jobs.runner import Task, run_here
from toolkit.md.simulation import simulate
from toolkit.models.potential import load_potential
from toolkit.progress import Reporter
from toolkit.training.trainer import train


def train_task(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
    """Train a potential. config : fields of a TrainConfig."""
    return train(parse_config(TrainConfig, config), run_dir, resume=resume, reporter=reporter).summary()


def md_task(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
    """Run molecular dynamics into `trajectory.h5`. config : fields of an MDRequest."""
    request = parse_config(MDRequest, config)
    frames = read_frames(request.structure).frames
    if request.frame >= len(frames):
        raise DataError(f"{request.structure} has {len(frames)} frames, found frame = {request.frame}",
                        f"choose 0 … {len(frames) - 1}")
    potential = load_potential(request.model, device=request.device, dtype=request.dtype, backend=request.backend)
    path = run_dir / "trajectory.h5"
    simulate(potential, frames[request.frame], request.md, path, resume=resume, reporter=reporter)
    return {}


TASKS: dict[str, Task] = {"train": train_task, "md": md_task}


def uses_gpu(config: dict[str, Any]) -> bool:
    """True when a job with this configuration will compute on CUDA."""
    device = str(config.get("device", "auto"))
    return device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())


def run_task(task: str, config: dict[str, Any], run_dir: Path, *, resume: bool = False,
             reporter: Reporter | None = None) -> dict[str, Any]:
    """Run a task in this process, in the same kind of run folder, under the same lock, as a worker would.

    task : "train" or "md"
    run_dir : a new folder, or with `resume` that of an earlier run
    reporter : hears progress and metrics too, and may stop the work
    Returns the result that is stored as `result.json`. Afterwards `read_status(run_dir).state` is "finished" or,
    when somebody asked to stop, "stopped". Raises JobError for a folder in use and whatever the task raises.
    """
    if task not in TASKS:
        raise JobError(f"found the task {task!r}, expected one of {sorted(TASKS)}")
    return run_here(task, TASKS[task], config, run_dir, resume=resume, listener=reporter, on_gpu=uses_gpu(config))
