"""The same weights in another precision or on another backend, against the reference code in float64."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms

from toolkit.checks.gradients import hessian_vector_product
from toolkit.checks.probe import TINY, Probe, modified, rms
from toolkit.checks.result import CheckResult, judge
from toolkit.kernels.dispatch import BACKENDS, available
from toolkit.models.potential import Potential
from toolkit.models.registry import use_backend

REFERENCE = "reference"


def variant(potential: Potential, dtype: torch.dtype, backend: str) -> Potential:
    """The same potential computed in another precision, on another backend."""
    twin = modified(potential, lambda model: use_backend(model, backend, dtype))
    twin.dtype, twin.backend = dtype, backend
    return twin


def variants(potential: Potential) -> list[Potential]:
    """All that this machine can run: every backend in float64 and in float32, the reference in float64 first."""
    backends = [name for name in BACKENDS if available(name, potential.device.type)]
    return [variant(potential, dtype, backend) for backend in backends for dtype in (torch.float64, torch.float32)]


def precision(potential: Potential, atoms: Atoms) -> CheckResult:
    """Energies, forces, stress and two Hessian-vector products along random directions, relative to their size."""
    reference = variant(potential, torch.float64, REFERENCE)
    expected = Probe(reference).response(atoms)
    errors = Probe(potential).response(atoms).errors(expected)
    rng = np.random.default_rng(0)
    for name in ("first", "second"):
        direction = rng.normal(size=(len(atoms), 3))
        product = hessian_vector_product(reference, atoms, direction)
        deviation = rms(hessian_vector_product(potential, atoms, direction) - product)
        errors[f"{name} Hessian-vector product"] = deviation / max(rms(product), TINY)
    return judge(potential, "precision", errors, problem=expected.problem)
