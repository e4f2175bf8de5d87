"""What a model's card says of its error bars, and where a simulation should stop by them. It imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

CALIBRATION = "calibration.json"
SECTION = "## Uncertainty"
STOP_FACTOR = 1.5
"""A simulation has left what the model knows where σ is this many times the largest on its test frames."""


def suggested_stop_eV_per_A(record: Mapping[str, Any]) -> float:
    """The standard deviation of a force, eV/Å, two digits, above which a replica should be retired."""
    return float(f"{STOP_FACTOR * record['largest_forces_std_eV_per_A']['max']:.2g}")


def calibration_section(record: Mapping[str, Any]) -> str:
    """The section of CARD.md on error bars. record : content of calibration.json"""
    fit, largest = record["fit"], record["largest_forces_std_eV_per_A"]
    header = ["", "RMS error", "RMS σ", "error ÷ σ (RMS)", "within 68 / 90 / 99 % intervals", "rank correlation"]
    rows = [_row(label, record[name]) for name, label in (("forces", "forces, meV/Å"), ("energy", "energies, meV"))
            if name in record]
    stop = suggested_stop_eV_per_A(record)
    return "\n".join([
        SECTION, "",
        f"Standard deviations σ from the last layer (`docs/uncertainty.md`): fitted on {fit['n_fitted']} frames of "
        f"{fit['data']}, scaled on {fit['n_calibrated']} validation frames, compared with the errors on "
        f"{record['n_frames']} frames of {record['data']} ({record['device']}, {record['dtype']}).", "",
        *(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)), "",
        *_verdicts(record),
        f"The largest σ of a force is {1e3 * largest['max']:.0f} meV/Å in all these frames and "
        f"{1e3 * largest['median']:.0f} meV/Å in half of them. A simulation can stop at {STOP_FACTOR:g} times the largest: "
        f"`--uncertainty-stop-eV-per-A {stop:g}`. On other molecules σ is an alarm, not an error bar.", ""])


def _verdicts(record: Mapping[str, Any]) -> list[str]:
    """What `toolkit uncertainty check` objects to."""
    lines = []
    for name, what in (("forces", "forces"), ("energy", "energies")):
        verdict, z_std = record["verdict"].get(name), record.get(name, {}).get("z_std")
        if verdict == "wrong size":
            lines += [f"**σ of {what} has the wrong size**: errors are {z_std:.2f} times as large, with 10 % and three standard "
                      "errors allowed. Multiply it by that number.", ""]
        elif verdict not in (None, "right"):
            lines += [f"**σ of {what} is no better than one number for all frames.**", ""]
    return lines


def _row(label: str, check: Mapping[str, Any]) -> list[str]:
    part = dict(zip((round(100.0 * level) for level in check["expected"]), check["observed"], strict=True))
    return [label, f"{1e3 * _rms(check['rmse']):.2f}", f"{1e3 * _rms(check['rmv']):.2f}",
            f"{check['z_std']:.2f} ± {check['z_std_stderr']:.2f}",
            " / ".join(f"{100.0 * part[level]:.0f}" for level in (68, 90, 99)), f"{check['spearman']:.2f}"]


def _rms(values: list[float]) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values))
