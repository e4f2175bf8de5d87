"""Architectures by name. A new one is a module that fulfils `models.base` and one line here."""

from __future__ import annotations

from collections.abc import Callable

import torch

from toolkit.config import ModelConfig
from toolkit.errors import ConfigError
from toolkit.models.allegro import Allegro
from toolkit.models.atom_gnn import AtomGNN
from toolkit.models.atom_mlp import AtomMLP
from toolkit.models.base import AtomisticModel
from toolkit.models.dispersion import Dispersion
from toolkit.models.long_range import LongRange
from toolkit.models.nequip import NequIP
from toolkit.models.species import SpeciesIndex
from toolkit.models.zbl import ZBL, SumModel
from toolkit.nn.allegro import AllegroLayer
from toolkit.nn.convolution import NeighborConvolution

ARCHITECTURES: dict[str, Callable[[ModelConfig, str], AtomisticModel]] = {
    "nequip": NequIP,
    "atom_mlp": AtomMLP,
    "atom_gnn": AtomGNN,
    "allegro": Allegro,
}
"""Name of an architecture -> class taking (config, backend)."""


def build_model(config: ModelConfig, dtype: torch.dtype, backend: str = "reference") -> AtomisticModel:
    """A model with fresh weights drawn from `config.seed`, on the CPU. Raises ConfigError for an unknown architecture."""
    if config.architecture not in ARCHITECTURES:
        raise ConfigError(f"found architecture {config.architecture!r}, expected one of {sorted(ARCHITECTURES)}")
    if not config.species:
        raise ConfigError("found no species in the model configuration, expected at least one element",
                          "set species=['C', 'H', 'O'] or train, which takes them from the data")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = ARCHITECTURES[config.architecture](config, backend)
    return cast_model(_with_additions(model, config), dtype)


def _with_additions(model: AtomisticModel, config: ModelConfig) -> AtomisticModel:
    """The model with the charges, the repulsion and the dispersion that the configuration asks for."""
    if config.predicts_charges:
        model = LongRange(model, config.long_range)
    parts = [model]
    if config.zbl:
        parts.append(ZBL(config))
    if config.long_range is not None and config.long_range.dispersion is not None:
        parts.append(Dispersion(config))
    return SumModel(parts) if len(parts) > 1 else model


def use_backend(model: AtomisticModel, backend: str, dtype: torch.dtype) -> AtomisticModel:
    """Let all convolutions of the model run on another backend of `kernels.dispatch`, in `dtype`, in place."""
    device = next(model.parameters()).device
    for module in model.modules():
        if isinstance(module, NeighborConvolution | AllegroLayer):
            module.use_backend(backend)
    return cast_model(model, dtype).to(device)


def cast_model(model: AtomisticModel, dtype: torch.dtype) -> AtomisticModel:
    """Give all weights and buffers `dtype`, in place, except the species tables (energy scales and shifts, cutoffs), which
    stay float64."""
    for module in model.modules():
        if not isinstance(module, SpeciesIndex):
            for tensor in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
                if tensor.is_floating_point():
                    tensor.data = tensor.data.to(dtype)
    return model
