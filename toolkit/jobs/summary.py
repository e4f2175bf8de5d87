"""One line about a run: what it was asked to do, and its most important number with a unit. It imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolkit.jobs.run_dir import Run, read_metrics
from toolkit.storage import read_json

Values = dict[str, Any]


def judged_source(data: Values, part: str) -> str:
    """The file that the frames of a part come from: "all", "train", "val" or "test" of a DataConfig's values."""
    return (data.get(part) if part in ("val", "test") else None) or data.get("train", "")


def subject(run: Run) -> str:
    """What the run is about: the data of a training run, else the model and what it was used on."""
    config = read_json(run.path / "config.json") or {}
    config = config.get("recipe") or config.get("train") or config
    data = config.get("data")
    source = judged_source(data, config.get("part", "all")) if isinstance(data, dict) else data or config.get("structure")
    models = config.get("models") or config.get("teachers")
    named = [*(models if isinstance(models, list) else [config.get("model")]), source]
    parts = [text.rstrip("/").removesuffix("/model").rsplit("/", 1)[-1] for text in named if isinstance(text, str)]
    return " · ".join(parts)


def key_result(run: Run) -> str:
    """The number that people ask for first, with its unit; of a training run under way, the last epoch's; or ""."""
    result = read_json(run.path / "result.json")
    if result is None and run.status.task == "train":
        epochs = [record for record in read_metrics(run.path) if record.get("kind") == "epoch"]
        last = epochs[-1] if epochs else {}
        return (_number("force MAE (validation)", last, "val_forces_mae_meV_per_A", ".1f", "meV/Å")
                or _number("energy MAE (validation)", last, "val_energy_mae_meV_per_atom", ".2f", "meV/atom"))
    describe = _RESULTS.get(run.status.task)
    return describe(result) if result and describe else ""


def _number(name: str, values: Values, key: str, digits: str, unit: str) -> str:
    value = values.get(key)
    return f"{name} {value:{digits}} {unit}" if isinstance(value, int | float) else ""


def _md(result: Values) -> str:
    whole = result.get("stable_fraction")
    return (_number("mean temperature", result, "temperature_mean_K", ".0f", "K")
            or (f"whole: {100 * whole:.0f} %" if isinstance(whole, int | float) else ""))


def _passport(result: Values) -> str:
    checks = result.get("checks")
    entries = [entry for entry in checks.values() if isinstance(entry, dict)] if isinstance(checks, dict) else []
    return f"{sum(entry.get('passed') is True for entry in entries)} of {len(entries)} checks passed"


def _train(result: Values) -> str:
    return (_number("force MAE (test)", result, "test.forces_mae_meV_per_A", ".1f", "meV/Å")
            or _number("energy MAE (test)", result, "test.energy_mae_meV_per_atom", ".2f", "meV/atom"))


def _evaluate(result: Values) -> str:
    return (_number("force MAE", result, "forces_mae_meV_per_A", ".1f", "meV/Å")
            or _number("energy MAE", result, "energy_mae_meV_per_atom", ".2f", "meV/atom"))


def _learning_curve(result: Values) -> str:
    curves = result.get("curves", {})
    slopes = [f"{name} {curve['slope']:.2f}" for name, curve in curves.items() if isinstance(curve, dict)]
    return f"slopes {', '.join(slopes)}" if slopes else f"{len(result.get('runs', []))} runs"


def _stability(result: Values) -> str:
    runs = result.get("runs") or []
    return "whole: " + ", ".join(f"{100 * run['stable_fraction']:.0f} % at {run['temperature_K']:g} K" for run in runs)


_RESULTS: dict[str, Callable[[Values], str]] = {
    "train": _train, "evaluate": _evaluate, "passport": _passport,
    "md": _md,
    "study": lambda result: _number("energy drift", result.get("nve_float64", {}), "energy_drift_meV_per_atom_per_ps",
                                    ".1e", "meV/atom/ps"),
    "compare": lambda result: f"{len(result.get('models', {}))} models compared",
    "workflow": lambda result: _number("glass transition", result.get("transition", {}), "temperature_K", ".0f", "K"),
    "learningcurve": _learning_curve, "stability": _stability,
    "distill": lambda result: f"{result['n_sampled']:,} frames" if "n_sampled" in result else "",
    "modes": lambda result: _number("zero-point energy", result, "zero_point_energy_eV", ".3f", "eV"),
}
