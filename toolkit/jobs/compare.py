"""Several models side by side on the same frames: errors, speed, passport, stability; stage by stage, resumable.

Each stage leaves `stages/NAME.json` in the folder of the comparison. Files beside them: `request.json` (what was asked
for), `md_K.h5` (the simulation of the K-th model), `compare.json` (every number so far, renewed after each stage) and
`report.html`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from toolkit.bench.measure import environment
from toolkit.config import parse_config
from toolkit.errors import DataError, DeviceError, JobError, ModelError
from toolkit.jobs.compare_caveats import caveats
from toolkit.jobs.compare_config import CompareRequest
from toolkit.jobs.compare_models import model_facts, model_labels
from toolkit.jobs.compare_numbers import judged, median_frame, paired_differences, speeds, without_influences
from toolkit.jobs.compare_report import write_report
from toolkit.jobs.evaluation import labelled_frames
from toolkit.jobs.run_dir import make_folder
from toolkit.jobs.stages import Result, Stage, do_stages, keep_request
from toolkit.jobs.summary import judged_source
from toolkit.md.simulation import simulate
from toolkit.md.summary import summarize
from toolkit.models.folders import find_model
from toolkit.models.potential import Potential, load_potential, resolve_device, resolve_dtype
from toolkit.progress import Reporter, SilentReporter
from toolkit.storage import write_json

FILE = "compare.json"
UNFIT = (ModelError, DataError, DeviceError)
"""What is wrong with one model and does not stop the others."""
MD_KEYS = ("steps", "steps_per_s", "stable_fraction", "stable_fraction_low", "stable_fraction_high",
           "temperature_mean_K", "temperature_sem_K")


def compare_task(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> Result:
    """Do, or go on with, a comparison. config : fields of a CompareRequest."""
    return compare(parse_config(CompareRequest, config), run_dir, reporter)


def compare(request: CompareRequest, folder: str | Path, reporter: Reporter | None = None) -> Result:
    """Compare models; returns what `compare.json` holds: `models` (label -> its row), `pairs`, `caveats`, `complete`.

    A model that cannot be judged on these frames gets a row with its `problem`. When asked to stop it returns what is
    done; the same call goes on from there.
    Raises ModelError for a model that is not there, DataError for unreadable frames, ConfigError for a folder with
    other settings, JobError when no model could be judged.
    """
    folder, reporter = Path(folder), reporter or SilentReporter()
    for model in request.models:
        find_model(model)
    frames = chosen_frames(request, reporter)
    make_folder(folder / "stages")
    keep_request(request, folder / "request.json")
    work = _Comparison(request, folder, frames)
    stages = work.stages()
    for name, result in do_stages(stages, folder, reporter):
        work.done[name] = result
        write_json(work.summary(complete=len(work.done) == len(stages)), folder / FILE)
    summary = work.summary(complete=len(work.done) == len(stages))
    if all("problem" in row for row in summary["models"].values()):
        raise JobError("; ".join(summary["caveats"]), "choose models that know the elements of these frames")
    write_json(summary, folder / FILE)
    write_report(request, summary, folder)
    return summary


def chosen_frames(request: CompareRequest, reporter: Reporter | None = None) -> list[Atoms]:
    """At most `request.frames` of the frames, evenly spaced, in their order. Raises DataError."""
    frames = labelled_frames(request.data, request.part, reporter)
    return [frames[t] for t in np.unique(np.linspace(0, len(frames) - 1, min(len(frames), request.frames)).astype(int))]


class _Comparison:
    """The stages of a comparison; models are loaded once. `done` holds the results so far by the name of the stage."""

    def __init__(self, request: CompareRequest, folder: Path, frames: Sequence[Atoms]) -> None:
        self.done: dict[str, Result] = {}
        self._request = request
        self._folder = folder
        self._frames = frames
        self._models = dict(zip(model_labels(request.models), request.models, strict=True))
        self._loaded: dict[str, Potential] = {}

    def stages(self) -> dict[str, tuple[str, Stage]]:
        """Errors of each model, the speed of all in turn, a simulation with each."""
        stages: dict[str, tuple[str, Stage]] = {}
        for number, label in enumerate(self._models):
            stages[f"errors_{number}"] = (f"errors of {label}", partial(self._judge, label))
        stages["speed"] = ("speed", self._time)
        for number, label in enumerate(self._models if self._request.md_ps > 0.0 else ()):
            stages[f"md_{number}"] = (f"simulation with {label}", partial(self._simulate, number, label))
        return stages

    def summary(self, *, complete: bool) -> Result:
        """Everything known so far, one row a model."""
        rows = {label: self._row(number, label) for number, label in enumerate(self._models)}
        pairs = paired_differences({label: row["errors"] for label, row in rows.items() if "errors" in row})
        rows = {label: {**row, "errors": without_influences(row["errors"])} if "errors" in row else row
                for label, row in rows.items()}
        request = self._request
        device, dtype = resolve_device(request.device), resolve_dtype(request.dtype)
        machine = environment(device, dtype, request.backend)
        return {"complete": complete, "data": judged_source(request.data.model_dump(), request.part),
                "part": request.part, "n_frames": len(self._frames), "models": rows, "pairs": pairs,
                "caveats": caveats(rows, len(self._frames), machine), "environment": machine}

    def _row(self, number: int, label: str) -> Result:
        row = {"model": self._models[label], **self.done.get(f"errors_{number}", {})}
        if label in self.done.get("speed", {}):
            row["speed"] = self.done["speed"][label]
        if self.done.get(f"md_{number}"):
            row["md"] = self.done[f"md_{number}"]
        return row

    def _potential(self, label: str) -> Potential:
        if label not in self._loaded:
            self._loaded[label] = load_potential(self._models[label], **self._request.computing())
        return self._loaded[label]

    def _judge(self, label: str, reporter: Reporter) -> Result | None:
        try:
            potential = self._potential(label)
            errors = judged(potential, self._frames, reporter)
        except UNFIT as error:
            return {"problem": error.message}
        facts = model_facts(self._models[label], potential, self._frames)
        return None if errors is None else {**facts, "errors": errors}

    def _time(self, reporter: Reporter) -> Result | None:
        fit = {label: self._potential(label) for number, label in enumerate(self._models)
               if "problem" not in self.done[f"errors_{number}"]}
        return speeds(fit, median_frame(self._frames), self._request.speed_s, reporter)

    def _simulate(self, number: int, label: str, reporter: Reporter) -> Result | None:
        """Langevin dynamics from the first frame; how many replicas stay whole."""
        if "problem" in self.done[f"errors_{number}"]:
            return {}
        try:
            trajectory = simulate(self._potential(label), self._frames[0], self._request.md(),
                                  self._folder / f"md_{number}.h5", resume=True, reporter=reporter)
        except UNFIT as error:
            return {"problem": error.message}
        with trajectory:
            if trajectory.stopped:
                return None
            found = summarize(trajectory)
        return {**{name: found[name] for name in MD_KEYS}, "breaks": found["breaks"]}
