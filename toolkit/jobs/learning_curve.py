"""Learning curves: one recipe on nested sets of fewer and fewer training frames, the same validation and test frames.

Each run leaves `runs/NAME` (a model, its epochs) and `stages/NAME.json`; one that is done is not done again, one that
was interrupted goes on from its checkpoint. Files beside them: `recipe.json`, `learning_curves.json` (every number),
`learning_curves.csv` (one row a run), `report.html` and `report.md`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.analysis.learning_curve import PowerLaw, fit_power_law
from toolkit.config import parse_config, save_config
from toolkit.data.datasets import Splits, load_splits
from toolkit.errors import DataError
from toolkit.jobs.learning_curve_config import LearningCurveRequest, Point
from toolkit.jobs.learning_curve_report import RESULTS, TABLE, write_reports
from toolkit.jobs.run_dir import make_folder
from toolkit.jobs.stages import Stage, do_stages, keep_request
from toolkit.progress import Reporter, SilentReporter
from toolkit.storage import read_json, write_json, write_text_atomic
from toolkit.training.state import find_state
from toolkit.training.trainer import train

ERROR = "forces_mae_meV_per_A"
Indices = dict[str, np.ndarray]
Row = dict[str, Any]


def learning_curve_task(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
    """Train, or go on with, a learning curve. config : fields of a LearningCurveRequest."""
    return run_learning_curve(parse_config(LearningCurveRequest, config), run_dir, reporter)


def run_learning_curve(request: LearningCurveRequest, folder: str | Path,
                       reporter: Reporter | None = None) -> dict[str, Any]:
    """Do the runs that are not done yet, and fit and report all that are; returns what `learning_curves.json` holds.

    The same folder takes more sizes, l_max or seeds of the same recipe later on; what was done before is reported too.
    Raises ConfigError for a folder with another recipe, DataError for more training frames than there are, and for test
    frames without forces.
    """
    folder, reporter = Path(folder).absolute(), reporter or SilentReporter()
    make_folder(folder / "stages")
    keep_request(request.shared, folder / "recipe.json")
    splits = load_splits(request.recipe.data)
    indices = splits.indices
    _check_frames(request, splits)
    stages = {point.name: (f"l_max {point.l_max}, {point.num_train} frames, seed {point.seed}",
                           _training(request, point, indices, folder)) for point in request.points()}
    done = dict(do_stages(stages, folder, reporter))
    rows = [*done.values(), *_other_rows(folder, done)]
    result = {"request": request.model_dump(mode="json"), "complete": len(done) == len(stages), "runs": rows,
              "curves": {f"l_max {l_max}": _curve([row for row in rows if row["l_max"] == l_max])
                         for l_max in sorted({*request.l_max, *(row["l_max"] for row in rows)})}}
    write_json(result, folder / RESULTS)
    _write_csv(rows, folder / TABLE)
    write_reports(result, folder)
    return result


class EpochsKept:
    """Passes progress on; epochs go to the `metrics.jsonl` of their own run, other records to the listener."""

    def __init__(self, listener: Reporter, run_dir: Path) -> None:
        self._listener = listener
        self._run_dir = run_dir

    def update(self, step: int, total: int, message: str = "") -> None:
        """Report progress within the run."""
        self._listener.update(step, total, message)

    def metrics(self, record: dict[str, Any]) -> None:
        """Keep an epoch, pass anything else on."""
        if record.get("kind") != "epoch":
            self._listener.metrics(record)
            return
        with open(self._run_dir / "metrics.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def should_stop(self) -> bool:
        """Whether the listener asked to stop."""
        return self._listener.should_stop()


def nested_subset(pool: np.ndarray, num_train: int, seed: int) -> np.ndarray:
    """The first `num_train` of the indices `pool` (P,) in an order that depends on the seed alone, sorted."""
    return np.sort(np.random.default_rng(seed).permutation(pool)[:num_train])


def _training(request: LearningCurveRequest, point: Point, indices: Indices, folder: Path) -> Stage:
    """The stage of one run."""
    def stage(reporter: Reporter) -> Row | None:
        run_dir, pool = folder / "runs" / point.name, indices["train"]
        chosen = indices | {"train": nested_subset(pool, point.num_train, point.seed)}
        index_file = run_dir / "frames.json"
        write_text_atomic(index_file, json.dumps({name: values.tolist() for name, values in chosen.items()}))
        config = request.run_config(point, len(pool), str(index_file))
        save_config(config, run_dir / "config.json")
        begun = find_state(run_dir / "checkpoints" / "last") is not None
        result = train(config, run_dir, resume=begun, reporter=EpochsKept(reporter, run_dir))
        if result["stopped"]:
            return None
        row = {"l_max": point.l_max, "num_train": point.num_train, "seed": point.seed, "epochs": result["epochs"],
               "steps": result["steps"],
               ERROR: result[f"test.{ERROR}"], "energy_mae_meV_per_atom": result["test.energy_mae_meV_per_atom"],
               "wall_s": result["wall_s"]}
        reporter.metrics({"kind": "run", **row})
        return row
    return stage


def _check_frames(request: LearningCurveRequest, splits: Splits) -> None:
    if max(request.train_sizes) > len(splits.train):
        raise DataError(f"found {len(splits.train)} training frames in {request.recipe.data.train}, expected at "
                        f"least the {max(request.train_sizes)} of --train-sizes", "ask for fewer, or split otherwise")
    if not len(splits.test):
        raise DataError("found no test frames, a learning curve is made of test errors", "give data.test or num_test")
    if not any(atoms.calc is not None and "forces" in atoms.calc.results for atoms in splits.test):
        raise DataError("found test frames without forces, a learning curve is made of errors of forces",
                        "label them with forces, or name their key: data.forces_key")


def _other_rows(folder: Path, done: Mapping[str, Row]) -> list[Row]:
    """Rows of the runs in the folder that are done and not among `done`."""
    kept = (read_json(path) for path in (folder / "stages").glob("*.json") if path.stem not in done)
    return sorted((row for row in kept if row), key=lambda row: (row["l_max"], row["num_train"], row["seed"]))


def _curve(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Points, fit and error bars of one l_max; None before two sizes are done."""
    if len({row["num_train"] for row in rows}) < 2:
        return None
    law = fit_power_law(np.array([row["num_train"] for row in rows]), np.array([row[ERROR] for row in rows]))
    return {"num_train": law.sizes.astype(int).tolist(), ERROR: law.mean.tolist(),
            "stderr_meV_per_A": (law.mean * law.relative_stderr).tolist() if law.error_source == "replicates" else None,
            "fitted_meV_per_A": law.at(law.sizes).tolist(), **_fit(law)}


def _fit(law: PowerLaw) -> dict[str, Any]:
    known = law.error_source != "none"
    low, high = law.slope_interval() if known else (None, None)
    return {"slope": law.slope, "slope_stderr": law.slope_stderr if known else None, "slope_low": low,
            "slope_high": high, "slope_error_from": law.error_source, "degrees_of_freedom": law.degrees_of_freedom,
            "intercept_ln_meV_per_A": law.intercept, "misfit_p": law.misfit_p}


def _write_csv(rows: Sequence[Row], path: Path) -> None:
    if rows:
        columns = dict.fromkeys(name for row in rows for name in row)
        lines = [",".join(columns), *(",".join(_cell(row.get(name)) for name in columns) for row in rows)]
        write_text_atomic(path, "\n".join(lines) + "\n")


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"
