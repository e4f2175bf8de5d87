"""Several trainings side by side on one GPU: each alone keeps it busy for a part of the time only.

A step on a few small molecules is a row of some thousand short kernels that fill a fraction of the GPU. The recorded
steps of several runs, each replayed on a stream of its own by a thread of its own, overlap.
"""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from toolkit.config import TrainConfig
from toolkit.errors import ConfigError, TrainingError
from toolkit.progress import Reporter, SilentReporter
from toolkit.training.runner import BatchRunner
from toolkit.training.trainer import Trainer, begin_or_resume
from toolkit.training.turns import Turns


MAX_RUNS = 12
"""Each needs two streams, and PyTorch has 32 before it hands them out again."""
TEST_S = 4.0
"""Set aside for the last validation and the test of each run, one after the other, where all are to end in time."""


class SideBySide:
    """What `num_runs` trainings share that begin together, each in a thread of its own.

    Data are read and steps recorded one run after the other, before the first of them begins: a recording tolerates no
    other work on the device. Validations and the test take turns (`turns.Turns`).
    within_s : all are to have ended and been tested so many seconds from now; what they took to begin is taken off
    Raises ConfigError for more runs than `MAX_RUNS`.
    """

    def __init__(self, num_runs: int, within_s: float | None = None) -> None:
        if not 1 <= num_runs <= MAX_RUNS:
            raise ConfigError(f"found {num_runs} runs, expected 1 to {MAX_RUNS} side by side", "start the others later")
        self._last_step_at = None if within_s is None else time.monotonic() + within_s - num_runs * TEST_S
        self._turns = Turns()
        self._all_ready = threading.Barrier(num_runs)

    def train(self, config: TrainConfig, run_dir: Path, *, resume: bool = False,
              reporter: Reporter | None = None) -> dict[str, Any]:
        """`trainer.train`, together with the others. Raises TrainingError when another of the runs could not begin."""
        begun = False
        try:
            with self._turns.alone():
                trainer, run_batch = _prepare(config, run_dir, resume, reporter or SilentReporter())
            self._all_ready.wait()
            begun = True
        except threading.BrokenBarrierError:
            raise TrainingError("another of the runs that were to begin together could not",
                                "mend that one, or leave it out") from None
        finally:
            if not begun:
                self._all_ready.abort()
        trainer.turns = self._turns
        trainer.skip_time()
        if self._last_step_at is not None:
            trainer.end_in(self._last_step_at - time.monotonic())
        on_cuda = trainer.device.type == "cuda"
        with torch.cuda.stream(torch.cuda.Stream(trainer.device)) if on_cuda else nullcontext():
            return trainer.conclude(trainer.fit(run_batch))


def _prepare(config: TrainConfig, run_dir: Path, resume: bool, reporter: Reporter) -> tuple[Trainer, BatchRunner]:
    trainer = begin_or_resume(config, run_dir, resume, reporter)
    run_batch = trainer.make_runner()
    run_batch.record(trainer.epoch_batches(0)[0])
    trainer.wall_s()
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return trainer, run_batch
