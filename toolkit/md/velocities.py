"""The first velocities, and which motions carry heat in which ensemble."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from toolkit.units import KB_EV_PER_K


def maxwell_boltzmann(positions: Tensor, masses: Tensor, temperatures_K: Tensor, generator: torch.Generator) -> Tensor:
    """Velocities (R, N, 3), Å/fs, from N(0, kT/m) per component. positions : (R, N, 3);  masses : (N, 1);  T : (R,)."""
    noise = torch.randn(positions.shape, generator=generator, dtype=torch.float64, device=positions.device)
    return noise * torch.sqrt(KB_EV_PER_K * temperatures_K[:, None, None] / masses)


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


def _remove_turn_about_axis(velocities: Tensor, bend: Tensor, positions: Tensor, masses: Tensor) -> Tensor:
    """Of a linear molecule, velocities that would not turn it about its axis if it were bent along `bend`. (R, N, 3)."""
    axis = torch.linalg.svd(positions - positions.mean(dim=1, keepdim=True), full_matrices=False).Vh[:, :1]
    turn = torch.linalg.cross(axis.expand_as(bend), bend)
    share = (masses * velocities * turn).sum(dim=(1, 2)) / (masses * turn**2).sum(dim=(1, 2))
    return velocities - share[:, None, None] * turn


def _inertia(arms: Tensor, masses: Tensor) -> Tensor:
    """Inertia tensors Σ m (r² 1 − r rᵀ), (R, 3, 3)."""
    second_moments = torch.einsum("nz,rna,rnb->rab", masses, arms, arms)
    trace = torch.einsum("raa->r", second_moments)
    return trace[:, None, None] * torch.eye(3, dtype=arms.dtype, device=arms.device) - second_moments


def degrees_of_freedom(atoms: Atoms, ensemble: str) -> int:
    """Number of velocity components that carry kT/2 each.

    "langevin" thermostats everything, also the centre of mass and the rotation: 3N. All others start without total
    momentum and, when nothing is periodic, without angular momentum, and keep it so: 3N − 3, minus 3 rotations, of two
    atoms 2. A linear molecule of three or more is no exception: once it bends, its angular momentum about the axis, zero,
    ties the two halves of a degenerate bend together.
    One atom alone keeps its 3, since an outer field is then the only thing that can act on it.
    """
    n = len(atoms)
    if ensemble == "langevin" or n == 1:
        return 3 * n
    if atoms.pbc.any():
        return 3 * n - 3
    return 3 * n - (5 if n == 2 else 6)


def _is_linear(atoms: Atoms) -> bool:
    arms = atoms.positions - atoms.get_center_of_mass()
    extents = np.linalg.svd(arms, compute_uv=False)
    return bool(extents[1] < 1e-4 * extents[0])


def initial_velocities(atoms: Atoms, positions: Tensor, masses: Tensor, ensemble: str, temperatures_K: Tensor,
                       generator: torch.Generator) -> Tensor:
    """Maxwell–Boltzmann velocities (R, N, 3), Å/fs, independent for each replica and not rescaled.

    temperatures_K : (R,)
    Except for "langevin" the total momentum and, when nothing is periodic, the angular momentum are removed; the mean
    kinetic energy is then `degrees_of_freedom` · kT/2. Langevin noise acts on those motions too, so they stay.
    """
    velocities = maxwell_boltzmann(positions, masses, temperatures_K, generator)
    if ensemble == "langevin" or len(atoms) == 1:
        return velocities
    velocities = remove_translation(velocities, masses)
    if atoms.pbc.any():
        return velocities
    velocities = remove_rotation(velocities, positions, masses)
    if len(atoms) > 2 and _is_linear(atoms):
        bend = maxwell_boltzmann(positions, masses, torch.ones_like(temperatures_K), generator)  # its direction counts
        bend = remove_rotation(remove_translation(bend, masses), positions, masses)
        return _remove_turn_about_axis(velocities, bend, positions, masses)
    return velocities


def rescale_to(velocities: Tensor, masses: Tensor, dof: int, temperatures_K: Tensor) -> Tensor:
    """The same velocities with a kinetic energy of exactly dof · kT/2; at rest they stay at rest. (R, N, 3), Å/fs."""
    kinetic = 0.5 * (masses * velocities**2).sum(dim=(1, 2))
    wanted = 0.5 * dof * KB_EV_PER_K * temperatures_K
    factor = torch.where(kinetic > 0.0, wanted / kinetic, torch.zeros_like(kinetic)).sqrt()
    return factor[:, None, None] * velocities
