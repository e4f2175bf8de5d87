"""metrics.json and CARD.md: what a model was trained on, how well it does, and what is known about its limits."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from toolkit.config import TrainConfig
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
    write_text_atomic(folder / "CARD.md", _card(metrics, data))


def device_name(device: torch.device) -> str:
    """The hardware's name, as results must state it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"


def software_versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("torch", "e3nn", "ase")}}


def _card(metrics: dict[str, Any], data: TrainingData) -> str:
    model, test = data.model_config, metrics["test"]
    rms = data.statistics.force_rms_eV_per_A * 1e3
    lines = [
        f"# {model.architecture} for {', '.join(model.species)}",
        "",
        f"- **Data**: {'; '.join(metrics['data']['sources'])} — {metrics['data']['n_train']} training, "
        f"{metrics['data']['n_val']} validation, {metrics['data']['n_test']} test frames; "
        f"training force RMS {rms:.0f} meV/Å",
        f"- **Units found**: {'; '.join(metrics['data']['units'])}",
        f"- **Model**: {model.num_layers} layers, l_max {model.l_max}, parity {'on' if model.parity else 'off'}, "
        f"channels {list(model.channels)}, r_max {model.r_max} Å",
        f"- **Training**: {metrics['epochs']} epochs (best {metrics['best_epoch']}), {metrics['wall_s'] / 60:.1f} min on "
        f"{metrics['device']}, torch {metrics['versions']['torch']}",
    ]
    if test:
        lines.append(f"- **Test errors** ({test['n_frames']} frames, never used to choose anything): "
                     + "; ".join(_error_lines(test)))
    lines += [f"- **Warning**: {warning}" for warning in metrics["data"]["warnings"]]
    lines.append("- **Limits**: trained only on configurations like those above; other molecules, elements, charge states "
                 "or much higher temperatures are extrapolation.")
    return "\n".join(lines) + "\n"


def _error_lines(test: dict[str, Any]) -> list[str]:
    names = {"energy_mae_meV": "energy MAE {:.2f} meV", "energy_mae_meV_per_atom": "{:.3f} meV/atom",
             "forces_mae_meV_per_A": "force MAE {:.2f} meV/Å", "forces_rmse_meV_per_A": "force RMSE {:.2f} meV/Å",
             "stress_mae_meV_per_A3": "stress MAE {:.3f} meV/Å³"}
    lines = [text.format(test[key]) for key, text in names.items() if test[key] is not None]
    if test["forces_mae_meV_per_A"] and test["forces_label_rms_meV_per_A"]:
        lines.append(f"{100 * test['forces_mae_meV_per_A'] / test['forces_label_rms_meV_per_A']:.1f} % of the force RMS")
    return lines
