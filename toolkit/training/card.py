"""metrics.json and CARD.md: what a model was trained on, how well it does, and what is known about its limits."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from toolkit.config import ModelConfig, TrainConfig
from toolkit.storage import write_text_atomic
from toolkit.training.prepare import TrainingData

STABILITY = "stability.json"
FULL_REPLICAS, FULL_PS = 64, 100.0
"""A stability record of this size is a full one."""


def write_card(folder: Path, config: TrainConfig, data: TrainingData, result: dict[str, Any], device: torch.device) -> None:
    """Write metrics.json (every number) and CARD.md (the same for people) into a model folder."""
    metrics = {
        "test": result.get("test"), "data": data.summary, "train_config": config.model_dump(mode="json"),
        "epochs": result["epochs"], "best_epoch": result["best_epoch"], "wall_s": result["wall_s"],
        "frames_per_s": result["frames_per_s"], "device": device_name(device),
        "versions": software_versions(),
    }
    write_text_atomic(folder / "metrics.json", json.dumps(metrics, indent=2, ensure_ascii=False))
    write_text_atomic(folder / "CARD.md", card_text(metrics, data.model_config))


def device_name(device: torch.device) -> str:
    """The hardware's name, as results must state it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"


def software_versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("torch", "e3nn", "ase")}}


def card_text(metrics: Mapping[str, Any], model: ModelConfig) -> str:
    """CARD.md up to its first section, from what metrics.json and config.json hold.

    `shipped` (name, about, licence, command) and `sample` in the metrics, of shipped models, add to it.
    """
    data, test, shipped, sample = (metrics.get(name) or {} for name in ("data", "test", "shipped", "sample"))
    title = f"{model.architecture} for {', '.join(model.species)}"
    lines = [f"# {shipped['name']}: {title}", "", shipped["about"], ""] if shipped else [f"# {title}", ""]
    lines += [
        f"- **Data**: {'; '.join(data['sources'])} — {data['n_train']} training, "
        f"{data['n_val']} validation, {data['n_test']} test frames; "
        f"training force RMS {data['forces_rms_train_eV_per_A'] * 1e3:.0f} meV/Å",
        f"- **Units found**: {'; '.join(data['units'])}",
        f"- **Model**: {model.num_layers} layers, l_max {model.l_max}, parity {'on' if model.parity else 'off'}, "
        f"channels {list(model.channels)}, r_max {model.r_max} Å",
        f"- **Training**: {metrics['epochs']} epochs (best {metrics['best_epoch']}), {metrics['wall_s'] / 60:.1f} min on "
        f"{metrics['device']}, torch {metrics['versions']['torch']}",
    ]
    if shipped:
        lines += [f"- **Licence of the data**: {shipped['licence']}", f"- **Command**: `{shipped['command']}`"]
    if test:
        lines.append(f"- **Test errors** ({test['n_frames']} frames, never used to choose anything): "
                     + "; ".join(_error_lines(test)))
    if sample:
        lines.append(f"- **Sample** ({sample['n_frames']} of the test frames, `{sample['file']}`, float64): "
                     + "; ".join(_error_lines(sample)))
    lines += [f"- **Warning**: {warning}" for warning in data["warnings"]]
    lines.append("- **Limits**: trained only on configurations like those above; other molecules, elements, charge states "
                 "or much higher temperatures are extrapolation.")
    return "\n".join(lines) + "\n"


def _error_lines(test: Mapping[str, Any]) -> list[str]:
    names = {"energy_mae_meV": "energy MAE {:.2f} meV", "energy_mae_meV_per_atom": "{:.3f} meV/atom",
             "forces_mae_meV_per_A": "force MAE {:.2f} meV/Å", "forces_rmse_meV_per_A": "force RMSE {:.2f} meV/Å",
             "stress_mae_meV_per_A3": "stress MAE {:.3f} meV/Å³"}
    lines = [text.format(test[key]) for key, text in names.items() if test[key] is not None]
    if test["forces_mae_meV_per_A"] and test["forces_label_rms_meV_per_A"]:
        lines.append(f"{100 * test['forces_mae_meV_per_A'] / test['forces_label_rms_meV_per_A']:.1f} % of the force RMS")
    return lines


def stability_section(record: Mapping[str, Any]) -> str:
    """The section of CARD.md on molecular dynamics. record : content of stability.json"""
    header = ["temperature, K", "replicas", "ps each", "stable fraction [95 %]", "first failure, ps", "h(r) error"]
    rows = [[f"{run['temperature_K']:g}", str(run["replicas"]), f"{run['ps']:g}",
             f"{run['stable_fraction']:.3f} [{run['stable_fraction_low']:.3f}, {run['stable_fraction_high']:.3f}]",
             "—" if run["first_failure_ps"] is None else f"{run['first_failure_ps']:.3g}", _h_of_r(run)]
            for run in record["runs"]]
    lines = ["## Stability", "", f"Langevin dynamics from frame {record['frame']} of {record['structure']} on "
             f"{record['device']}, {record['dtype']}, time step {record['timestep_fs']:g} fs. A replica fails when a "
             f"bond is off by more than {record['max_bond_change_A']:g} Å.", "",
             *(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)), ""]
    if record["reference"] is not None:
        known = record["reference_temperature_K"]
        lines += [f"h(r) error: ∫ |h − h_ref| dr between the distributions of all interatomic distances (0 … 2), against "
                  f"{record['reference']} {f'at {known:g} K' if known is not None else 'of unstated temperature'}; in "
                  "brackets what the finite number of reference frames alone would give. At another temperature than "
                  "theirs (*) it is no error of the model.", ""]
    short = [run for run in record["runs"] if run["replicas"] < FULL_REPLICAS or run["ps"] < FULL_PS]
    if short:
        lines += [f"**Shorter than the {FULL_REPLICAS} × {FULL_PS:g} ps that a full record takes**: rare failures may not "
                  "have shown.", ""]
    return "\n".join(lines)


def _h_of_r(run: Mapping[str, Any]) -> str:
    if run["h_of_r_error"] is None:
        return "—"
    return f"{run['h_of_r_error']:.4f}{'' if run['at_reference_temperature'] else ' *'} [{run['h_of_r_noise']:.4f}]"
