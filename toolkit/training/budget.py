"""What a training run will cost, from a few measured steps: parameters, memory, time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from toolkit.config import TrainConfig
from toolkit.data.graph_store import graph_sizes
from toolkit.progress import Reporter, SilentReporter
from toolkit.training.card import device_name
from toolkit.training.memory import available_bytes, fit_memory
from toolkit.training.metrics import evaluate_errors
from toolkit.training.prepare import prepare
from toolkit.training.runner import BatchRunner
from toolkit.training.trainer import Trainer, cpu_threads

WARM_UP_STEPS = 3
"""Not timed: the first steps choose algorithms, compile kernels and, on CUDA, are recorded."""
MEASURED_S, MOST_STEPS = 2.0, 100
"""Steps are measured for so long, or until there were so many; at least one."""


@dataclass(frozen=True)
class Budget:
    """The cost of a run on this machine.

    peak_bytes : of the largest step, without the weights;  available_bytes : what is free now
    setup_s : reading data and building neighbour lists;  epoch_s : training of one epoch and its share of validations
    total_s : set-up and all epochs, without the test at the end
    in_parts : True when the largest batch exceeds the memory and is computed in parts
    """

    device: str
    num_parameters: int
    n_train: int
    n_val: int
    n_test: int
    batch_size: int
    steps_per_epoch: int
    peak_bytes: float
    available_bytes: int
    in_parts: bool
    setup_s: float
    step_s: float
    epoch_s: float
    total_s: float


def measure_budget(config: TrainConfig, reporter: Reporter | None = None) -> Budget:
    """Prepare the data, do a few steps of the run and throw the weights away.

    Raises DataError, ConfigError and DeviceError, as the run itself would.
    """
    reporter = reporter or SilentReporter()
    started = time.perf_counter()
    with cpu_threads(config.threads), TemporaryDirectory() as folder:
        trainer = Trainer(config, prepare(config, reporter), Path(folder), SilentReporter())
        law, free = fit_memory(trainer.step, trainer.data.train), available_bytes(trainer.device)
        run_batch = trainer.make_runner()
        setup_s = time.perf_counter() - started
        step_s = _step_s(trainer, run_batch, reporter)
        epoch_s = trainer.steps_per_epoch * step_s + _validation_s(trainer) / config.validate_every_epochs
    atoms, edges = _largest_batch(trainer)
    share = min(1.0, run_batch.max_edges / max(edges, 1))
    data = trainer.data
    return Budget(
        device=device_name(trainer.device), num_parameters=sum(p.numel() for p in trainer.model.parameters()),
        n_train=len(data.train), n_val=len(data.val), n_test=len(data.test), batch_size=trainer.batch_size,
        steps_per_epoch=trainer.steps_per_epoch, peak_bytes=law.predict(share * atoms, share * edges),
        available_bytes=free, in_parts=share < 1.0, setup_s=setup_s, step_s=step_s, epoch_s=epoch_s,
        total_s=setup_s + min(config.max_epochs * epoch_s, config.max_train_s or math.inf))


def _step_s(trainer: Trainer, run_batch: BatchRunner, reporter: Reporter) -> float:
    """Seconds of one optimiser step, the mean over rounds of 1, 2, 4 … steps."""
    batches = cycle(trainer.epoch_batches(0))

    def run(steps: int) -> float:
        started = time.perf_counter()
        for indices in islice(batches, steps):
            trainer.step.prepare(0.0, 0)
            outcome = run_batch(indices)
        outcome.tolist()  # waits for the device
        return time.perf_counter() - started

    run(WARM_UP_STEPS)
    steps, elapsed = 0, 0.0
    while elapsed < MEASURED_S and steps < MOST_STEPS and not (steps and reporter.should_stop()):
        elapsed += run(steps + 1)
        steps += steps + 1
        reporter.update(min(steps, MOST_STEPS), MOST_STEPS, "measuring steps")
    return elapsed / steps


def _largest_batch(trainer: Trainer) -> tuple[int, int]:
    """Most atoms and most edges in a batch of the first epoch."""
    atoms, edges = graph_sizes(trainer.data.train)
    batches = trainer.epoch_batches(0)
    return max(int(atoms[batch].sum()) for batch in batches), max(int(edges[batch].sum()) for batch in batches)


def _validation_s(trainer: Trainer) -> float:
    """Seconds of all validation batches, from the first of them."""
    first = trainer.data.val[:trainer.config.eval_batch_size]
    started = time.perf_counter()
    evaluate_errors(trainer.model, trainer.evaluation_batches(first), trainer.config.loss)
    return (time.perf_counter() - started) * len(trainer.data.val) / max(len(first), 1)
