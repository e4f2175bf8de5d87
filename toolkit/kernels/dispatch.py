"""Which backend computes the convolution. One operation, several implementations, the same numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

from toolkit.errors import ConfigError
from toolkit.kernels.paths import PathTable
from toolkit.kernels.reference import ReferenceConvolution

BACKENDS: dict[str, Callable[[PathTable], torch.nn.Module]] = {"reference": ReferenceConvolution}
"""Name -> a module with `forward(features, harmonics, weights, edge_index)`; see `ReferenceConvolution`."""

KNOWN_BACKENDS = ("auto", "reference", "fused", "compiled")


def select_backend(requested: str) -> str:
    """The backend that really runs for a request; warns and falls back to "reference" where one is not available.

    Raises ConfigError for a name that is no backend.
    """
    if requested not in KNOWN_BACKENDS:
        raise ConfigError(f"found backend {requested!r}, expected one of {list(KNOWN_BACKENDS)}")
    if requested == "auto":
        return "reference"
    if requested not in BACKENDS:
        warnings.warn(f"backend {requested!r} is not part of this version; using 'reference', the same numbers, slower",
                      stacklevel=3)
        return "reference"
    return requested


def convolution(table: PathTable, backend: str = "reference") -> torch.nn.Module:
    """The convolution module of a backend chosen by `select_backend`."""
    return BACKENDS[backend](table)
