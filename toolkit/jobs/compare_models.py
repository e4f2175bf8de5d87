"""What is known about a model before it is asked anything: size, passport, training data, frames it has seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from toolkit.config_model import ARCHITECTURE_FIELDS
from toolkit.models.folders import find_model, weights_sha256
from toolkit.models.potential import Potential
from toolkit.storage import read_json
from toolkit.training.seen import seen_frames

Facts = dict[str, Any]


def model_labels(models: Sequence[str]) -> list[str]:
    """A short name for each model: that of a shipped one, or of its run or folder; repeated ones numbered."""
    names = [model.rstrip("/").removesuffix("/model").rsplit("/", 1)[-1] for model in models]
    seen: Counter[str] = Counter()
    labels = []
    for name in names:
        seen[name] += 1
        labels.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return labels


def model_facts(model: str, potential: Potential, frames: Sequence[Atoms]) -> Facts:
    """Size, precision and backend of a loaded model, its passport, its training data, and which `frames` were in it."""
    folder, config = find_model(model), potential.config
    metrics = read_json(folder / "metrics.json") or {}
    layers = config.num_layers if "num_layers" in ARCHITECTURE_FIELDS[config.architecture] else None
    return {"model": model, "architecture": config.architecture, "species": list(config.species),
            "num_parameters": potential.num_parameters, "num_layers": layers, "r_max_A": config.r_max,
            "dtype": str(potential.dtype).removeprefix("torch."), "backend": potential.backend,
            "passport": passport_facts(folder), "training": training_facts(metrics),
            "seen": seen_frames(metrics, frames)}


def passport_facts(folder: Path) -> Facts | None:
    """Checks made and passed, whether all were made, and whether on these very weights; None without a passport."""
    stored = read_json(folder / "passport.json")
    if stored is None or not isinstance(stored.get("checks"), dict):
        return None
    passed = [isinstance(entry, dict) and entry.get("passed") is True for entry in stored["checks"].values()]
    return {"n_passed": sum(passed), "n_checks": len(passed), "complete": stored.get("complete") is True,
            "stale": stored.get("weights_sha256") != weights_sha256(folder)}


def training_facts(metrics: Facts) -> Facts | None:
    """Sources, number of frames and split that `metrics.json` tells of; None where it says nothing.

    The sources end with the model that the training went on from, if it did.
    """
    data, config = metrics.get("data"), metrics.get("train_config")
    if not isinstance(data, dict) or not isinstance(config, dict) or not isinstance(config.get("data"), dict):
        return None
    start = data.get("start_from")
    before = [f"those of the weights it began with ({start.get('model')})"] if isinstance(start, dict) else []
    return {"sources": [*map(str, data.get("sources", [])), *before], "n_train": data.get("n_train"),
            "split": config["data"].get("split")}
