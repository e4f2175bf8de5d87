"""metrics.json and CARD.md: what a model was trained on, how well it does, and what is known about its limits."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from toolkit.config import ModelConfig, TrainConfig
from toolkit.config_model import ARCHITECTURE_FIELDS, LongRangeConfig
from toolkit.storage import write_text_atomic
from toolkit.training.prepare import TrainingData


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
    forces_rms = data["forces_rms_train_eV_per_A"]
    title = f"{model.architecture} for {', '.join(model.species)}"
    lines = [f"# {shipped['name']}: {title}", "", shipped["about"], ""] if shipped else [f"# {title}", ""]
    lines += [
        f"- **Data**: {'; '.join(data['sources'])} — {data['n_train']} training, "
        f"{data['n_val']} validation, {data['n_test']} test frames; "
        + ("energies only" if forces_rms is None else f"training force RMS {forces_rms * 1e3:.0f} meV/Å"),
        f"- **Units found**: {_units_found(data['sources'], data['units'])}",
        f"- **Model**: {', '.join(_hyperparameters(model))}, r_max {model.r_max} Å",
        f"- **Training**: {metrics['epochs']} epochs (best {metrics['best_epoch']}), {metrics['wall_s'] / 60:.1f} min on "
        f"{metrics['device']}, torch {metrics['versions']['torch']}",
    ]
    if start := data.get("start_from"):
        lines.append(f"- **Started from**: the weights of {start['model']} (sha256 {start['weights_sha256']})")
    if model.long_range is not None:
        lines.append(f"- **Long range**: {', '.join(_long_range(model.long_range))}")
    if shipped:
        lines += [f"- **Licence of the data**: {shipped['licence']}", f"- **Command**: `{shipped['command']}`"]
    if test:
        use = "some of them known to the model, see the warnings" if data.get("test_was_seen") else "never used to choose anything"
        lines.append(f"- **Test errors** ({test['n_frames']} frames, {use}): " + "; ".join(_error_lines(test)))
    if sample:
        lines.append(f"- **Sample** ({sample['n_frames']} of the test frames, `{sample['file']}`, float64): "
                     + "; ".join(_error_lines(sample)))
    lines += [f"- **Warning**: {warning}" for warning in data["warnings"]]
    lines.append("- **Limits**: trained only on configurations like those above; other molecules, elements, charge states "
                 "or much higher temperatures are extrapolation.")
    return "\n".join(lines) + "\n"


def _units_found(sources: Sequence[str], units: Sequence[str]) -> str:
    """The units of all files, with the evidence of the first that has each; metrics.json holds that of every file."""
    found: dict[str, tuple[str, str, list[str]]] = {}
    for source, text in zip(sources, units, strict=True):
        unit, _, evidence = text.partition(": ")
        found.setdefault(unit, (source, evidence, []))[2].append(source)
    return "; ".join(f"{unit} ({evidence})" if len(files) == 1 else f"{unit} in {', '.join(files)} (of {first}: {evidence})"
                     for unit, (first, evidence, files) in found.items())


def _hyperparameters(model: ModelConfig) -> list[str]:
    """The main ones among those that the architecture has."""
    own = ARCHITECTURE_FIELDS[model.architecture]
    known = {"num_layers": f"{model.num_layers} layers", "l_max": f"l_max {model.l_max}",
             "parity": f"parity {'on' if model.parity else 'off'}"}
    channels = list(model.channels) if "l_max" in own else model.channels[0]
    return [*(text for name, text in known.items() if name in own), f"channels {channels}"]


def _long_range(options: LongRangeConfig) -> list[str]:
    charges = [f"latent charges of width {options.smearing_A} Å in an Ewald sum"] if options.charges else []
    return [*charges, *([f"dispersion {options.dispersion}"] if options.dispersion is not None else [])] or ["nothing"]


def _error_lines(test: Mapping[str, Any]) -> list[str]:
    names = {"energy_mae_meV": "energy MAE {:.2f} meV", "energy_mae_meV_per_atom": "{:.3f} meV/atom",
             "forces_mae_meV_per_A": "force MAE {:.2f} meV/Å", "forces_rmse_meV_per_A": "force RMSE {:.2f} meV/Å",
             "stress_mae_meV_per_A3": "stress MAE {:.3f} meV/Å³"}
    lines = [text.format(test[key]) for key, text in names.items() if test[key] is not None]
    if test["forces_mae_meV_per_A"] and test["forces_label_rms_meV_per_A"]:
        lines.append(f"{100 * test['forces_mae_meV_per_A'] / test['forces_label_rms_meV_per_A']:.1f} % of the force RMS")
    return lines
