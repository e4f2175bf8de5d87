"""One time step each, as pure functions of the state: velocity Verlet (constant energy) and BAOAB (Langevin).

The letters: B, a kick v ← v + τ F/m; A, a drift x ← x + τ v; O, an Ornstein–Uhlenbeck update of the velocities.
The initial state is made by `simulation.initial_state`; it already holds the forces at its positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from toolkit.md.state import MDState
from toolkit.units import KB_EV_PER_K

ForceFunction = Callable[[Tensor], tuple[Tensor, Tensor]]
"""positions (R, N, 3), Å -> potential energies (R,), eV, and forces (R, N, 3), eV/Å."""


def velocity_verlet_step(state: MDState, force_function: ForceFunction, timestep_fs: float) -> MDState:
    """B(½h) A(h) B(½h): constant energy, second order, time-reversible, symplectic.

    v ← v + ½h F(x)/m;  x ← x + h v;  v ← v + ½h F(x)/m
    Swope, Andersen, Berens & Wilson, J. Chem. Phys. 76, 637 (1982).
    """
    h = timestep_fs
    velocities = _kick(state.velocities, state.forces, state.masses, 0.5 * h)  # B
    positions = state.positions + h * velocities  # A
    energies, forces = force_function(positions)
    velocities = _kick(velocities, forces, state.masses, 0.5 * h)  # B
    return replace(state, positions=positions, velocities=velocities, forces=forces, potential_energies=energies)


def baoab_step(state: MDState, force_function: ForceFunction, timestep_fs: float, temperature_K: float,
               friction_per_fs: float) -> MDState:
    """B(½h) A(½h) O(h) A(½h) B(½h): Langevin dynamics at constant temperature.

    dx = v dt;  m dv = F dt − γ m v dt + √(2γ m kT) dW, split exactly into three parts, with
    O: v ← c v + √(1 − c²) √(kT/m) ξ,  c = exp(−γh),  ξ ~ N(0, 1).
    Positions are sampled to fourth order in h at high friction, and exactly in a harmonic well;
    velocities to second order. Leimkuhler & Matthews, Appl. Math. Res. Express 2013, 34 (2013).

    ======  ===================
    symbol  argument
    ======  ===================
    h       timestep_fs
    γ       friction_per_fs
    T       temperature_K
    ======  ===================
    """
    h = timestep_fs
    velocities = _kick(state.velocities, state.forces, state.masses, 0.5 * h)  # B
    positions = state.positions + 0.5 * h * velocities  # A
    velocities = _thermalise(state, velocities, h * friction_per_fs, temperature_K)  # O
    positions = positions + 0.5 * h * velocities  # A
    energies, forces = force_function(positions)
    velocities = _kick(velocities, forces, state.masses, 0.5 * h)  # B
    return replace(state, positions=positions, velocities=velocities, forces=forces, potential_energies=energies)


def _kick(velocities: Tensor, forces: Tensor, masses: Tensor, interval_fs: float) -> Tensor:
    return velocities + interval_fs * forces / masses


def _thermalise(state: MDState, velocities: Tensor, exponent: float, temperature_K: float) -> Tensor:
    decay = math.exp(-exponent)
    thermal_velocity = torch.sqrt(-math.expm1(-2.0 * exponent) * KB_EV_PER_K * temperature_K / state.masses)
    return decay * velocities + thermal_velocity * state.gaussian()
