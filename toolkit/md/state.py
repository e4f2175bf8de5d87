"""What a simulation is at one instant: R replicas of one system of N atoms, as tensors on the model's device.

Masses are held in eV·fs²/Å², so that a = F/m is in Å/fs² and ½mv² in eV without any further factor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from toolkit.units import AMU_A2_PER_FS2_EV, KB_EV_PER_K


@dataclass(frozen=True)
class MDState:
    """The replicas still running. Frozen: a step returns a new state (only the generator advances in place).

    positions : (R, N, 3), Å, never wrapped into the cell;  velocities : (R, N, 3), Å/fs;  forces : (R, N, 3), eV/Å
    potential_energies : (R,), eV;  masses : (N, 1), eV·fs²/Å²;  all float64
    replica_ids : (R,) int64, ascending, which of the run's `num_replicas` these are
    generator : source of the thermal noise; same seed, same path
    """

    positions: Tensor
    velocities: Tensor
    forces: Tensor
    potential_energies: Tensor
    masses: Tensor
    replica_ids: Tensor
    num_replicas: int
    generator: torch.Generator

    @property
    def kinetic_energies(self) -> Tensor:
        """½ Σ m v² of each replica, (R,), eV."""
        return 0.5 * (self.masses * self.velocities**2).sum(dim=(1, 2))

    def select(self, kept: Tensor) -> MDState:
        """Only the replicas where `kept` (R,) bool is true; the others are retired."""
        return replace(self, positions=self.positions[kept], velocities=self.velocities[kept], forces=self.forces[kept],
                       potential_energies=self.potential_energies[kept], replica_ids=self.replica_ids[kept])

    def gaussian(self) -> Tensor:
        """Standard normal numbers (R, N, 3), drawn for retired replicas too, so that nobody's noise depends on them."""
        shape = (self.num_replicas, *self.positions.shape[1:])
        noise = torch.randn(shape, generator=self.generator, dtype=torch.float64, device=self.positions.device)
        return noise if len(self.replica_ids) == self.num_replicas else noise[self.replica_ids]


def inertial_masses(atoms: Atoms, device: torch.device) -> Tensor:
    """Masses of the atoms, (N, 1), eV·fs²/Å²."""
    return torch.as_tensor(atoms.get_masses()[:, None] * AMU_A2_PER_FS2_EV, dtype=torch.float64, device=device)


def maxwell_boltzmann(positions: Tensor, masses: Tensor, temperature_K: float, generator: torch.Generator) -> Tensor:
    """Velocities (R, N, 3), Å/fs, from N(0, kT/m) per component. positions : (R, N, 3);  masses : (N, 1)."""
    noise = torch.randn(positions.shape, generator=generator, dtype=torch.float64, device=positions.device)
    return noise * torch.sqrt(KB_EV_PER_K * temperature_K / masses)


def remove_translation(velocities: Tensor, masses: Tensor) -> Tensor:
    """The same velocities without the momentum of the centre of mass. (R, N, 3), Å/fs."""
    return velocities - (masses * velocities).sum(dim=1, keepdim=True) / masses.sum()


def remove_rotation(velocities: Tensor, positions: Tensor, masses: Tensor) -> Tensor:
    """The same velocities without angular momentum about the centre of mass: v − ω × r with I ω = L. (R, N, 3), Å/fs.

    The pseudo-inverse of the inertia tensor leaves the axis of a linear molecule alone.
    """
    arms = positions - (masses * positions).sum(dim=1, keepdim=True) / masses.sum()
    angular_momentum = (masses * torch.linalg.cross(arms, velocities)).sum(dim=1)
    inverse_inertia = torch.linalg.pinv(_inertia(arms, masses), rtol=1e-8, hermitian=True)
    omega = torch.einsum("rab,rb->ra", inverse_inertia, angular_momentum)
    return velocities - torch.linalg.cross(omega[:, None, :].expand_as(arms), arms)


def _inertia(arms: Tensor, masses: Tensor) -> Tensor:
    """Inertia tensors Σ m (r² 1 − r rᵀ), (R, 3, 3)."""
    second_moments = torch.einsum("nz,rna,rnb->rab", masses, arms, arms)
    trace = torch.einsum("raa->r", second_moments)
    return trace[:, None, None] * torch.eye(3, dtype=arms.dtype, device=arms.device) - second_moments


def degrees_of_freedom(atoms: Atoms, ensemble: str) -> int:
    """Number of velocity components that carry kT/2 each.

    "langevin" thermostats everything, also the centre of mass and the rotation: 3N. "nve" starts without total
    momentum and, when nothing is periodic, without angular momentum: 3N − 3, minus 3 rotations (2 when linear). One
    atom alone keeps its 3, since an outer field is then the only thing that can act on it.
    """
    n = len(atoms)
    if ensemble != "nve" or n == 1:
        return 3 * n
    return 3 * n - 3 - (0 if atoms.pbc.any() else _num_rotations(atoms))


def _num_rotations(atoms: Atoms) -> int:
    arms = atoms.positions - atoms.get_center_of_mass()
    extents = np.linalg.svd(arms, compute_uv=False)
    return 2 if extents[1] < 1e-4 * extents[0] else 3


def initial_velocities(atoms: Atoms, positions: Tensor, masses: Tensor, ensemble: str, temperature_K: float,
                       generator: torch.Generator) -> Tensor:
    """Maxwell–Boltzmann velocities (R, N, 3), Å/fs, independent for each replica and not rescaled.

    In "nve" the total momentum and, when nothing is periodic, the angular momentum are removed; the mean kinetic energy
    is then `degrees_of_freedom` · kT/2. Langevin noise acts on those motions too, so they stay.
    """
    velocities = maxwell_boltzmann(positions, masses, temperature_K, generator)
    if ensemble != "nve" or len(atoms) == 1:
        return velocities
    velocities = remove_translation(velocities, masses)
    return velocities if atoms.pbc.any() else remove_rotation(velocities, positions, masses)
