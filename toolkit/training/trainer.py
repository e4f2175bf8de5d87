"""The training loop: one for every architecture, device and caller."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toolkit.config import TrainConfig
from toolkit.data.datasets import batch_indices, batches
from toolkit.data.graph import AtomicGraph
from toolkit.errors import JobError, TrainingError
from toolkit.kernels.dispatch import select_backend
from toolkit.models.checkpoint import load_model, save_model
from toolkit.models.folders import WEIGHTS
from toolkit.models.potential import resolve_device, resolve_dtype
from toolkit.models.registry import build_model
from toolkit.progress import Reporter, SilentReporter, tell
from toolkit.training.card import write_card
from toolkit.training.memory import available_bytes, plan_max_edges
from toolkit.training.metrics import evaluate_errors
from toolkit.training.prepare import TrainingData, prepare
from toolkit.training.recorded import RecordedSteps, store_bytes, usual_shape
from toolkit.training.runner import BatchRunner
from toolkit.training.schedule import choose_batch_size, learning_rate
from toolkit.training.start import adopt_weights
from toolkit.training.state import Progress, find_state, load_state, save_state
from toolkit.training.step import TrainStep
from toolkit.training.turns import Turns

READ_EVERY_S = 0.3
"""On a GPU losses are fetched this often: a look at each step would make the host and the device wait for each other."""
RESIDENT_FRACTION = 0.25
"""A training set lies on the device when it takes less than this share of the free memory."""
SAMPLED_FRAMES = 100_000
"""Frames whose batches are looked at to find the usual batch shape."""


def train(config: TrainConfig, run_dir: Path, *, resume: bool = False, reporter: Reporter | None = None) -> dict[str, Any]:
    """Train, keep the best model in `run_dir/model`, test it once at the end.

    With `resume` the run goes on from `run_dir/checkpoints/last`, bit for bit as if never interrupted (CPU).
    Returns run_dir, model_dir, test errors (`test.…_meV…`), wall_s, frames_per_s and `stopped`.
    Raises DataError, ConfigError, DeviceError (out of memory, with the batch size to try), TrainingError (diverged).
    """
    reporter = reporter or SilentReporter()
    with cpu_threads(config.threads):
        trainer = begin_or_resume(config, Path(run_dir), resume, reporter)
        finished = trainer.fit()
        return trainer.conclude(finished)


def begin_or_resume(config: TrainConfig, run_dir: Path, resume: bool, reporter: Reporter) -> Trainer:
    """A run with its data read, at its beginning or, with `resume`, at its last checkpoint. Raises as `train` does."""
    trainer = Trainer(config, prepare(config, reporter), run_dir, reporter)
    if resume:
        trainer.resume()
    return trainer


class StopWanted(Exception):
    """The reporter asked to stop in the middle of a validation or test."""


class Trainer:
    """One run: model, optimiser, averages and progress, with an epoch loop that can stop at any step."""

    def __init__(self, config: TrainConfig, data: TrainingData, run_dir: Path, reporter: Reporter) -> None:
        self.config = config
        self.data = data
        self.run_dir = run_dir
        self.reporter = reporter
        self.device = resolve_device(config.device)
        self.backend = select_backend(config.backend, self.device.type)
        self.model = build_model(data.model_config, resolve_dtype(config.dtype), self.backend).to(self.device)
        if config.start_from is not None:
            adopt_weights(self.model, config.start_from)
        self.step = TrainStep(self.model, config.loss, config.optimizer)
        self.turns = Turns()
        self.progress = Progress()
        self._end_at_wall_s = math.inf
        self.batch_size = choose_batch_size(config.batch_size, len(data.train))
        self.steps_per_epoch = math.ceil(len(data.train) / self.batch_size)
        self._unread: list[tuple[Tensor, int]] = []
        self._read_at = self._clock = time.perf_counter()

    @property
    def checkpoint_dir(self) -> Path:
        """Folder of the last state."""
        return self.run_dir / "checkpoints" / "last"

    @property
    def model_dir(self) -> Path:
        """Folder of the best model so far."""
        return self.run_dir / "model"

    # --- the loop -------------------------------------------------------------------------------------------------

    def fit(self, run_batch: BatchRunner | None = None) -> bool:
        """Run the remaining epochs. Returns False when the reporter asked to stop (the state is then saved).

        run_batch : what computes the steps, when it was made before
        """
        run_batch = run_batch or self.make_runner()
        last = (self._is_over() and not self.progress.step) or self._has_stopped_early()
        while not last:
            try:
                if not self._train_epoch(run_batch):
                    raise StopWanted
                record, last = self._end_epoch()
            except StopWanted:
                self.save()
                return False
            if record is not None:
                self.reporter.metrics(record)
                last = last or self._early_stop()
        return True

    def _end_epoch(self) -> tuple[dict[str, Any] | None, bool]:
        """Count the epoch, validate where that is due. Returns the record of the epoch, and whether it was the last.

        Stopped meanwhile, all is as it was before: a run that goes on from there has no batches left, and validates.
        """
        steps, self.progress.step = self.progress.step, 0
        self.progress.epoch += 1
        last = self._is_over()
        look = last or self.progress.epoch % self.config.validate_every_epochs == 0
        with self.turns.alone() if look else nullcontext():
            try:
                record = self._validate() if look else None
            except StopWanted:
                self.progress.epoch, self.progress.step = self.progress.epoch - 1, steps
                raise
            self.progress.loss_sum, self.progress.frames, self.progress.train_s = 0.0, 0, 0.0
            if record is not None:
                self.save()
        return record, last

    def _is_over(self) -> bool:
        """At the last epoch, or out of time."""
        return self.progress.epoch >= self.config.max_epochs or self._is_out_of_time()

    def _is_out_of_time(self) -> bool:
        """Never in the first epoch: it is done however short the time, so that there is a model."""
        return self.progress.epoch > 0 and self._time_share() >= 1.0

    def _time_share(self) -> float:
        """The part of the time for this run that has passed."""
        return self.wall_s() / min(self._end_at_wall_s, self.config.max_train_s or math.inf)

    def end_in(self, seconds: float) -> None:
        """Let the run end so many seconds from now, and its cosine with it; at `max_train_s` if that is earlier."""
        self._end_at_wall_s = self.wall_s() + max(seconds, 0.0)

    def make_runner(self) -> BatchRunner:
        """What computes the steps: within the free memory, and recorded on CUDA. Says so when batches are split.

        A long range is not recorded: the sizes of its sums depend on the cells, so that it waits for the host.
        Raises DeviceError when one frame alone is too large.
        """
        graphs = self.data.train
        max_edges = self.config.max_edges_per_batch or self.progress.max_edges or plan_max_edges(self.step, graphs)
        shape = usual_shape(graphs, (self.epoch_batches(epoch) for epoch in self._sampled_epochs()))
        if shape.num_edges > max_edges:
            self._note(f"batches of {self.batch_size} frames have up to {shape.num_edges} edges, {max_edges} are computed "
                       "at once: the same steps, in parts")
        recorded = None
        if self.device.type == "cuda" and math.isfinite(self.step.model.receptive_field):
            resident = store_bytes(graphs) < RESIDENT_FRACTION * available_bytes(self.device)
            recorded = RecordedSteps(self.step, graphs, shape, resident=resident)
        self.progress.max_edges = max_edges
        return BatchRunner(self.step, graphs, max_edges, recorded=recorded, note=self._note)

    def _train_epoch(self, run_batch: BatchRunner) -> bool:
        for indices in self.epoch_batches(self.progress.epoch)[self.progress.step:]:
            if self.reporter.should_stop():
                self._read()
                return False
            if self.progress.step and self._is_out_of_time():
                break
            self.turns.wait()
            started = time.perf_counter()
            self.step.prepare(self._learning_rate(), self.progress.global_step)
            self._unread.append((run_batch(indices), len(indices)))
            self.progress.max_edges = run_batch.max_edges
            self.progress.step += 1
            self.progress.global_step += 1
            self.progress.train_s += time.perf_counter() - started
            if self._reading_is_due():
                self._read()
            every = self.config.checkpoint_every_steps
            if every and self.progress.step % every == 0:
                self._read()
                self.save()
        self._read()
        return True

    def epoch_batches(self, epoch: int) -> list[Tensor]:
        """Batches of an epoch as indices; they depend on (seed, epoch) only, so a resumed run repeats them."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + epoch)
        return batch_indices(len(self.data.train), self.batch_size, generator)

    def _sampled_epochs(self) -> range:
        return range(min(self.config.max_epochs, 1 + SAMPLED_FRAMES // len(self.data.train)))

    def _reading_is_due(self) -> bool:
        return self.device.type == "cpu" or time.perf_counter() - self._read_at > READ_EVERY_S

    def _read(self) -> None:
        """Fetch the losses of the steps since the last reading. Raises TrainingError when one is not finite."""
        if not self._unread:
            return
        started = time.perf_counter()
        first = self.progress.step - len(self._unread)
        outcomes = torch.stack([outcome for outcome, _ in self._unread]).tolist()
        self._read_at = time.perf_counter()
        self.progress.train_s += self._read_at - started
        for position, ((loss, norm), (_, frames)) in enumerate(zip(outcomes, self._unread, strict=True)):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise TrainingError(f"the loss became {loss} with a gradient of {norm} in epoch "
                                    f"{self.progress.epoch + 1}, step {first + position + 1}",
                                    "lower optimizer.learning_rate or set optimizer.gradient_clip_norm; the best model "
                                    "so far is kept")
            self.progress.loss_sum += loss * frames
            self.progress.frames += frames
            self.progress.trained_frames += frames
        self._unread.clear()
        self.reporter.update(self.progress.epoch * self.steps_per_epoch + self.progress.step,
                             self.config.max_epochs * self.steps_per_epoch,
                             f"epoch {self.progress.epoch + 1}/{self.config.max_epochs}, loss {loss:.3g}")

    def _note(self, message: str) -> None:
        tell(self.reporter, message)

    def _learning_rate(self) -> float:
        epoch = self.progress.epoch + self.progress.step / self.steps_per_epoch
        return learning_rate(self.config.optimizer, epoch, self.config.max_epochs, self.progress.plateau_scale,
                             self._time_share())

    # --- validation -------------------------------------------------------------------------------------------------

    def _validate(self) -> dict[str, Any]:
        with self.step.ema.applied():
            errors = evaluate_errors(self.model, self.evaluation_batches(self.data.val), self.config.loss)
            if errors["loss"] < self.progress.best_loss:
                self.progress.best_loss, self.progress.best_epoch = errors["loss"], self.progress.epoch - 1
                self.progress.epochs_since_reduction = 0
                save_model(self.model, self.data.model_config, self.model_dir)
            else:
                self.progress.epochs_since_reduction += 1
        if self.progress.epochs_since_reduction >= self.config.optimizer.plateau_patience_epochs:
            self.progress.plateau_scale *= self.config.optimizer.plateau_factor
            self.progress.epochs_since_reduction = 0
        return {
            "kind": "epoch", "epoch": self.progress.epoch,
            "train_loss": self.progress.loss_sum / self.progress.frames, "learning_rate": self._learning_rate(),
            **{f"val_{key}": errors[key] for key in ("loss", "energy_mae_meV_per_atom", "forces_mae_meV_per_A",
                                                     "forces_rmse_meV_per_A", "stress_mae_meV_per_A3")},
            "frames_per_s": self.progress.frames / max(self.progress.train_s, 1e-9), "wall_s": self.wall_s(),
        }

    def evaluation_batches(self, graphs: Sequence[AtomicGraph]) -> Iterator[AtomicGraph]:
        """Batches without a gradient, within `eval_batch_size` frames and the edges that fit.

        Raises StopWanted between two of them when the reporter asks to stop.
        """
        for batch in batches(graphs, self.config.eval_batch_size, self.progress.max_edges):
            if self.reporter.should_stop():
                raise StopWanted
            yield batch

    def _has_stopped_early(self) -> bool:
        """Whether the run that goes on had ended: its last state is that of a validation that stopped it."""
        looked = self.progress.step == 0 and self.progress.epoch % self.config.validate_every_epochs == 0
        return self.progress.epoch > 0 and looked and self._early_stop()

    def _early_stop(self) -> bool:
        patience = self.config.early_stop_patience_epochs
        return patience is not None and self.progress.epoch - 1 - self.progress.best_epoch >= patience

    def conclude(self, finished: bool) -> dict[str, Any]:
        """Test the best model (only when finished), write its metrics and card, and return the result.

        Stopped during the test, the run counts as stopped; what goes on from there tests it.
        """
        result: dict[str, Any] = {"run_dir": str(self.run_dir), "model_dir": str(self.model_dir), "stopped": not finished,
                                  "epochs": self.progress.epoch, "steps": self.progress.global_step,
                                  "best_epoch": self.progress.best_epoch + 1, "wall_s": self.wall_s(),
                                  "frames_per_s": self._frames_per_s()}
        if not finished:
            return result
        if self.progress.best_epoch < 0:
            raise TrainingError("the validation loss was never a finite number", "lower optimizer.learning_rate")
        if self.data.test:
            model, _ = load_model(self.model_dir, resolve_dtype(self.config.dtype), self.backend)
            model.to(self.device).requires_grad_(False)
            try:
                with self.turns.alone():
                    test = evaluate_errors(model, self.evaluation_batches(self.data.test))
            except StopWanted:
                return {**result, "stopped": True}
            result["test"] = test
            result.update({f"test.{key}": value for key, value in test.items() if key != "per_species"})
        write_card(self.model_dir, self.config, self.data, result, self.device)
        return result

    # --- state ------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the last checkpoint."""
        self.wall_s()
        tensors = {key: value.detach().cpu().clone().contiguous() for key, value in self.step.state().items()}
        save_state(self.checkpoint_dir, self.config, self.progress, tensors)

    def resume(self) -> None:
        """Continue from the last checkpoint, from the beginning where the run ended before it wrote one.

        Raises JobError when the run folder has a model but no checkpoint.
        """
        folder = find_state(self.checkpoint_dir)
        if folder is None:
            if (self.model_dir / WEIGHTS).is_file():
                raise JobError(f"found a model but no checkpoint in {self.run_dir}", "start the training in another folder")
            self._note("the run ended before its first checkpoint: it starts from the beginning")
            return
        self.progress, tensors = load_state(folder, self.config)
        if not self.progress.trained_frames:  # a checkpoint of a version that did not count them
            self.progress.trained_frames = self.progress.epoch * len(self.data.train) + self.progress.frames
        self.step.load(tensors)

    def skip_time(self) -> None:
        """What was spent since the last look at the clock was not spent on this run."""
        self._clock = time.perf_counter()

    def wall_s(self) -> float:
        """Seconds that this run has taken so far, interruptions left out."""
        now = time.perf_counter()
        self.progress.wall_s += now - self._clock
        self._clock = now
        return self.progress.wall_s

    def _frames_per_s(self) -> float:
        """Training frames over the whole wall time, validation and checkpoints included."""
        return self.progress.trained_frames / max(self.progress.wall_s, 1e-9)


@contextmanager
def cpu_threads(threads: int) -> Iterator[None]:
    """Let torch use so many threads for a while; 0: what OMP_NUM_THREADS says, else one."""
    before = torch.get_num_threads()
    if threads or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
