"""Whole tasks in one call from a script or notebook: the same run folders, locks and results as the pages and the CLI."""

from __future__ import annotations

from pathlib import Path

from toolkit.config import TrainConfig, load_config
from toolkit.jobs.run_dir import create_run_dir
from toolkit.jobs.tasks import run_task
from toolkit.progress import Reporter


def train(config: TrainConfig | str | Path, run_dir: str | Path | None = None, *, resume: bool = False,
          reporter: Reporter | None = None) -> Path:
    """Train a potential in this process and return the run folder (`model/` holds the best model).

    config : a TrainConfig, or the path of its YAML file
    run_dir : where to work; by default a new folder under TOOLKIT_RUNS or ./runs
    resume : go on from the last checkpoint in `run_dir`
    Raises ToolkitError subclasses for bad configurations and data.
    """
    config = config if isinstance(config, TrainConfig) else load_config(TrainConfig, config)
    folder = Path(run_dir) if run_dir is not None else create_run_dir("train")
    run_task("train", config.model_dump(mode="json"), folder, resume=resume, reporter=reporter)
    return folder
