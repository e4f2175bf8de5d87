"""Model folders: `config.json` + `weights.safetensors` (+ `metrics.json`, `passport.json`, `CARD.md`). Never pickle.

Everything in a folder is untrusted: sizes, names, shapes and dtypes are checked before any tensor is read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from toolkit.config import ModelConfig, parse_config
from toolkit.errors import ConfigError, ModelError, StorageError
from toolkit.models.base import AtomisticModel
from toolkit.models.compact import expand_weights, expanded_shapes
from toolkit.models.folders import WEIGHTS
from toolkit.models.registry import build_model, cast_model
from toolkit.storage import replacing, write_text_atomic

FORMAT_VERSION = 1
UNITS = {"energy": "eV", "length": "Å", "force": "eV/Å", "stress": "eV/Å³"}
MAX_CONFIG_BYTES = 1_000_000
MAX_PARAMETERS = 200_000_000


def save_model(model: AtomisticModel, config: ModelConfig, folder: str | Path) -> None:
    """Write config.json and weights.safetensors. Raises StorageError when that is impossible."""
    folder = Path(folder)
    header = {"format_version": FORMAT_VERSION, "units": UNITS, "model": config.model_dump(mode="json")}
    save_tensors({key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()},
                 folder / WEIGHTS)
    write_text_atomic(folder / "config.json", json.dumps(header, indent=2, ensure_ascii=False))


def save_tensors(tensors: dict[str, torch.Tensor], path: str | Path) -> None:
    """Write a safetensors file as one unit, so that a crash keeps the previous one. Raises StorageError."""
    path = Path(path)
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary)
        except SafetensorError as error:
            raise StorageError(f"cannot write {path}: {error}", "free space on the disk or choose another folder") from None
        temporary.chmod(0o644)  # safetensors makes it readable by the owner only


def load_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """Read all tensors of a safetensors file. Raises ModelError when it is absent, truncated or not safetensors."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot read {path}: {error}", "the file is absent, truncated or not safetensors") from None


def read_model_config(folder: str | Path) -> ModelConfig:
    """The configuration in a model folder. Raises ModelError when it is absent, damaged or from a newer version."""
    path = Path(folder) / "config.json"
    header = read_header(path)
    version = header.get("format_version")
    if version != FORMAT_VERSION:
        raise ModelError(f"{path} has format_version {version!r}, this version reads {FORMAT_VERSION}",
                         "update the toolkit, or train the model again")
    try:
        return parse_config(ModelConfig, header.get("model"))
    except ConfigError as error:
        raise ModelError(f"{path}: {error.message}", "the folder was damaged or written by another program") from None


def load_model(folder: str | Path, dtype: torch.dtype, backend: str = "reference") -> tuple[AtomisticModel, ModelConfig]:
    """Rebuild a model from its folder, on the CPU, in `dtype`. Raises ModelError for anything that does not fit."""
    folder = Path(folder)
    config = read_model_config(folder)
    _refuse_huge(config, folder)
    model = build_model(config, torch.float64, backend)  # holds float32 and float64 weights alike
    expected = model.state_dict()
    path = folder / WEIGHTS
    try:
        with safe_open(path, framework="pt") as file:
            found = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}
            _check_shapes(path, expanded_shapes(found), expected)
            weights = {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot read {path}: {error}", "the file is absent, truncated or not safetensors") from None
    damaged = [key for key, value in weights.items() if not (value.is_floating_point() and value.isfinite().all())]
    if damaged:
        raise ModelError(f"{path}: found weights that are not finite numbers in {damaged[:3]}", "train the model again")
    model.load_state_dict(expand_weights(weights))
    return cast_model(model, dtype), config


def _check_shapes(path: Path, found: dict[str, tuple[int, ...]], expected: dict[str, torch.Tensor]) -> None:
    if set(found) != set(expected):
        odd = sorted(set(found) ^ set(expected))
        raise ModelError(f"{path}: tensors missing or unknown: {odd[:5]}", "weights and config.json do not belong together")
    wrong = [f"{key} {found[key]} instead of {tuple(expected[key].shape)}" for key in found if found[key] != tuple(expected[key].shape)]
    if wrong:
        raise ModelError(f"{path}: wrong shapes: {'; '.join(wrong[:3])}", "weights and config.json do not belong together")


def _refuse_huge(config: ModelConfig, folder: Path) -> None:
    widest = max(*config.channels, config.radial_mlp_width, config.type_embed_num_features or 1,
                 config.num_scalar_features, config.latent_mlp_width or 1)
    estimate = config.num_layers * (config.l_max + 1) ** 3 * (2 if config.parity else 1) ** 2 * widest**2
    if estimate > MAX_PARAMETERS * 10:
        raise ModelError(f"{folder}: config.json describes a model of about {estimate:.1e} parameters, "
                         f"expected at most {MAX_PARAMETERS:.0e}", "the folder is damaged or hostile")


def read_header(path: Path) -> dict[str, Any]:
    """The object in a small JSON file of a model folder. Raises ModelError when it is absent, huge or damaged."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ModelError(f"{path} has {path.stat().st_size} bytes, expected at most {MAX_CONFIG_BYTES}",
                             "this is not a model folder")
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelError(f"cannot read {path}: {error}", "give a model folder or a name under trained_models/") from None
    if not isinstance(values, dict):
        raise ModelError(f"{path} holds a {type(values).__name__}, expected an object", "this is not a model folder")
    return values
