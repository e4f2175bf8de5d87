"""Peak memory of training at the size of QM9, on a synthetic set: 130,000 molecules of up to 29 atoms.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/qm9_memory.py ../shared/data/qm7/qm7.extxyz.gz /tmp/qm9_size

Molecules of QM7 are rattled, and joined with a second small one 3 Å aside while 29 atoms allow it; their energies are
made up. They are packed as they come, then an AtomGNN is trained on them for a number of steps.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from toolkit.bench.measure import environment
from toolkit.config import TrainConfig, parse_config
from toolkit.data.formats import read_frames
from toolkit.data.packed import is_packed, pack_frames
from toolkit.progress import SilentReporter
from toolkit.training.trainer import train

MOST_ATOMS = 29
JOINED_SHARE = 0.35
REPORT = {"path": "", "format": "synthetic", "num_frames": 0, "energy_key": None, "forces_key": None,
          "stress_key": None, "energy_unit": "eV", "length_unit": "Å", "evidence": "made up", "missing": {},
          "warnings": [], "isolated_atom_energies": {}}


class StopAfter(SilentReporter):
    """Stops a training after so many optimiser steps and tells of the memory on the way."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.peaks: dict[str, float] = {}

    def update(self, step: int, total: int, message: str = "") -> None:
        """Keep the peak of each stage."""
        self.peaks[message.split(",")[0]] = peak_GB()

    def should_stop(self) -> bool:
        """True after the last step."""
        self.left -= 1
        return self.left < 0


def peak_GB() -> float:
    """Largest resident memory of this process so far, pages of mapped files included, in 10⁹ bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    """Pack, train, measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qm7", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--molecules", type=int, default=130_000)
    parser.add_argument("--steps", type=int, default=100)
    chosen = parser.parse_args()
    packed = chosen.folder / "packed"
    if not is_packed(packed):
        pack_frames(_molecules(chosen.qm7, chosen.molecules), packed, REPORT)
        print(f"packed in {packed}; start again to measure without what packing took")
        return
    reporter, started = StopAfter(chosen.steps), time.perf_counter()
    train(_config(packed, chosen.molecules), chosen.folder / "run", reporter=reporter)
    result: dict[str, Any] = {
        "environment": environment(torch.device("cpu"), torch.float32, "all"), "molecules": chosen.molecules,
        "steps": chosen.steps, "seconds": time.perf_counter() - started, "peak_GB": peak_GB(),
        "peak_GB_after": reporter.peaks}
    (Path(__file__).parent / "results" / "qm9-memory-cpu.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def _molecules(source: Path, count: int) -> Iterator[Atoms]:
    rng = np.random.default_rng(0)
    frames = read_frames(str(source)).frames
    small = [atoms for atoms in frames if len(atoms) <= 10]
    for _ in range(count):
        first = frames[rng.integers(len(frames))].copy()
        second = small[rng.integers(len(small))].copy()
        if rng.random() < JOINED_SHARE and len(first) + len(second) <= MOST_ATOMS:
            second.positions[:, 0] += np.ptp(first.positions[:, 0]) + np.ptp(second.positions[:, 0]) + 3.0
            first += second
        first.rattle(0.05, rng=rng)
        first.calc = SinglePointCalculator(first, energy=-4.0 * len(first) + float(rng.normal()))
        yield first


def _config(packed: Path, molecules: int) -> TrainConfig:
    return parse_config(TrainConfig, {
        "data": {"train": str(packed), "split": {"num_val": molecules // 13, "num_test": molecules // 13}},
        "model": {"architecture": "atom_gnn", "num_layers": 3, "num_bessels": 12},
        "loss": {"forces_weight": 0.0}, "batch_size": 64, "max_epochs": 1, "device": "cpu"})


main()
