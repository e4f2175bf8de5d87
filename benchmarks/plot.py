"""docs/performance.svg from benchmarks/results/*.json and the peers' published rows. Needs matplotlib."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PEERS_TRAIN_50 = {"nequip, eager": 430, "nequip + OpenEquivariance": 578, "mace, e3nn": 719, "mace + cuEquivariance": 572}
"""Frames/s of training at batch 50 on one H200, torch 2.11, November 2026 (the upper figure where a range was seen)."""
OURS, THEIRS = "#0b6e99", "#b0b0b0"


def main() -> None:
    """Draw the chart."""
    plt.rcParams.update({"font.size": 9, "svg.hashsalt": "performance"})
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 3.6), layout="constrained")
    _cpu(left)
    _training(middle)
    _growth(right)
    figure.savefig(ROOT / "docs" / "performance.svg", metadata={"Date": None})


def _cpu(axes: plt.Axes) -> None:
    """Speed beside nequip on the CPU, measured in one process."""
    rows = _load("peers-cpu-1")["batches"]["1"]
    names = sorted(rows, key=lambda name: rows[name]["times_nequip"])
    _bars(axes, {name: rows[name]["times_nequip"] for name in names}, "{:.1f}")
    axes.set_title("one aspirin, energy + forces, one CPU thread")
    axes.set_xlabel("times the speed of nequip eager")


def _training(axes: plt.Axes) -> None:
    """Training on an H200: the peers' rows, and ours when it was measured."""
    ours = _load("cuda").get("train-50")
    label = f"ours, {ours['backend']}" if ours else "ours: not measured"
    _bars(axes, {**PEERS_TRAIN_50, label: ours["frames_per_s"] if ours else 0.0}, "{:,.0f}")
    axes.set_title("training, batch 50, one H200")
    axes.set_xlabel("frames / s")


def _growth(axes: plt.Axes) -> None:
    """Time against size, with a line of slope one through the first point; processor time on a CPU that others use too."""
    for device, marker in (("cpu", "o"), ("cuda", "s")):
        boxes = _load(device).get("growth", {}).get("boxes", [])
        if boxes:
            atoms = np.array([box["num_atoms"] for box in boxes])
            seconds = np.array([box["eager"]["process_s"] if device == "cpu" else box["ms"] / 1e3 for box in boxes])
            axes.loglog(atoms, seconds, marker, color=OURS, label=f"{boxes[0]['device']}, {boxes[0]['backend']}")
            axes.loglog(atoms, seconds[0] * atoms / atoms[0], "-", color=THEIRS, zorder=0)
    axes.set_title("energy + forces, 50 neighbours an atom")
    axes.minorticks_off()
    axes.set_xticks([1e3, 2e3, 5e3, 1e4], ["1,000", "2,000", "5,000", "10,000"])
    axes.set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    axes.set_xlabel("atoms")
    axes.set_ylabel("s (CPU: processor time)")
    axes.legend(frameon=False, loc="upper left")


def _bars(axes: plt.Axes, values: dict[str, float], text: str) -> None:
    colors = [OURS if name.startswith("ours") else THEIRS for name in values]
    bars = axes.barh(list(values), list(values.values()), color=colors)
    axes.bar_label(bars, [text.format(value) if value else "" for value in values.values()], padding=3)
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)


def _load(name: str) -> dict:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


if __name__ == "__main__":
    main()
