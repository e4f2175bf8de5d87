"""The report of learning curves: slopes, every run, the figure and how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.figures.learning_curve import LearningCurve, learning_curves
from toolkit.figures.report import Section, Table, html_page, markdown_page, plus_minus
from toolkit.storage import write_text_atomic

RESULTS, TABLE = "learning_curves.json", "learning_curves.csv"
Y_LABEL = "test force MAE, meV/Å"
METHOD = {
    "steps": "All runs make the same number of optimiser steps, that of the recipe on all its training frames: with "
             "the same number of epochs small sets would also be trained less, and the curve would show that too.",
    "epochs": "All runs see each of their frames equally often, so small sets are trained with fewer steps.",
}
SOURCES = {
    "replicates": "the scatter of repeated runs (weights, batch order and chosen frames differ), pooled over the sizes",
    "residuals": "the scatter of single runs about the line",
    "none": "nothing: two points have a slope, but no error bar",
}
SAME_STEPS = 0.05
"""Numbers of steps that differ by less, relative to the largest, count as the same."""
BENT = 0.05
"""Below this probability the points are said not to lie on a straight line."""


def write_reports(result: Mapping[str, Any], folder: Path) -> None:
    """Write `report.html` and `report.md`. Raises StorageError."""
    title = f"Learning curves on {result['request']['recipe']['data']['train']}"
    sections = report_sections(result)
    write_text_atomic(folder / "report.html", html_page(title, sections))
    write_text_atomic(folder / "report.md", markdown_page(title, sections))


def report_sections(result: Mapping[str, Any]) -> list[Section]:
    """All sections, in the order in which they are read. result : the content of `learning_curves.json`"""
    curves = {name: curve for name, curve in result["curves"].items() if curve is not None}
    return [_slopes(result, curves), _table(result)]


def headline(result: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the command line shows: where the report is, and the slopes."""
    curves = {name: curve for name, curve in result["curves"].items() if curve is not None}
    return {"folder": str(folder), "report": str(folder / "report.html"), "complete": result["complete"],
            "runs_done": len(result["runs"]),
            "slopes": {name: plus_minus(curve["slope"], curve["slope_stderr"], 3) for name, curve in curves.items()}}


def _method(result: Mapping[str, Any]) -> str:
    """How much the runs were trained: as much as was meant, or as long as the recipe let them."""
    recipe, meant = result["request"]["recipe"], result["request"]["equal"]
    limits = [name for name in ("max_train_s", "early_stop_patience_epochs") if recipe.get(name) is not None]
    if not limits:
        return METHOD[meant]
    steps = [row["steps"] for row in result["runs"] if row.get("steps")]
    if meant == "steps" and steps and max(steps) - min(steps) <= SAME_STEPS * max(steps):
        return METHOD[meant]
    seen = f", after {min(steps):,} to {max(steps):,} optimiser steps" if steps else ""
    return (f"The recipe ends runs by {' and '.join(limits)}{seen}: they were not trained equally, and the slope holds that "
            f"too. Without these limits all would make the same number of {meant}.")


def _slopes(result: Mapping[str, Any], curves: Mapping[str, Mapping[str, Any]]) -> Section:
    sources = dict.fromkeys(curve["slope_error_from"] for curve in curves.values())
    paragraphs = [
        "Fitted: force MAE = e^a · n^(−b) on n training frames, by least squares of the logarithms.",
        *(f"Standard errors of b come from {SOURCES[source]}; the interval holds b with 68 % probability (Student's t)."
          for source in sources),
        _method(result),
        *(f"{name}: the points do not lie on one straight line (p = {curve['misfit_p']:.2g}); its slope is a mean one."
          for name, curve in curves.items() if curve["misfit_p"] is not None and curve["misfit_p"] < BENT)]
    if not result["complete"]:
        paragraphs.insert(0, f"Not all runs are done: {len(result['runs'])} so far.")
    rows = [[name, plus_minus(curve["slope"], curve["slope_stderr"], 3),
             f"{curve['slope_low']:.3f} … {curve['slope_high']:.3f}" if curve["slope_stderr"] is not None else "—",
             str(curve["degrees_of_freedom"])] for name, curve in curves.items()]
    drawn = {name: LearningCurve(curve["num_train"], curve["forces_mae_meV_per_A"], curve["stderr_meV_per_A"],
                                 curve["fitted_meV_per_A"]) for name, curve in curves.items()}
    return Section("Data efficiency", paragraphs,
                   [Table(["network", "slope b", "68 % interval", "degrees of freedom"], rows)] if rows else [],
                   [learning_curves(drawn, Y_LABEL)] if drawn else [])


def _table(result: Mapping[str, Any]) -> Section:
    rows = [[str(row["l_max"]), str(row["num_train"]), str(row["seed"]), str(row["epochs"]), f"{row.get('steps', '')}",
             f"{row['forces_mae_meV_per_A']:.2f}", plus_minus(row["energy_mae_meV_per_atom"], None, 3),
             f"{row['wall_s'] / 60:.1f}"]
            for row in sorted(result["runs"], key=lambda row: (row["l_max"], row["num_train"], row["seed"]))]
    header = ["l_max", "training frames", "seed", "epochs", "steps", "force MAE, meV/Å", "energy MAE, meV/atom", "time, min"]
    return Section("Every run", tables=[Table(header, rows)])
