"""Which backend computes the convolution. One operation, several implementations, the same numbers."""

from __future__ import annotations

import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch

from toolkit.errors import ConfigError
from toolkit.kernels.edge_product import EdgeProduct
from toolkit.kernels.paths import PathTable
from toolkit.kernels.reference import ReferenceConvolution
from toolkit.kernels.spline import SplineKernels


@dataclass(frozen=True)
class Backend:
    """One implementation.

    build : the convolution module, with `forward(features, harmonics, weights, edges)`; see `ReferenceConvolution`
    obstacle : why it cannot run on a type of device ("cpu", "cuda"), or None
    spline : kernels that read radial functions from tables; None: they are computed
    fuses_nodes : has kernels for linear maps and gates of a whole layer (`kernels.fused_nodes`)
    build_product : the module that multiplies features of edges with environments; see `EdgeProduct`
    """

    build: Callable[[PathTable], torch.nn.Module]
    obstacle: Callable[[str], str | None]
    spline: Callable[[], SplineKernels] | None = None
    fuses_nodes: bool = False
    build_product: Callable[[PathTable], torch.nn.Module] = EdgeProduct


def _compiled(table: PathTable) -> torch.nn.Module:
    from toolkit.kernels.compiled import CompiledConvolution

    return CompiledConvolution(table)


def _compiled_product(table: PathTable) -> torch.nn.Module:
    from toolkit.kernels.compiled_product import CompiledEdgeProduct

    return CompiledEdgeProduct(table)


def _compiled_spline() -> SplineKernels:
    from toolkit.kernels.compiled_spline import NumbaSpline

    return NumbaSpline()


def _compiled_obstacle(device_type: str) -> str | None:
    if device_type != "cpu":
        return f"it runs on the CPU only, found device {device_type!r}"
    return None if importlib.util.find_spec("numba") else "Numba is not installed"


def _fused(table: PathTable) -> torch.nn.Module:
    from toolkit.kernels.fused import FusedConvolution

    return FusedConvolution(table)


def _fused_spline() -> SplineKernels:
    from toolkit.kernels.fused_spline import TritonSpline

    return TritonSpline()


def _fused_obstacle(device_type: str) -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if device_type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return f"it needs a CUDA device, found {device_type!r}"
    if device_type == "cuda" and not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "Triton needs a C compiler, found neither gcc nor clang"
    return None


BACKENDS: dict[str, Backend] = {
    "reference": Backend(ReferenceConvolution, lambda device_type: None),
    "compiled": Backend(_compiled, _compiled_obstacle, _compiled_spline, build_product=_compiled_product),
    "fused": Backend(_fused, _fused_obstacle, _fused_spline, fuses_nodes=True),
}
"""reference: plain torch, anywhere; compiled: Numba on a CPU; fused: Triton on a GPU (or in Triton's interpreter)."""

PREFERENCE = {"cpu": ("compiled", "reference"), "cuda": ("fused", "reference")}
"""What "auto" tries, by type of device."""


def select_backend(requested: str, device_type: str) -> str:
    """The backend that really runs for a request on a "cpu" or "cuda" device.

    Warns with the reason and falls back to "reference" where the requested one cannot run. Raises ConfigError for a
    name that is no backend.
    """
    if requested == "auto":
        return next(name for name in PREFERENCE.get(device_type, ("reference",)) if available(name, device_type))
    if requested not in BACKENDS:
        raise ConfigError(f"found backend {requested!r}, expected one of {['auto', *BACKENDS]}")
    obstacle = BACKENDS[requested].obstacle(device_type)
    if obstacle is not None:
        warnings.warn(f"backend {requested!r} cannot run here: {obstacle}; using 'reference', the same numbers, slower",
                      stacklevel=3)
        return "reference"
    return requested


def obstacles(device_type: str) -> dict[str, str]:
    """Why each of the other backends cannot run on this type of device."""
    found = {name: backend.obstacle(device_type) for name, backend in BACKENDS.items()}
    return {name: obstacle for name, obstacle in found.items() if obstacle is not None}


def available(name: str, device_type: str) -> bool:
    """True when this backend can run on this type of device."""
    return BACKENDS[name].obstacle(device_type) is None


def spline_kernels(backend: str) -> SplineKernels | None:
    """What reads radial tables on this backend; None where it has nothing to read them with."""
    make = BACKENDS[backend].spline
    return None if make is None else make()


def convolution(table: PathTable, backend: str = "reference") -> torch.nn.Module:
    """The convolution module of a backend chosen by `select_backend`."""
    return BACKENDS[backend].build(table)


def edge_product(table: PathTable, backend: str = "reference") -> torch.nn.Module:
    """The product of edge features with environments, on a backend chosen by `select_backend`."""
    return BACKENDS[backend].build_product(table)
