"""Analytic pair potentials behind the same contract as the learned ones: references for every test, and toys.

E_i = ½ Σ_j V(r_ij) s(r_ij) with a switch s that is 1 up to `r_on` and falls to 0 at `r_max`, so that the energy, the
forces and the second derivative are continuous.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from toolkit.config import ModelConfig
from toolkit.data.graph import AtomicGraph
from toolkit.models.base import AtomisticModel, ModelOutput
from toolkit.models.potential import Potential


class PairPotential(AtomisticModel):
    """Sum over pairs; subclasses give V(r). Parameters are float64.

    species : elements it is applied to, all alike;  r_on, r_max : begin and end of the switch, Å
    """

    def __init__(self, species: tuple[str, ...], r_on: float, r_max: float) -> None:
        super().__init__()
        self.species = species
        self.r_on = r_on
        self.r_max = r_max

    @abstractmethod
    def pair_energy(self, lengths: Tensor) -> Tensor:
        """V(r) without the switch, (E,), eV, at distances (E,), Å."""

    def forward(self, graph: AtomicGraph, vectors: Tensor) -> ModelOutput:
        """Atomic energies, (N,) float64, eV. vectors : (E, 3), Å."""
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        energies = 0.5 * self.pair_energy(lengths) * smooth_switch(lengths, self.r_on, self.r_max)
        zeros = vectors.new_zeros(graph.num_atoms)
        return {"atomic_energies": zeros.index_add(0, graph.edge_index[0], energies)}


class LennardJones(PairPotential):
    """V(r) = 4ε[(σ/r)¹² − (σ/r)⁶] (Lennard-Jones, Proc. Phys. Soc. 43, 461 (1931)); ε eV, σ Å.

    The switch acts between 0.8 r_max and r_max.
    """

    def __init__(self, species: tuple[str, ...], epsilon: float, sigma: float, r_max: float) -> None:
        super().__init__(species, 0.8 * r_max, r_max)
        self.epsilon = torch.nn.Parameter(torch.tensor(epsilon, dtype=torch.float64))
        self.sigma = torch.nn.Parameter(torch.tensor(sigma, dtype=torch.float64))

    def pair_energy(self, lengths: Tensor) -> Tensor:
        """4ε[(σ/r)¹² − (σ/r)⁶], (E,), eV."""
        attraction = (self.sigma / lengths) ** 6
        return 4.0 * self.epsilon * (attraction**2 - attraction)


class HarmonicSprings(PairPotential):
    """V(r) = ½ k (r − r₀)² between all pairs within 0.8 r_max, so a diatomic vibrates with ω² = k/μ; k eV/Å², r₀ Å."""

    def __init__(self, species: tuple[str, ...], stiffness: float, length: float, r_max: float) -> None:
        super().__init__(species, 0.8 * r_max, r_max)
        self.stiffness = torch.nn.Parameter(torch.tensor(stiffness, dtype=torch.float64))
        self.length = torch.nn.Parameter(torch.tensor(length, dtype=torch.float64))

    def pair_energy(self, lengths: Tensor) -> Tensor:
        """½ k (r − r₀)², (E,), eV."""
        return 0.5 * self.stiffness * (lengths - self.length) ** 2


def smooth_switch(lengths: Tensor, r_on: float, r_max: float) -> Tensor:
    """1 below r_on, 0 beyond r_max, between them 1 − 10t³ + 15t⁴ − 6t⁵ with t = (r − r_on)/(r_max − r_on): C²."""
    t = ((lengths - r_on) / (r_max - r_on)).clamp(0.0, 1.0)
    return 1.0 - t**3 * (10.0 - 15.0 * t + 6.0 * t**2)


def pair_potential(model: PairPotential, device: str = "cpu") -> Potential:
    """The pair potential as a `Potential`, for MD, ASE and everything else that takes one."""
    config = ModelConfig(species=model.species, r_max=model.r_max)
    config = config.model_copy(update={"architecture": type(model).__name__})  # a name that no file may ask for
    return Potential(model, config, torch.device(device), "reference")
