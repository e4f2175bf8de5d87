"""The report of a comparison: from `compare.json` to sections, for the page, the terminal and an HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.figures.compare import Point, error_bars, pareto
from toolkit.figures.report import Section, Table, html_page, plus_minus
from toolkit.jobs.compare_config import CompareRequest
from toolkit.storage import write_text_atomic

Summary = Mapping[str, Any]
Row = dict[str, Any]
ERRORS = {
    "forces_mae_meV_per_A": ("force MAE", "meV/Å", 2), "forces_rmse_meV_per_A": ("force RMSE", "meV/Å", 2),
    "energy_mae_meV": ("energy MAE", "meV", 1), "energy_mae_meV_per_atom": ("energy MAE", "meV/atom", 2),
    "energy_mae_meV_per_atom_without_offset": ("energy MAE without offset", "meV/atom", 2),
    "stress_mae_meV_per_A3": ("stress MAE", "meV/Å³", 3),
}
"""Key in `compare.json` -> name, unit and digits."""
SEEN_SIGMAS, MANY_SIGMAS = 2.0, 100.0
ABOUT_ERRORS = (
    "± is one standard error over the frames; correlation between neighbouring frames is allowed for. Without offset: "
    "after removing one constant for each element, fitted to these frames, so that the zero of energy does not count.")
ABOUT_PAIRS = (
    "The models are judged on the same frames, so what makes a frame hard for both cancels: these error bars are "
    "smaller than the single ones suggest. Below {sigmas:g} σ no difference is claimed; by chance, one pair in twenty "
    "exceeds it.")
ABOUT_SPEED = (
    "Energies and forces of one structure of {atoms} atoms, and of {batch} copies at once: medians of rounds in which "
    "all models take turns on {device}. Memory: the tensors of that batch, without weights and libraries.")
ABOUT_PARETO = (
    "Down is more accurate, left is faster. A model with no other both below and to the left is worth its price.")
ABOUT_STABILITY = (
    "Langevin dynamics of {replicas} replicas × {md_ps:g} ps at {temperature_K:g} K from the first frame. A replica "
    "whose bonds break or whose atoms run away is retired; in brackets, the 95 % interval after Wilson, which is wide "
    "for few replicas.")


def write_report(request: CompareRequest, summary: Summary, folder: Path) -> None:
    """Write `report.html`. Raises StorageError."""
    title = f"Comparison of {', '.join(summary['models'])} on {summary['data']}"
    write_text_atomic(folder / "report.html", html_page(title, report_sections(request, summary)))


def report_sections(request: CompareRequest, summary: Summary) -> list[Section]:
    """What is known so far, in the order in which it is read."""
    judged = {label: row for label, row in summary["models"].items() if "errors" in row}
    timed = {label: row for label, row in judged.items() if "speed" in row}
    sections = [Section("Before you compare", summary["caveats"])] if summary["caveats"] else []
    if judged:
        sections.append(_errors(judged, summary["n_frames"], summary["data"]))
    if summary["pairs"]:
        sections.append(_differences(summary["pairs"]))
    if timed:
        sections += [_speed(timed, summary["environment"]), _price(timed)]
    return [*sections, _trust(request, summary["models"])]


def flat_rows(summary: Summary) -> list[dict[str, str | float]]:
    """One row a model with every number, for a CSV file; empty where something is not known."""
    found = [{"model": label, **dict(_flat(row))} for label, row in summary["models"].items()]
    columns = dict.fromkeys(name for row in found for name in row)
    return [{name: row.get(name, "") for name in columns} for row in found]


def _flat(values: Row, prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{name}.")
        elif name != "model" and not isinstance(value, list):
            pairs.append((f"{prefix}{name}", "" if value is None else value))
    return pairs


def _errors(rows: Mapping[str, Row], num_frames: int, source: str) -> Section:
    shown = [name for name in ERRORS if any(row["errors"].get(name) is not None for row in rows.values())]
    table = [[label, *(_error(row["errors"], name) for name in shown)] for label, row in rows.items()]
    header = ["model", *(f"{ERRORS[name][0]}, {ERRORS[name][1]}" for name in shown)]
    figures = []
    forces = {label: _force_groups(row["errors"]) for label, row in rows.items()
              if row["errors"]["forces_mae_meV_per_A"] is not None}
    if forces:
        figures.append(error_bars(forces, "force MAE, meV/Å"))
    return Section(f"Errors on {num_frames:,} frames", [f"Frames of {source}. {ABOUT_ERRORS}"], [Table(header, table)], figures)


def _error(errors: Row, name: str) -> str:
    return plus_minus(errors.get(name), errors.get(f"{name}_stderr"), ERRORS[name][2])


def _force_groups(errors: Row) -> dict[str, tuple[float, float | None]]:
    """Force MAE of all atoms and of each element, with its standard error."""
    name = "forces_mae_meV_per_A"
    groups = {"all": errors, **errors["per_species"]}
    return {group: (found[name], found.get(f"{name}_stderr")) for group, found in groups.items()}


def _differences(pairs: list[Row]) -> Section:
    rows = [_difference(pair) for pair in pairs]
    header = ["finding", "error", "difference", "sigmas"]
    return Section("Differences on the same frames", [ABOUT_PAIRS.format(sigmas=SEEN_SIGMAS)], [Table(header, rows)])


def _difference(pair: Row) -> list[str]:
    name, unit, digits = ERRORS[pair["quantity"]]
    better, worse = (pair["first"], pair["second"]) if pair["difference"] < 0.0 else (pair["second"], pair["first"])
    sigmas = pair["sigmas"]
    clear = sigmas is not None and abs(sigmas) >= SEEN_SIGMAS
    said = f"{better} better than {worse}" if clear else f"{pair['first']}, {pair['second']}: no difference seen"
    return [said, f"{name}, {unit}", plus_minus(abs(pair["difference"]), pair["stderr"], digits),
            "—" if sigmas is None else f"{abs(sigmas):.1f}" if abs(sigmas) < MANY_SIGMAS else f"> {MANY_SIGMAS:g}"]


def _speed(rows: Mapping[str, Row], environment: Row) -> Section:
    table = [[label, f"{row['speed']['ms']:.2f}", f"{row['speed']['processor_ms']:.2f}",
              f"{row['speed']['frames_per_s']:,.0f}",
              f"{row['speed']['batch_peak_memory_MB']:.0f}", f"{row['num_parameters']:,}", str(row["num_layers"] or "—"),
              f"{row['r_max_A']:g}", f"{row['backend']}, {row['dtype']}"] for label, row in rows.items()]
    header = ["model", "one frame, ms", "processor, ms", "batch, frames/s", "memory, MB", "parameters", "layers",
              "r_max, Å", "backend"]
    speed = next(iter(rows.values()))["speed"]
    text = ABOUT_SPEED.format(atoms=speed["num_atoms"], batch=speed["batch"], device=environment["device"])
    return Section("Speed and size", [text], [Table(header, table)])


def _price(rows: Mapping[str, Row]) -> Section:
    """Error against time: of the forces where they are labelled, else of the energy."""
    labelled = all(row["errors"]["forces_mae_meV_per_A"] is not None for row in rows.values())
    name = "forces_mae_meV_per_A" if labelled else "energy_mae_meV_per_atom"
    points = {label: Point(row["speed"]["ms"], row["speed"]["ms_low"], row["speed"]["ms_high"], row["errors"][name],
                           row["errors"][f"{name}_stderr"]) for label, row in rows.items() if row["errors"][name]}
    y_label = f"{ERRORS[name][0]}, {ERRORS[name][1]}"
    figures = [pareto(points, "energies and forces of one frame, ms", y_label)] if points else []
    return Section("Accuracy against cost", [ABOUT_PARETO], figures=figures)


def _trust(request: CompareRequest, models: Mapping[str, Row]) -> Section:
    """Passport, what it was trained on, and what it does in a simulation."""
    rows = [[label, _passport(row), _training(row), _seen(row), *_stability(row)] for label, row in models.items()]
    header = ["model", "passport", "trained on", "of these frames", "stable replicas", "temperature, K", "MD steps/s"]
    asked = request.model_dump(include={"replicas", "md_ps", "temperature_K"})
    text = ABOUT_STABILITY.format(**asked) if request.md_ps > 0.0 else "No simulation was asked for."
    return Section("Passport and stability", [text], [Table(header, rows)])


def _passport(row: Row) -> str:
    if "passport" not in row:
        return "—"
    found = row["passport"]
    if found is None:
        return "none"
    made = f"{found['n_passed']} of {found['n_checks']} passed"
    return f"{made}, stale" if found["stale"] else made if found["complete"] else f"{made}, unfinished"


def _training(row: Row) -> str:
    if "training" not in row:
        return "—"
    training = row["training"]
    if training is None:
        return "not known"
    return f"{training['n_train']} frames of {training['sources'][0] if training['sources'] else 'unknown data'}"


def _seen(row: Row) -> str:
    if "seen" not in row:
        return "—"
    seen = row["seen"]
    return "not known" if seen is None else f"{sum(seen.values())} seen"


def _stability(row: Row) -> list[str]:
    md = row.get("md") or {}
    if "stable_fraction" not in md:
        return ["—", "—", "—"]
    whole, low, high = (100.0 * md[name] for name in ("stable_fraction", "stable_fraction_low", "stable_fraction_high"))
    return [f"{whole:.0f} % ({low:.0f} … {high:.0f})",
            plus_minus(md["temperature_mean_K"], md["temperature_sem_K"], 0), f"{md['steps_per_s']:.0f}"]
