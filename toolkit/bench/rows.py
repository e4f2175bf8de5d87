"""The rows of the benchmark, each a function from choices to a dictionary of named numbers."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ase import Atoms

from toolkit.bench.measure import environment, peak_memory_GB, synchronize, time_calls
from toolkit.bench.systems import ASPIRIN, REFERENCE_MODEL, aspirin, box
from toolkit.config import MDConfig, ModelConfig, TrainConfig, parse_config
from toolkit.data.graph import AtomicGraph
from toolkit.kernels.capture import CapturedCall
from toolkit.md.simulation import simulate
from toolkit.models.potential import Potential, build_potential, resolve_device, resolve_dtype
from toolkit.progress import SilentReporter
from toolkit.training.memory import USABLE_FRACTION, available_bytes
from toolkit.training.prepare import prepare
from toolkit.training.trainer import Trainer

STEPS_PER_CALL = 10
"""Training steps between two looks at the clock, as the training loop does between two looks at the losses."""
COLD_K = 1.0
FAINT_SCALES = dict.fromkeys("HCO", 1e-4)
"""A molecule with random weights stays together when forces (eV) and temperature are tiny; a step costs the same."""


@dataclass(frozen=True)
class Where:
    """What a row runs on. seconds, min_repeats : how long and how often each timing repeats;  model : what is timed"""

    device: str = "auto"
    dtype: str = "float32"
    backend: str = "auto"
    seconds: float = 3.0
    min_repeats: int = 5
    model: ModelConfig = REFERENCE_MODEL


def infer_row(where: Where, *, batch: int = 1, atoms: int | None = None) -> dict[str, Any]:
    """Energies and forces of `batch` aspirin molecules, or of one periodic box of so many `atoms`."""
    begin = time.perf_counter()
    potential = _potential(where)
    graph = potential.graph([box(atoms)] if atoms else aspirin(batch))
    potential.evaluate(graph)
    synchronize(potential.device)
    first_s = time.perf_counter() - begin
    timing = time_calls(lambda: potential.evaluate(graph), potential.device, seconds=where.seconds,
                        warmup=0, min_repeats=where.min_repeats)
    row = {
        "row": "infer", "system": f"box of {atoms} atoms" if atoms else "aspirin", "batch": graph.num_structures,
        "num_atoms": graph.num_atoms, "num_edges": graph.num_edges, "first_result_s": first_s,
        "eager": timing.to_dict(),
    }
    if potential.device.type == "cuda":
        timing = time_calls(recorded_call(potential, graph), potential.device, seconds=where.seconds)
        row["recorded"] = timing.to_dict()
    return {**row, "ms": 1e3 * timing.median_s, "frames_per_s": graph.num_structures / timing.median_s,
            "atom_steps_per_s": graph.num_atoms / timing.median_s, **_end(potential)}


def train_row(where: Where, *, batch: int = 5) -> dict[str, Any]:
    """Training steps with forces on aspirin, everything that a step does: gather, loss, optimiser, moving average."""
    begin = time.perf_counter()
    config = parse_config(TrainConfig, {
        "data": {"train": ASPIRIN, "split": {"num_train": 1000, "num_val": 1, "num_test": 0}},
        "model": where.model.model_dump(), "optimizer": {"learning_rate": 1e-5}, "batch_size": batch,
        "device": where.device, "dtype": where.dtype, "backend": where.backend, "max_epochs": 1000,
    })
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, prepare(config, SilentReporter()), Path(folder), SilentReporter())
        prepared_s = time.perf_counter() - begin
        run_batch = trainer.make_runner()
        order = [indices for indices in trainer.epoch_batches(0) if len(indices) == batch]
        steps = STEPS_PER_CALL if trainer.device.type == "cuda" else 1
        position = 0

        def some_steps() -> None:
            nonlocal position
            for _ in range(steps):
                trainer.step.prepare(1e-5, position)
                run_batch(order[position % len(order)])
                position += 1
        timing = time_calls(some_steps, trainer.device, seconds=where.seconds)
    return {"row": "train", "system": "aspirin", "batch": batch, "steps_per_call": steps, "prepared_s": prepared_s,
            "first_step_s": timing.first_s, "calls": timing.to_dict(), "ms_per_step": 1e3 * timing.median_s / steps,
            "frames_per_s": batch * steps / timing.median_s, "peak_memory_GB": peak_memory_GB(trainer.device),
            **environment(trainer.device, resolve_dtype(where.dtype), trainer.backend)}


def md_row(where: Where, *, replicas: int = 1, steps: int = 1000, repeats: int = 3) -> dict[str, Any]:
    """Langevin dynamics of aspirin from start to a closed trajectory file, one frame in ten saved; the median run."""
    potential = _potential(where, FAINT_SCALES)
    settings = MDConfig(ensemble="langevin", temperature_K=COLD_K, timestep_fs=0.5, steps=steps, replicas=replicas,
                        save_every=10)
    first_s = _md_seconds(potential, settings.model_copy(update={"steps": 1}))
    _md_seconds(potential, settings.model_copy(update={"steps": min(steps, 10)}))
    times = [_md_seconds(potential, settings) for _ in range(repeats)]
    steps_per_s = steps / statistics.median(times)
    return {"row": "md", "system": "aspirin", "replicas": replicas, "steps": steps, "first_step_s": first_s,
            "run_s": times, "steps_per_s": steps_per_s, "replica_steps_per_s": replicas * steps_per_s,
            **_end(potential)}


def growth_rows(where: Where, *, first: int = 1000, last: int = 10_000_000, factor: float = 2.0,
                limit_s: float = 240.0) -> Iterator[dict[str, Any]]:
    """`infer_row` of boxes of `first`, first · factor, … atoms, until `last`, or until the next one would end after
    `limit_s` or need more memory than is free."""
    begin, size = time.perf_counter(), first
    room_GB = USABLE_FRACTION * available_bytes(resolve_device(where.device)) / 1e9
    while size <= last:
        started = time.perf_counter()
        row = infer_row(where, atoms=size)
        yield row
        now = time.perf_counter()
        if now - begin + factor * (now - started) > limit_s or factor * row["peak_memory_GB"] > room_GB:
            return
        size = round(factor * size)


def _potential(where: Where, energy_scales: dict[str, float] | None = None) -> Potential:
    config = where.model.model_copy(update={"per_species_energy_scales": energy_scales})
    device = str(resolve_device(where.device))
    potential = build_potential(config, device=device, dtype=where.dtype, backend=where.backend)
    if potential.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(potential.device)
    return potential


def recorded_call(potential: Potential, graph: AtomicGraph) -> Callable[[], object]:
    """The evaluation as one CUDA graph, as molecular dynamics replays it."""
    def energy_and_forces(positions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = potential.evaluate(graph.with_positions(positions))
        return output["energy"], output["forces"]
    call = CapturedCall(energy_and_forces, [graph.positions])
    return lambda: call(graph.positions)


def _md_seconds(potential: Potential, settings: MDConfig) -> float:
    atoms: Atoms = aspirin()[0]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        trajectory = simulate(potential, atoms, settings, Path(folder) / "trajectory.h5")
        seconds = time.perf_counter() - begin
        trajectory.close()
    return seconds


def _end(potential: Potential) -> dict[str, Any]:
    return {"peak_memory_GB": peak_memory_GB(potential.device),
            **environment(potential.device, potential.dtype, potential.backend)}
