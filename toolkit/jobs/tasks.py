"""The tasks a job can do, and their one synchronous entry `run_task` for the command line and Python."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from toolkit.checks.passport import passport
from toolkit.config import TrainConfig, parse_config
from toolkit.errors import JobError
from toolkit.jobs.compare import compare_task
from toolkit.jobs.distillation import distill_task
from toolkit.jobs.environment import recorded
from toolkit.jobs.evaluation import evaluate_task
from toolkit.jobs.learning_curve import learning_curve_task
from toolkit.jobs.modes import modes_task
from toolkit.jobs.requests import MDRequest, PassportRequest
from toolkit.jobs.runner import Task, run_here
from toolkit.jobs.sources import starting_structure
from toolkit.jobs.stability import stability_task
from toolkit.jobs.study import study_task
from toolkit.jobs.workflow import workflow_task
from toolkit.md.harvest import harvest_path
from toolkit.md.simulation import simulate
from toolkit.md.summary import summarize
from toolkit.models.potential import load_potential
from toolkit.progress import Reporter
from toolkit.training.budget import measure_budget
from toolkit.training.trainer import train


def train_task(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
    """Train a potential. config : fields of a TrainConfig."""
    return train(parse_config(TrainConfig, config), run_dir, resume=resume, reporter=reporter)


def md_task(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
    """Run molecular dynamics into `trajectory.h5`. config : fields of an MDRequest."""
    return run_md(parse_config(MDRequest, config), run_dir / "trajectory.h5", resume=resume, reporter=reporter)


def run_md(request: MDRequest, path: Path, *, resume: bool = False, reporter: Reporter | None = None) -> dict[str, Any]:
    """Run molecular dynamics into the trajectory `path`, without a run folder, and return its summary.

    With several `frames` the trajectories are numbered (`run_files.trajectory_paths`), and `systems` holds a summary of
    each by its number.
    """
    potential = load_potential(request.model, **request.computing())
    inner = None if request.inner_model is None else load_potential(request.inner_model, **request.computing())
    if request.frames is None:
        atoms = starting_structure(request.structure, request.frame)
        with simulate(potential, atoms, request.md, path, inner=inner, resume=resume, reporter=reporter) as trajectory:
            return summarize(trajectory)
    systems = [starting_structure(request.structure, frame) for frame in request.frames]
    summaries = []
    for trajectory in simulate(potential, systems, request.md, path, inner=inner, resume=resume, reporter=reporter):
        with trajectory:
            summaries.append(summarize(trajectory))
    harvest = harvest_path(path)
    for summary in summaries:
        del summary["harvest"]
    return {"stopped": any(summary["stopped"] for summary in summaries),
            "harvest": str(harvest) if harvest.exists() else None,
            "systems": {str(number): summary for number, summary in enumerate(summaries)}}


def passport_task(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
    """Check a model; a resumed run starts anew. config : fields of a PassportRequest."""
    request = parse_config(PassportRequest, config)
    frames = None if request.structure is None else [starting_structure(request.structure, request.frame)]
    model = request.model if request.keep else load_potential(request.model, device=request.device, dtype="float64")
    return passport(model, frames, nve_ps=request.nve_ps, device=request.device, reporter=reporter).to_dict()


def budget_task(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
    """Measure what a training run would cost. config : fields of a TrainConfig."""
    return asdict(measure_budget(parse_config(TrainConfig, config), reporter))


TASKS: dict[str, Task] = {name: recorded(task) for name, task in {
    "train": train_task, "md": md_task, "passport": passport_task, "modes": modes_task, "study": study_task,
    "evaluate": evaluate_task, "budget": budget_task, "compare": compare_task, "learningcurve": learning_curve_task,
    "stability": stability_task, "workflow": workflow_task, "distill": distill_task}.items()}


def uses_gpu(config: dict[str, Any]) -> bool:
    """True when a job with this configuration, or one made of runs of a recipe, will compute on CUDA."""
    device = str(config.get("recipe", config).get("device", "auto"))
    return device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())


def run_task(task: str, config: dict[str, Any], run_dir: Path, *, resume: bool = False,
             reporter: Reporter | None = None) -> dict[str, Any]:
    """Run a task in this process, in the same kind of run folder, under the same lock, as a worker would.

    task : a name in TASKS
    run_dir : a new folder, or with `resume` that of an earlier run
    reporter : hears progress and metrics too, and may stop the work
    Returns the result that is stored as `result.json`. Afterwards `read_status(run_dir).state` is "finished" or,
    when somebody asked to stop, "stopped". Raises JobError for a folder in use and whatever the task raises.
    """
    if task not in TASKS:
        raise JobError(f"found the task {task!r}, expected one of {sorted(TASKS)}")
    return run_here(task, TASKS[task], config, run_dir, resume=resume, listener=reporter, on_gpu=uses_gpu(config))
