"""How uncertain a potential's forces and energies are: last-layer posterior, no retraining, any architecture.

A potential is linear in the weights w of its last layer: E = g(x) · w + shifts, F = −(dg/dx)ᵀ w, with C features
g = dE/dw. Given all else, the labels of the training frames leave w a normal distribution around the trained ones, with
the covariance

    Σ = (Σ_frames g gᵀ / s_E² + Σ_components (dg/dx)(dg/dx)ᵀ / s_F² + ridge)⁻¹

so that var E = α_E² gᵀ Σ g and var F = α_F² (dg/dx)ᵀ Σ (dg/dx). This is the last-layer prediction rigidity of Bigi,
Chong, Ceriotti & Grasselli, Mach. Learn. Sci. Technol. 5, 045018 (2024), here with rows for forces too, most of what the
weights were fitted to. s_E and s_F are the RMS errors on the training frames, s_F for each element; α_E and α_F alone are
calibrated, on validation frames. `training.uncertainty` finds all of them.

Predictions take the covariance as directions d_k with Σ_k d_k d_kᵀ = Σ: all C of them, or K random orthogonal mixtures,
right on average, for K backward passes (a shallow ensemble made afterwards: Kellner & Ceriotti, Mach. Learn. Sci.
Technol. 5, 035006 (2024)). Each direction is a potential of the same architecture, so σ has all its symmetries.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toolkit.data.graph import AtomicGraph
from toolkit.errors import ModelError
from toolkit.models.base import AtomisticModel
from toolkit.models.checkpoint import load_tensors, read_header, save_tensors
from toolkit.models.derivatives import readout_responses
from toolkit.models.folders import UNCERTAINTY_TENSORS, has_uncertainty, weights_sha256
from toolkit.nn.mlp import ScalarMLP
from toolkit.storage import write_text_atomic

HEADER = "uncertainty.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class LastLayerUncertainty:
    """The distribution of the last weights, as far as predictions need it.

    weight : name of the weights;  directions : (C, K) float64, d_k, in units of the weights
    forces_scale, energy_scale : α_F and α_E
    about : how it was fitted, for people
    """

    weight: str
    directions: Tensor
    forces_scale: float = 1.0
    energy_scale: float = 1.0
    about: dict[str, Any] = field(default_factory=dict)

    def to(self, device: torch.device) -> LastLayerUncertainty:
        """The same on another device."""
        return replace(self, directions=self.directions.to(device))

    def evaluate(self, model: AtomisticModel, graph: AtomicGraph) -> dict[str, Tensor]:
        """`energy_std` (S,), eV, and `forces_std` (N,), eV/Å: standard deviations, float64.

        That of a force is of one component, √(⅓ Σ_a var F_a): the same however the structure is turned.
        """
        energies, forces = readout_responses(model, graph, self.weight, self.directions)
        return {"energy_std": self.energy_scale * energies.square().sum(dim=1).sqrt(),
                "forces_std": self.forces_scale * forces.square().sum(dim=2).mean(dim=1).sqrt()}


def last_weight(model: AtomisticModel) -> str:
    """Name of the weights (C, 1) of the last layer. Raises ModelError for a model whose energy is not linear in any."""
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] == "readout" and isinstance(module, ScalarMLP):
            return f"{name}.weights.{len(module.weights) - 1}"
    raise ModelError(f"found a {type(model).__name__} without a linear last layer, the source of uncertainties",
                     "use a trained model")


def save_uncertainty(uncertainty: LastLayerUncertainty, folder: str | Path) -> None:
    """Write it beside the weights it belongs to. Raises StorageError."""
    folder = Path(folder)
    save_tensors({"directions": uncertainty.directions.cpu().contiguous()}, folder / UNCERTAINTY_TENSORS)
    header = {"format_version": FORMAT_VERSION, "weights_sha256": weights_sha256(folder),
              "weight": uncertainty.weight,
              "forces_scale": uncertainty.forces_scale, "energy_scale": uncertainty.energy_scale,
              "about": uncertainty.about}
    write_text_atomic(folder / HEADER, json.dumps(header, indent=2, ensure_ascii=False) + "\n")


def load_uncertainty(folder: str | Path, model: AtomisticModel) -> LastLayerUncertainty:
    """Read that of a model in a folder. Raises ModelError: absent, damaged, or fitted for other weights."""
    folder = Path(folder)
    if not has_uncertainty(folder):
        raise ModelError(f"found no {UNCERTAINTY_TENSORS} in {folder}", f"fit it: toolkit uncertainty fit {folder}")
    header, tensors = read_header(folder / HEADER), load_tensors(folder / UNCERTAINTY_TENSORS)
    if header.get("format_version") != FORMAT_VERSION:
        raise ModelError(f"{folder / HEADER} has format_version {header.get('format_version')!r}, this version reads "
                         f"{FORMAT_VERSION}", "fit it again, or update the toolkit")
    if header.get("weights_sha256") != weights_sha256(folder):
        raise ModelError(f"{folder / UNCERTAINTY_TENSORS} was fitted for other weights than those beside it",
                         f"fit it again: toolkit uncertainty fit {folder}")
    weight = last_weight(model)
    directions, scales = tensors.get("directions"), [header.get(name) for name in ("forces_scale", "energy_scale")]
    usable = (directions is not None and directions.dtype == torch.float64 and directions.ndim == 2
              and len(directions) == model.get_parameter(weight).numel() and bool(directions.isfinite().all())
              and all(isinstance(scale, int | float) and 0.0 < scale < float("inf") for scale in scales))
    if not usable or header.get("weight") != weight:
        raise ModelError(f"{folder / UNCERTAINTY_TENSORS} and {HEADER} do not fit the last layer {weight}",
                         "the files are damaged: fit it again")
    about = header.get("about")
    return LastLayerUncertainty(weight, directions, *map(float, scales), about if isinstance(about, dict) else {})
