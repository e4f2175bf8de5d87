"""The features inside an equivariant network, and how the Wigner matrices say they turn."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from ase import Atoms
from e3nn import o3
from torch import Tensor

from toolkit.checks.motions import Followed, Motion
from toolkit.checks.probe import rms
from toolkit.data.graph import AtomicGraph, edge_vectors
from toolkit.errors import ModelError
from toolkit.models.base import AtomisticModel, ModelOutput
from toolkit.models.potential import Potential
from toolkit.nn.angular import SphericalHarmonics

PREFERRED_DIRECTION = (1.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0)
"""Unit vector along which the broken network measures wrongly; no axis of the page's sliders."""

LEAST = 0.1
"""Of the RMS of all features of a stage: smaller ones, such as arrows at the centre of a tetrahedron, are told relative to it."""


@runtime_checkable
class ShowsFeatures(Protocol):
    """A model that lets one look inside, such as `models.nequip.NequIP`."""

    def layer_features(self, graph: AtomicGraph, vectors: Tensor) -> Iterator[tuple[o3.Irreps, list[Tensor]]]:
        """Irreps and features, one (N, 2l+1, C) per irrep, stage by stage."""


def hidden_features(potential: Potential, atoms: Atoms) -> list[dict[str, np.ndarray]]:
    """For the embedding and each layer: irrep, such as "1o", -> features, (N, 2l+1, C) float64.

    Raises ModelError for a model without layers of features.
    """
    graph = potential.graph(atoms)
    with torch.no_grad():
        stages = _inside(potential.model).layer_features(graph, edge_vectors(graph, graph.positions, graph.cell))
        return [{str(irrep): values.double().cpu().numpy() for (_, irrep), values in zip(irreps, features, strict=True)}
                for irreps, features in stages]


def follow_features(potential: Potential, atoms: Atoms, motion: Motion) -> list[dict[str, Followed]]:
    """The same stages before and after a motion, with the prediction h(Qx) = D(Q) h(x)."""
    order = motion.order(len(atoms))
    stages = []
    for before, after in zip(hidden_features(potential, atoms), hidden_features(potential, motion.apply(atoms)[order]),
                             strict=True):
        stage, least = {}, LEAST * rms(np.concatenate([values.ravel() for values in before.values()]))
        for irrep, values in before.items():
            found = np.empty_like(values)
            found[order] = after[irrep]
            stage[irrep] = Followed(values, wigner_matrix(irrep, motion.matrix) @ values, found, least)
        stages.append(stage)
    return stages


def wigner_matrix(irrep: str, matrix: np.ndarray) -> np.ndarray:
    """D(Q) of an irrep such as "2e", (2l+1, 2l+1), for an orthogonal Q, (3, 3).

    Defined by the harmonics themselves, Y_l(Qx) = D_l(Q) Y_l(x), solved on many directions x, so that it has their
    component order and all digits of float64 (through Euler angles seven are left). Harmonics have the parity (−1)^l;
    an irrep of the other parity changes sign when Q is improper.
    """
    degree, parity = o3.Irrep(irrep)
    directions = torch.as_tensor(np.random.default_rng(0).normal(size=(8 * (degree + 1), 3)))
    harmonics = SphericalHarmonics(degree)
    start, turned = (harmonics(x, torch.linalg.vector_norm(x, dim=1))[:, degree**2:].numpy()
                     for x in (directions, directions @ torch.as_tensor(matrix).T))
    sign = np.sign(np.linalg.det(matrix)) if parity != (-1) ** degree else 1.0
    return sign * np.linalg.lstsq(start, turned, rcond=None)[0].T


class DirectionDependent(AtomisticModel):
    """A model with a planted fault: it reads distances along one direction wrongly, r → r (1 + s n·r̂).

    Its forces are still exact derivatives of its energy, so nothing but a test of symmetry sees the fault.
    """

    def __init__(self, model: AtomisticModel, strength: float) -> None:
        super().__init__()
        self.model = model
        self.strength = strength
        self.r_max = model.r_max
        self.species = model.species

    def forward(self, graph: AtomicGraph, vectors: Tensor) -> ModelOutput:
        """What the model says about the distorted vectors (E, 3), Å."""
        return self.model(graph, self._distorted(vectors))

    def layer_features(self, graph: AtomicGraph, vectors: Tensor) -> Iterator[tuple[o3.Irreps, list[Tensor]]]:
        """The features of the model at the distorted vectors (E, 3), Å."""
        return _inside(self.model).layer_features(graph, self._distorted(vectors))

    def _distorted(self, vectors: Tensor) -> Tensor:
        cosines = torch.nn.functional.normalize(vectors, dim=1) @ vectors.new_tensor(PREFERRED_DIRECTION)
        return vectors * (1.0 + self.strength * cosines)[:, None]


def break_symmetry(potential: Potential, strength: float = 0.1) -> Potential:
    """A potential with the same weights whose answers depend on the direction it is looked at from."""
    broken = copy(potential)
    broken.model = DirectionDependent(potential.model, strength)
    return broken


def _inside(model: AtomisticModel) -> ShowsFeatures:
    for part in model.modules():  # the model itself first, then its parts
        if isinstance(part, ShowsFeatures):
            return part
    raise ModelError(f"{type(model).__name__} has no layers of equivariant features to look at",
                     "choose a NequIP model")
