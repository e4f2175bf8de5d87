"""A model trained with nequip becomes a model folder of ours, without nequip and without reading any pickle."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors import SafetensorError, safe_open
from torch import Tensor

from toolkit.config import ModelConfig
from toolkit.errors import ConfigError, ModelError, one_line
from toolkit.interfaces.nequip_arguments import architecture, parse_arguments
from toolkit.interfaces.nequip_weights import Shape, convert, select
from toolkit.models.checkpoint import save_model
from toolkit.models.folders import WEIGHTS
from toolkit.models.registry import build_model
from toolkit.storage import write_text_atomic

MAX_CONFIG_BYTES = 1_000_000
MAX_CONFIG_DEPTH = 10
OPENING = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken,
           yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken)
CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
UNREADABLE = (OSError, EOFError, ValueError, TypeError, SafetensorError, zipfile.BadZipFile, zlib.error,
              RuntimeError)  # the last one for encrypted members and unknown compression
"""What safetensors, zipfile and numpy raise for damaged files."""
EXPORT_HINT = ("in nequip's environment write safetensors.torch.save_file(model.state_dict(), 'weights.safetensors'); "
               "docs/nequip-import.md has the few lines")


def import_nequip(weights_path: str | Path, config_path: str | Path, out_folder: str | Path) -> dict[str, Any]:
    """Write a model folder from a nequip state dict and the arguments of its `NequIPGNNModel`.

    weights_path : .safetensors or .npz with nequip's own key names;  config_path : JSON or YAML
    out_folder : the model folder to write; it must not hold a model yet
    Returns what was imported: model_dir, species, layers, sizes, dtype. Energies are taken as eV, lengths as Å.
    Raises ModelError for files that cannot be used, StorageError when the folder cannot be written.
    """
    folder = Path(out_folder)
    if (folder / WEIGHTS).exists():
        raise ModelError(f"{folder} holds a model already", "choose a new folder")
    config = _read_architecture(Path(config_path))
    path = Path(weights_path)
    try:
        state = _read_tensors(path, list(select(_tensor_shapes(path), config).values()))
        config, weights = convert(state, config)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", error.hint) from None
    except UNREADABLE as error:
        raise ModelError(f"cannot read {path}: {one_line(error)}",
                         "the file is absent, truncated or damaged") from None
    dtype = weights[next(key for key in weights if key.endswith("species_embedding"))].dtype
    model = build_model(config, dtype)
    model.load_state_dict(weights)
    save_model(model, config, folder)
    summary = {
        "model_dir": str(folder), "species": list(config.species), "r_max_A": config.r_max,
        "num_layers": config.num_layers, "l_max": config.l_max, "parity": config.parity,
        "channels": list(config.channels), "zbl": config.zbl,
        "num_parameters": sum(p.numel() for p in model.parameters()), "dtype": str(dtype).removeprefix("torch."),
    }
    write_text_atomic(folder / "CARD.md", _card(summary, path, Path(config_path)))
    return summary


def _read_architecture(path: Path) -> ModelConfig:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ModelError(f"{path} has {path.stat().st_size} bytes, expected at most {MAX_CONFIG_BYTES}")
        text = path.read_text(encoding="utf-8")
        if _is_tricky(text):
            raise ModelError(f"{path} uses YAML aliases (*name) or deep nesting, expected plain values",
                             "write the values out")
        values = yaml.safe_load(text)  # JSON is YAML
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {one_line(error)}", "give JSON or YAML") from None
    try:
        return architecture(parse_arguments(values))
    except ConfigError as error:
        raise ModelError(f"{path}: {error.message}",
                         "give the arguments of NequIPGNNModel, all values written out") from None


def _is_tricky(text: str) -> bool:
    """Constructs that make a small text large or slow to read."""
    depth = 0
    for token in yaml.scan(text):
        depth += isinstance(token, OPENING) - isinstance(token, CLOSING)
        if depth > MAX_CONFIG_DEPTH or isinstance(token, yaml.AliasToken):
            return True
    return False


def _tensor_shapes(path: Path) -> dict[str, Shape]:
    """Key -> shape, from the headers alone."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy"): _npy_shape(archive, name) for name in archive.namelist()}
    raise ModelError(f"expected .safetensors or .npz: {path.suffix or 'other'} files may hold pickles, which can run any "
                     "code and are never read", EXPORT_HINT)


def _npy_shape(archive: zipfile.ZipFile, name: str) -> Shape:
    with archive.open(name) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read_header(stream)[0]


def _read_tensors(path: Path, keys: list[str]) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in keys}
    with np.load(path, allow_pickle=False) as archive:
        return {key: torch.from_numpy(archive[key]) for key in keys}


def _card(summary: dict[str, Any], weights_path: Path, config_path: Path) -> str:
    parity = "on" if summary["parity"] else "off"
    lines = [
        f"# nequip for {', '.join(summary['species'])}",
        "",
        f"- **Origin**: trained with nequip; imported from {weights_path.name} and {config_path.name}",
        "- **Units**: nequip stores none; energies are taken as eV, lengths as Å",
        f"- **Model**: {summary['num_layers']} layers, l_max {summary['l_max']}, parity {parity}, "
        f"channels {summary['channels']}, r_max {summary['r_max_A']} Å",
        f"- **Weights**: {summary['num_parameters']} parameters, {summary['dtype']}",
        "- **Training, errors and limits**: unknown here; ask whoever trained it and check it with `toolkit passport`.",
    ]
    return "\n".join(lines) + "\n"
