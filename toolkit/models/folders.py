"""Where models live on the disk. Pages list them, so this imports no torch."""

from __future__ import annotations

import os
from pathlib import Path

from toolkit.errors import ModelError
from toolkit.storage import file_sha256, reachable

WEIGHTS = "weights.safetensors"
SAMPLE = "sample.npz"
"""The few test frames that a shipped model brings along."""
UNCERTAINTY_TENSORS = "uncertainty.safetensors"


def models_folder() -> Path:
    """Where the shipped models live: TOOLKIT_MODELS, else `trained_models/` beside the package."""
    return Path(os.environ.get("TOOLKIT_MODELS") or Path(__file__).resolve().parents[2] / "trained_models")


def shipped_models() -> list[str]:
    """Names under trained_models/ that hold a model."""
    return sorted(path.parent.name for path in models_folder().glob(f"*/{WEIGHTS}"))


def find_model(name_or_path: str | Path) -> Path:
    """The model folder meant by a name or path. Raises ModelError that lists the names there are."""
    path = reachable(Path(name_or_path), ModelError)
    candidates = [path, path / "model"] + ([models_folder() / path] if path.name == str(path) else [])
    for folder in candidates:
        if (folder / WEIGHTS).is_file():
            return folder
    raise ModelError(f"found no model {str(name_or_path)!r}, expected a model folder or one of {shipped_models()}",
                     "check the path, or train a model first")


def has_uncertainty(folder: str | Path) -> bool:
    """True when error bars were fitted for the model in this folder, perhaps for earlier weights."""
    return (Path(folder) / UNCERTAINTY_TENSORS).is_file()


def weights_sha256(folder: Path) -> str:
    """Which weights a model folder holds; records of a model name it."""
    return file_sha256(folder / WEIGHTS)
