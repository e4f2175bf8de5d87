"""The training loop: one for every architecture, device and caller."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from toolkit.config import TrainConfig
from toolkit.data.datasets import batches
from toolkit.data.graph import AtomicGraph
from toolkit.errors import DeviceError, JobError, TrainingError
from toolkit.kernels.dispatch import select_backend
from toolkit.models.checkpoint import load_model, save_model
from toolkit.models.derivatives import evaluate
from toolkit.models.potential import resolve_device, resolve_dtype
from toolkit.models.registry import build_model
from toolkit.progress import Reporter, SilentReporter
from toolkit.training.card import write_card
from toolkit.training.ema import ExponentialMovingAverage
from toolkit.training.loss import training_loss
from toolkit.training.metrics import evaluate_errors
from toolkit.training.prepare import TrainingData, prepare
from toolkit.training.schedule import learning_rate
from toolkit.training.state import Progress, find_state, load_state, save_state


def train(config: TrainConfig, run_dir: Path, *, resume: bool = False, reporter: Reporter | None = None) -> dict[str, Any]:
    """Train, keep the best model in `run_dir/model`, test it once at the end.

    With `resume` the run goes on from `run_dir/checkpoints/last`, bit for bit as if never interrupted (CPU).
    Returns run_dir, model_dir, test errors (`test.…_meV…`), wall_s, frames_per_s and `stopped`.
    Raises DataError, ConfigError, DeviceError (out of memory, with the batch size to try), TrainingError (diverged).
    """
    reporter = reporter or SilentReporter()
    with _threads(config.threads):
        trainer = Trainer(config, prepare(config, reporter), Path(run_dir), reporter)
        if resume:
            trainer.resume()
        finished = trainer.fit()
        return trainer.conclude(finished)


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
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        options = config.optimizer
        optimizer_class = torch.optim.AdamW if options.name == "adamw" else torch.optim.Adam
        self.optimizer = optimizer_class(parameters, lr=options.learning_rate, weight_decay=options.weight_decay,
                                         amsgrad=options.amsgrad)
        self.ema = ExponentialMovingAverage(parameters, options.ema_decay)
        self.progress = Progress()
        self.steps_per_epoch = math.ceil(len(data.train) / config.batch_size)
        self._clock = time.perf_counter()

    @property
    def checkpoint_dir(self) -> Path:
        """Folder of the last state."""
        return self.run_dir / "checkpoints" / "last"

    @property
    def model_dir(self) -> Path:
        """Folder of the best model so far."""
        return self.run_dir / "model"

    # --- the loop -------------------------------------------------------------------------------------------------

    def fit(self) -> bool:
        """Run the remaining epochs. Returns False when the reporter asked to stop (the state is then saved)."""
        while self.progress.epoch < self.config.max_epochs:
            if not self._train_epoch():
                self.save()
                return False
            record = self._validate()
            self.progress.epoch += 1
            self.progress.step, self.progress.loss_sum, self.progress.frames, self.progress.train_s = 0, 0.0, 0, 0.0
            self.save()
            self.reporter.metrics(record)
            if self._early_stop():
                break
        return True

    def _train_epoch(self) -> bool:
        for index, batch in enumerate(self._epoch_batches()):
            if index < self.progress.step:
                continue  # done before the run was interrupted
            if self.reporter.should_stop():
                return False
            started = time.perf_counter()
            loss = self._step(batch.to(self.device))
            self.progress.train_s += time.perf_counter() - started
            self.progress.loss_sum += loss * batch.num_structures
            self.progress.frames += batch.num_structures
            self.progress.step = index + 1
            self.progress.global_step += 1
            done = self.progress.epoch * self.steps_per_epoch + self.progress.step
            self.reporter.update(done, self.config.max_epochs * self.steps_per_epoch,
                                 f"epoch {self.progress.epoch + 1}/{self.config.max_epochs}, loss {loss:.3g}")
            every = self.config.checkpoint_every_steps
            if every and self.progress.step % every == 0:
                self.save()
        return True

    def _epoch_batches(self) -> Iterator[AtomicGraph]:
        """Batches of the current epoch; their order depends on (seed, epoch) only, so a resumed run repeats it."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.progress.epoch)
        return batches(self.data.train, self.config.batch_size, generator)

    def _step(self, graph: AtomicGraph) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        with _explain_out_of_memory(self.device, self.config.batch_size):
            loss = training_loss(self._outputs(graph), graph, self.config.loss)
            loss.backward()
        limit = self.config.optimizer.gradient_clip_norm
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), math.inf if limit is None else limit)
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            raise TrainingError(f"the loss became {value} with a gradient of {float(norm)} in epoch "
                                f"{self.progress.epoch + 1}, step {self.progress.step + 1}",
                                "lower optimizer.learning_rate or set optimizer.gradient_clip_norm; "
                                "the best model so far is kept")
        self.optimizer.step()
        self.ema.update(self.progress.global_step)
        return value

    def _outputs(self, graph: AtomicGraph) -> dict[str, torch.Tensor]:
        weights = self.config.loss
        return evaluate(self.model, graph, forces=weights.forces_weight > 0, stress=weights.stress_weight > 0,
                        create_graph=True)

    def _learning_rate(self) -> float:
        epoch = self.progress.epoch + self.progress.step / self.steps_per_epoch
        return learning_rate(self.config.optimizer, epoch, self.config.max_epochs, self.progress.plateau_scale)

    # --- validation -------------------------------------------------------------------------------------------------

    def _validate(self) -> dict[str, Any]:
        with self.ema.applied():
            errors = evaluate_errors(self.model, batches(self.data.val, self.config.eval_batch_size, None), self.config.loss)
            if errors["loss"] < self.progress.best_loss:
                self.progress.best_loss, self.progress.best_epoch = errors["loss"], self.progress.epoch
                self.progress.epochs_since_reduction = 0
                save_model(self.model, self.data.model_config, self.model_dir)
            else:
                self.progress.epochs_since_reduction += 1
        if self.progress.epochs_since_reduction >= self.config.optimizer.plateau_patience_epochs:
            self.progress.plateau_scale *= self.config.optimizer.plateau_factor
            self.progress.epochs_since_reduction = 0
        return {
            "kind": "epoch", "epoch": self.progress.epoch + 1,
            "train_loss": self.progress.loss_sum / self.progress.frames, "learning_rate": self._learning_rate(),
            **{f"val_{key}": errors[key] for key in ("loss", "energy_mae_meV_per_atom", "forces_mae_meV_per_A",
                                                     "forces_rmse_meV_per_A", "stress_mae_meV_per_A3")},
            "frames_per_s": self.progress.frames / max(self.progress.train_s, 1e-9), "wall_s": self._wall_s(),
        }

    def _early_stop(self) -> bool:
        patience = self.config.early_stop_patience_epochs
        return patience is not None and self.progress.epoch - 1 - self.progress.best_epoch >= patience

    def conclude(self, finished: bool) -> dict[str, Any]:
        """Test the best model (only when finished), write its metrics and card, and return the result."""
        result: dict[str, Any] = {"run_dir": str(self.run_dir), "model_dir": str(self.model_dir), "stopped": not finished,
                                  "epochs": self.progress.epoch, "best_epoch": self.progress.best_epoch + 1,
                                  "wall_s": self._wall_s(), "frames_per_s": self._frames_per_s()}
        if not finished:
            return result
        if self.progress.best_epoch < 0:
            raise TrainingError("the validation loss was never a finite number", "lower optimizer.learning_rate")
        if self.data.test:
            model, _ = load_model(self.model_dir, resolve_dtype(self.config.dtype), self.backend)
            model.to(self.device).requires_grad_(False)
            test = evaluate_errors(model, batches(self.data.test, self.config.eval_batch_size, None))
            result["test"] = test
            result.update({f"test.{key}": value for key, value in test.items() if key != "per_species"})
        write_card(self.model_dir, self.config, self.data, result, self.device)
        return result

    # --- state ------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the last checkpoint."""
        self._wall_s()
        tensors = {f"model.{key}": value for key, value in self.model.state_dict().items()}
        tensors |= {f"ema.{i}": value for i, value in enumerate(self.ema.averages)}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{name}": value for name, value in state.items()}
        tensors = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
        save_state(self.checkpoint_dir, self.config, self.progress, tensors)

    def resume(self) -> None:
        """Continue from the last checkpoint. Raises JobError when the run folder has none."""
        folder = find_state(self.checkpoint_dir)
        if folder is None:
            raise JobError(f"found no checkpoint in {self.checkpoint_dir}", "start the training without --resume")
        self.progress, tensors = load_state(folder, self.config)
        self.model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
        for i, average in enumerate(self.ema.averages):
            average.copy_(tensors[f"ema.{i}"])
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".")
                state.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def _wall_s(self) -> float:
        now = time.perf_counter()
        self.progress.wall_s += now - self._clock
        self._clock = now
        return self.progress.wall_s

    def _frames_per_s(self) -> float:
        """Training frames over the whole wall time, validation and checkpoints included."""
        frames = self.progress.epoch * len(self.data.train) + self.progress.frames
        return frames / max(self.progress.wall_s, 1e-9)


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _explain_out_of_memory(device: torch.device, batch_size: int) -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "allocate memory" not in str(error):
            raise
        hint = f"try batch_size {max(batch_size // 2, 1)}" if batch_size > 1 else "use a smaller model or fewer channels"
        raise DeviceError(f"{device} ran out of memory with batch_size {batch_size}", hint) from None
