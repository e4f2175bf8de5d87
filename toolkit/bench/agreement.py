"""Before a backend is timed: what it predicts and trains with, against the reference in float64."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from toolkit.bench.systems import aspirin, box
from toolkit.config import LossConfig, ModelConfig
from toolkit.data.graph import AtomicGraph, collate, graph_from_atoms
from toolkit.kernels.dispatch import BACKENDS, available
from toolkit.models.derivatives import evaluate
from toolkit.models.potential import Potential
from toolkit.models.registry import build_model
from toolkit.training.loss import training_loss

TOLERANCES = {"float32": 1e-4, "float64": 1e-9}
"""Largest difference allowed, in units of the root mean square of the reference."""
MODELS = [{"architecture": architecture, "l_max": l_max, "parity": parity, "num_features": channels}
          for architecture in ("nequip", "allegro")
          for l_max, channels in ((1, 7), (2, 16), (3, 5)) for parity in (False, True)]


def agreement_rows(device: str) -> list[dict[str, Any]]:
    """One row per backend, precision and model: the differences, and `passed`."""
    graph = _sample().to(device)
    rows = []
    for model in MODELS:
        config = ModelConfig(species=("H", "C", "O"), num_layers=3, avg_num_neighbors=20.0, **model)
        expected = _quantities(config, graph, torch.float64, "reference")
        for backend in (name for name in BACKENDS if available(name, graph.positions.device.type)):
            for dtype, tolerance in TOLERANCES.items():
                found = _quantities(config, graph, getattr(torch, dtype), backend)
                errors = {key: _difference(found[key], expected[key]) for key in expected}
                worst = max(errors.values())
                rows.append({"backend": backend, "dtype": dtype, **model, **errors, "worst": worst,
                             "tolerance": tolerance, "passed": worst <= tolerance})
    return rows


def _sample() -> AtomicGraph:
    """A molecule, a box, and one atom alone: open, periodic, and without neighbours."""
    alone = aspirin()[0][:1]
    structures = [aspirin()[0], alone, box(40)]
    graph = collate([graph_from_atoms(atoms, 5.0) for atoms in structures])
    noise = torch.Generator().manual_seed(0)
    graph.labels["energy"].zero_()
    graph.labels["forces"].copy_(torch.randn(graph.num_atoms, 3, generator=noise))
    return graph


def _quantities(config: ModelConfig, graph: AtomicGraph, dtype: torch.dtype, backend: str) -> dict[str, Tensor]:
    """Energies and forces as training and as predictions compute them, and the parameter gradient of a loss on both."""
    model = build_model(config, dtype, backend).to(graph.positions.device)
    output = evaluate(model, graph, create_graph=True)
    training_loss(output, graph, LossConfig()).backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    gradient = torch.cat([g.double().flatten() for g in gradients])
    predicted = Potential(model, config, graph.positions.device, backend).evaluate(graph)
    return {"energies": output["atomic_energies"].detach(), "forces": output["forces"].detach(),
            "gradient": gradient, "predicted_energies": predicted["atomic_energies"],
            "predicted_forces": predicted["forces"]}


def _difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.square().mean().sqrt())
