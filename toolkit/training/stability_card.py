"""What a model's card says of molecular dynamics. It imports no torch: pages show it too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STABILITY = "stability.json"
FULL_REPLICAS, FULL_PS = 64, 100.0
"""A stability record of this size is a full one."""
FORGOTTEN_PS = 10.0
"""In less time a trajectory still resembles the frame that it began with, and so does its h(r)."""


def stability_section(record: Mapping[str, Any]) -> str:
    """The section of CARD.md on molecular dynamics. record : content of stability.json"""
    header = ["temperature, K", "replicas", "ps each", "stable fraction [95 %]", "first failure, ps", "h(r) error"]
    rows = [[f"{run['temperature_K']:g}", str(run["replicas"]), f"{run['ps']:g}",
             f"{run['stable_fraction']:.3f} [{run['stable_fraction_low']:.3f}, {run['stable_fraction_high']:.3f}]",
             "—" if run["first_failure_ps"] is None else f"{run['first_failure_ps']:.3g}", _h_of_r(run)]
            for run in record["runs"]]
    lines = ["## Stability", "", f"Langevin dynamics from frame {record['frame']} of {record['structure']} on "
             f"{record['device']}, {record['dtype']}, time step {record['timestep_fs']:g} fs{_inner_steps(record)}. "
             f"A replica fails when a bond is off by more than {record['max_bond_change_A']:g} Å.", "",
             *(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)), ""]
    if record["reference"] is not None:
        known = record["reference_temperature_K"]
        sampled = "of unstated temperature" if known is None else f"at {known:g} K"
        lines += ["h(r) error: ∫ |h − h_ref| dr between the distributions of all interatomic distances (0 … 2), "
                  f"against {record['reference']} {sampled}; in brackets what the finite number of reference frames "
                  "alone would give. At another temperature than theirs (*) it is no error of the model.", ""]
    short = [run for run in record["runs"] if run["replicas"] < FULL_REPLICAS or run["ps"] < FULL_PS]
    if any(_remembers(run) and run["h_of_r_error"] is not None for run in record["runs"]):
        lines += [f"† All replicas began with one frame, and in less than {FORGOTTEN_PS:g} ps do not forget it: most of this "
                  "h(r) error is that frame's, not the model's.", ""]
    if short:
        lines += [f"**Shorter than the {FULL_REPLICAS} × {FULL_PS:g} ps that a full record takes**: rare failures may "
                  "not have shown.", ""]
    return "\n".join(lines)


def _inner_steps(record: Mapping[str, Any]) -> str:
    if "inner_steps" not in record:
        return ""
    weights = record["inner_weights_sha256"][:8]
    return (f", each with {record['inner_steps']} inner steps by `{record['inner_model']}` (weights {weights}) that this "
            "model corrects (r-RESPA)")


def _h_of_r(run: Mapping[str, Any]) -> str:
    if run["h_of_r_error"] is None:
        return "—"
    marks = ("" if run["at_reference_temperature"] else " *") + (" †" if _remembers(run) else "")
    return f"{run['h_of_r_error']:.4f}{marks} [{run['h_of_r_noise']:.4f}]"


def _remembers(run: Mapping[str, Any]) -> bool:
    return run["ps"] < FORGOTTEN_PS
