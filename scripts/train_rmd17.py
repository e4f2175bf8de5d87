"""Trains one recipe on rMD17 molecules, all at once on one GPU, and stops in time:

    python scripts/train_rmd17.py                                        all eight, configs/rmd17_h200.yaml
    python scripts/train_rmd17.py aspirin ethanol --within 560           two of them, tested, in less than ten minutes
    python scripts/train_rmd17.py ethanol --seeds 6 --within 800         six networks of it, ethanol_1 …, to be teachers together
    python scripts/train_rmd17.py --resume --stop-after 540              go on where an earlier call was stopped
    python scripts/train_rmd17.py --give-up-after 60                     on rented time: do not wait for a GPU that hangs
    python scripts/train_rmd17.py aspirin --frames DIR --start-from RUNS --runs OTHER --recipe configs/student_large.yaml
        a student, on `toolkit distill … -o DIR/aspirin`, which begins with the weights of RUNS/aspirin

A fixed stretch of the official training file trains (950 frames), the rest validates (50), the official test file tests.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.commands.common import guarded
from toolkit.config import TrainConfig, load_config
from toolkit.console import ConsoleReporter, epoch_line
from toolkit.jobs.together import train_together

ROOT = Path(__file__).resolve().parents[1]
MOLECULES = ("aspirin", "ethanol", "benzene", "malonaldehyde", "naphthalene", "salicylic", "toluene", "uracil")
LINE_EVERY_S = 20.0


class Watchdog:
    """Ends the process when no run has said anything for `patience_s`; a GPU that waits for ever cannot be asked to stop."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self.heard()
        threading.Thread(target=self._watch, daemon=True).start()

    def heard(self) -> None:
        """A run has made progress."""
        self._heard_at = time.monotonic()

    def _watch(self) -> None:
        while time.monotonic() - self._heard_at < self._patience_s:
            time.sleep(0.5)
        print(f"given up: no run has got on for {self._patience_s:g} s; --resume goes on from the last checkpoints",
              flush=True)
        os._exit(4)


class Listener:
    """Prints some of a run's epochs under its name; stops all runs after a while, or on Ctrl-C."""

    def __init__(self, name: str, console: ConsoleReporter, stop_at: float | None, watchdog: Watchdog | None) -> None:
        self._name, self._console, self._stop_at, self._watchdog = name, console, stop_at, watchdog
        self._printed = 0.0

    def update(self, step: int, total: int, message: str = "") -> None:
        """Several runs share the terminal: no bar."""
        if self._watchdog is not None:
            self._watchdog.heard()

    def metrics(self, record: dict[str, Any]) -> None:
        """Every note, and an epoch now and then."""
        due = time.monotonic() - self._printed > LINE_EVERY_S
        if record.get("kind") == "note" or due:
            self._printed = time.monotonic()
            text = epoch_line(record) if record.get("kind") == "epoch" else record.get("message", "")
            print(f"{self._name:14s} {text}", flush=True)

    def should_stop(self) -> bool:
        """True when the time is over, or somebody asked."""
        return self._console.should_stop() or (self._stop_at is not None and time.monotonic() > self._stop_at)


def source(folder: Path, molecule: str, part: str) -> str:
    """A molecule's official "train" or "test" file: the copy in `folder`, else the catalogue's."""
    path = folder / f"rmd17_{molecule}_{part}_01.npz"
    return str(path) if path.is_file() else f"catalog:rmd17_{molecule}" + ("_test" if part == "test" else "")


def changes(folder: Path, molecule: str, frames: Path | None, start_from: Path | None) -> list[str]:
    """What to change in the recipe so that it reads a molecule; with `frames`, as a student of its teachers.

    What begins with the weights of another network has its layers, and not those of the recipe.
    """
    start = [] if start_from is None else [f"start_from={start_from / molecule}", "model={}"]
    test = f"data.test={source(folder, molecule, 'test')}"
    if frames is None:
        return [f"data.train={source(folder, molecule, 'train')}", test, *start]
    own = frames / molecule
    return [f"data.train={own / 'train.extxyz'}", f"data.val={own / 'val.extxyz'}", test, "data.split={}", *start]


def different_seeds(seeds: int, new_weights: bool) -> list[tuple[str, list[str]]]:
    """What follows the name of each run, and what is changed in it: the order of the frames and the random weights."""
    if seeds == 1:
        return [("", [])]
    return [(f"_{seed}", [f"seed={seed}", *([f"model.seed={seed}"] if new_weights else [])]) for seed in range(1, seeds + 1)]


@guarded
def main(
    molecules: Annotated[list[str] | None, typer.Argument(help=f"default: {' '.join(MOLECULES)}")] = None,
    recipe: Annotated[Path, typer.Option("--recipe")] = ROOT / "configs" / "rmd17_h200.yaml",
    data: Annotated[Path, typer.Option("--data", help="folder with rmd17_NAME_train_01.npz …; else the catalogue")] = Path("../shared/data/rmd17"),
    runs: Annotated[Path, typer.Option("--runs", help="where the run folders go")] = Path("runs/rmd17"),
    frames: Annotated[Path | None, typer.Option("--frames", help="holds NAME/train.extxyz, NAME/val.extxyz")] = None,
    start_from: Annotated[Path | None, typer.Option("--start-from", help="holds models or runs of the same names")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="a.b=value")] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="so many of each molecule, from different seeds")] = 1,
    resume: Annotated[bool, typer.Option("--resume")] = False,
    within: Annotated[float | None, typer.Option("--within", help="all end, tested, in so many seconds")] = None,
    stop_after: Annotated[float | None, typer.Option("--stop-after", help="save and stop after so many seconds")] = None,
    give_up_after: Annotated[float | None, typer.Option("--give-up-after", help="end when nothing moved for so many seconds")] = None,
) -> int:
    """Train, and print the test errors of those that came to their end."""
    names = molecules or list(MOLECULES)
    stop_at = None if stop_after is None else time.monotonic() + stop_after
    limit = [] if within is None else ["max_train_s=null"]  # that of the recipe gives way, not one that is --set
    more = [*limit, *(overrides or [])]
    configs = {runs / (name + suffix): load_config(TrainConfig, recipe, [*changes(data, name, frames, start_from), *seed, *more])
               for name in names for suffix, seed in different_seeds(seeds, start_from is None)}
    watchdog = None if give_up_after is None else Watchdog(give_up_after)
    with ConsoleReporter() as console:
        listeners = {folder: Listener(folder.name, console, stop_at, watchdog) for folder in configs}
        results = train_together(configs, listeners, resume=resume, within_s=within)
    for folder, result in results.items():
        test = result.get("test")
        shown = "stopped" if test is None else (f"{test['forces_mae_meV_per_A']:.2f} meV/Å  {test['energy_mae_meV']:.2f} meV")
        print(f"{folder.name:14s} {shown}  after {result['epochs']} epochs, best {result['best_epoch']}, "
              f"{result['wall_s']:.0f} s, {result['frames_per_s']:.0f} frames/s")
    return 3 if any(result["stopped"] for result in results.values()) else 0


if __name__ == "__main__":
    typer.run(main)
