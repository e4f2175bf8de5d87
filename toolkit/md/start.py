"""The state in which a run begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from toolkit.config import MDConfig
from toolkit.errors import DataError
from toolkit.md.barostat import bulk_modulus
from toolkit.md.forces import ForceField
from toolkit.md.integrators import ForceFunction, update_forces
from toolkit.md.state import MDState, inertial_masses, pad_atoms
from toolkit.md.velocities import degrees_of_freedom, initial_velocities, rescale_to
from toolkit.units import EV_PER_A3_GPA


def initial_state(pot: ForceField, systems: Sequence[Atoms], config: MDConfig,
                  force_function: ForceFunction, inner_function: ForceFunction | None = None) -> MDState:
    """All replicas at the positions of their system, each with its own Maxwell–Boltzmann velocities.

    Replica k of system s is number s · config.replicas + k.
    inner_function : the forces of the inner steps, when there are any
    Raises DataError when a potential has no finite energy there.
    """
    generator = torch.Generator(pot.device).manual_seed(config.seed)
    state = _at_rest(systems, config, generator, pot.device)
    state = update_forces(state, force_function)
    if inner_function is not None:
        state = replace(state, inner_forces=inner_function(state.positions, state.cell)[1])
    if not all(bool(torch.isfinite(found).all())
               for found in (state.potential_energies, state.forces, state.inner_forces)):
        raise DataError("found an energy or force that is not finite at the starting structure",
                        "look at the structure: atoms on top of each other, or a damaged model")
    velocities = pad_atoms([_first_velocities(atoms, config, generator, pot.device) for atoms in systems])
    state = replace(state, velocities=velocities)
    if config.ensemble != "npt":
        return state
    if config.bulk_modulus_GPa is None:
        stiffness = bulk_modulus(state.positions, state.cell, force_function)
    else:
        stiffness = torch.full_like(state.bulk_modulus, config.bulk_modulus_GPa / EV_PER_A3_GPA)
    return replace(state, bulk_modulus=stiffness)


def _at_rest(systems: Sequence[Atoms], config: MDConfig, generator: torch.Generator, device: torch.device) -> MDState:
    """Positions and constants of every replica; velocities, forces and energies are zero."""
    def tensor(values: np.ndarray | Sequence[float]) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.float64, device=device)

    rows = config.replicas * len(systems)
    positions = pad_atoms([tensor(atoms.positions).repeat(config.replicas, 1, 1) for atoms in systems])
    masses = pad_atoms([inertial_masses(atoms, device).repeat(config.replicas, 1, 1) for atoms in systems])
    dof = [degrees_of_freedom(atoms, config.ensemble) for atoms in systems]
    zeros = torch.zeros(rows, dtype=torch.float64, device=device)
    chain = config.chain_length if config.ensemble == "nose-hoover" else 0
    return MDState(
        positions=positions, velocities=torch.zeros_like(positions), forces=torch.zeros_like(positions),
        inner_forces=positions.new_zeros(rows, 0, 3), potential_energies=zeros, stress=zeros.new_zeros(rows, 3, 3),
        cell=tensor([atoms.cell.array for atoms in systems]).repeat_interleave(config.replicas, dim=0),
        chain_velocities=zeros.new_zeros(rows, chain), bath_energies=zeros,
        step=torch.zeros((), dtype=torch.int64, device=device),
        masses=masses, inverse_masses=torch.where(masses > 0.0, 1.0 / masses, 0.0),
        degrees_of_freedom=tensor(dof).repeat_interleave(config.replicas), bulk_modulus=zeros,
        start_K=tensor(config.start_temperatures_K).repeat(len(systems)),
        heating_K=torch.full_like(zeros, config.heating_K_per_step),
        replica_ids=torch.arange(rows, device=device), num_replicas=rows, generator=generator)


def _first_velocities(atoms: Atoms, config: MDConfig, generator: torch.Generator, device: torch.device) -> Tensor:
    """Velocities (R, N, 3), Å/fs, of the replicas of one system."""
    masses = inertial_masses(atoms, device)
    positions = torch.as_tensor(atoms.positions, dtype=torch.float64, device=device).repeat(config.replicas, 1, 1)
    temperatures = torch.as_tensor(config.first_temperatures_K, dtype=torch.float64, device=device)
    velocities = initial_velocities(atoms, positions, masses, config.ensemble, temperatures, generator)
    if not config.rescale_initial_temperature:
        return velocities
    return rescale_to(velocities, masses, degrees_of_freedom(atoms, config.ensemble), temperatures)
