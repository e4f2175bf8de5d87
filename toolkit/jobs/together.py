"""Training runs that share a GPU, each with a run folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from toolkit.config import TrainConfig, parse_config
from toolkit.jobs.environment import recorded
from toolkit.jobs.runner import run_here
from toolkit.progress import Reporter
from toolkit.training.together import SideBySide
from toolkit.training.trainer import cpu_threads


def train_together(configs: Mapping[Path, TrainConfig], listeners: Mapping[Path, Reporter],
                   *, resume: bool = False, within_s: float | None = None) -> dict[Path, dict[str, Any]]:
    """Train all at once; run folder -> result, as of the job "train".

    configs : run folder -> what is trained there;  listeners : run folder -> who hears of it and may stop it
    resume : go on in folders that hold a run, begin in the others
    within_s : all are to have ended and been tested so many seconds from now
    Raises what the runs raise, when all have ended.
    """
    together = SideBySide(len(configs), within_s)

    def task(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
        return together.train(parse_config(TrainConfig, config), run_dir, resume=resume, reporter=reporter)

    def run(run_dir: Path) -> dict[str, Any]:
        known = resume and (run_dir / "status.json").exists()
        return run_here("train", recorded(task), configs[run_dir].model_dump(mode="json"), run_dir, resume=known,
                        listener=listeners[run_dir])

    with cpu_threads(1), ThreadPoolExecutor(max_workers=len(configs)) as pool:
        return dict(zip(configs, pool.map(run, configs), strict=True))
