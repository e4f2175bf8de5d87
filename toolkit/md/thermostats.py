"""Three thermostats: what each does to the velocities in the middle of a time step. Pure functions of the state.

kT may differ between replicas and change with the step (`MDState.thermal_energies`). What the atoms lose the bath
gains, so that `MDState.conserved_energies` measures the error of the integration in every ensemble.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from toolkit.md.integrators import change_velocities, scale_velocities
from toolkit.md.state import MDState

SUZUKI_YOSHIDA = (1.0 / (2.0 - 2.0 ** (1.0 / 3.0)), -(2.0 ** (1.0 / 3.0)) / (2.0 - 2.0 ** (1.0 / 3.0)),
                  1.0 / (2.0 - 2.0 ** (1.0 / 3.0)))
"""Weights of the fourth-order composition of three second-order steps (Yoshida, Phys. Lett. A 150, 262 (1990))."""
SMALLEST_KINETIC_EV = 1e-30
"""Keeps the rescaling of atoms at rest finite; they stay at rest."""


def langevin(state: MDState, timestep_fs: float, friction_per_fs: float) -> MDState:
    """O: v ← c v + √(1 − c²) √(kT/m) ξ with c = exp(−γh), ξ ~ N(0, 1).

    The exact solution of m dv = −γ m v dt + √(2γ m kT) dW. Every velocity component has its own noise.
    """
    exponent = timestep_fs * friction_per_fs
    noise = state.gaussian(*state.positions.shape[1:])
    spread = torch.sqrt(-math.expm1(-2.0 * exponent) * state.thermal_energies[:, None, None] * state.inverse_masses)
    return change_velocities(state, math.exp(-exponent) * state.velocities + spread * noise)


def stochastic_rescaling(state: MDState, timestep_fs: float, relaxation_fs: float) -> MDState:
    """CSVR: v ← α v so that the kinetic energy K follows its exact canonical dynamics with relaxation time τ.

    α² = c + (1 − c) (R₁² + Σ_{i=2}^{N_f} R_i²) kT/2K + 2 R₁ √(c (1 − c) kT/2K),  c = exp(−h/τ),  R_i ~ N(0, 1)
    α has the sign of R₁ + √(2K c/((1 − c) kT)). Bussi, Donadio & Parrinello, J. Chem. Phys. 126, 014101 (2007), eqs. A7
    and A8. Directions and relative speeds are left alone, so the dynamics is disturbed least.
    """
    c = math.exp(-timestep_fs / relaxation_fs)
    noise = state.gaussian(*state.positions.shape[1:]).flatten(start_dim=1)
    counted = torch.arange(noise.shape[1], device=noise.device) < state.degrees_of_freedom[:, None]
    squares = (noise**2 * counted).sum(dim=1)
    ratio = state.thermal_energies / (2.0 * state.kinetic_energies.clamp_min(SMALLEST_KINETIC_EV))
    first = noise[:, 0]
    scale2 = c + (1.0 - c) * ratio * squares + 2.0 * first * torch.sqrt(c * (1.0 - c) * ratio)
    sign = torch.where(first + torch.sqrt(c / ((1.0 - c) * ratio)) < 0.0, -1.0, 1.0)
    return scale_velocities(state, sign * scale2.clamp_min(0.0).sqrt())


def nose_hoover_chain(state: MDState, timestep_fs: float, relaxation_fs: float) -> MDState:
    """A chain of M thermostats, the first on all velocities, each other on its predecessor. Deterministic.

    dv/dt = −ζ₁ v;  Q₁ dζ₁/dt = 2K − N_f kT − Q₁ ζ₁ ζ₂;  Q_j dζ_j/dt = Q_{j−1} ζ²_{j−1} − kT − Q_j ζ_j ζ_{j+1}
    Q₁ = N_f kT τ², Q_j = kT τ². The bath holds Σ ½ Q_j ζ_j² + ∫ kT (N_f ζ₁ + Σ_{j>1} ζ_j) dt.
    Martyna, Klein & Tuckerman, J. Chem. Phys. 97, 2635 (1992); integrated as in Martyna, Tuckerman, Tobias & Klein,
    Mol. Phys. 87, 1117 (1996), with Suzuki–Yoshida weights.
    """
    thermal = state.thermal_energies
    size = state.chain_velocities.shape[1]
    loads = [state.degrees_of_freedom * thermal] + [thermal] * (size - 1)  # N_f kT, kT, kT, …
    masses = [load * relaxation_fs**2 for load in loads]
    start = list(state.chain_velocities.unbind(dim=1))
    chain, doubled_kinetic, work = start, 2.0 * state.kinetic_energies, torch.zeros_like(thermal)
    factor = torch.ones_like(thermal)
    for weight in SUZUKI_YOSHIDA:
        h = weight * timestep_fs
        chain = _push_chain(chain, masses, loads, doubled_kinetic, h, from_end=True)
        decay = torch.exp(-h * chain[0])
        factor, doubled_kinetic = factor * decay, doubled_kinetic * decay**2
        work = work + h * sum(load * zeta for load, zeta in zip(loads, chain, strict=True))
        chain = _push_chain(chain, masses, loads, doubled_kinetic, h, from_end=False)
    gained = sum(0.5 * q * (new**2 - old**2) for q, new, old in zip(masses, chain, start, strict=True))
    return replace(state, velocities=factor[:, None, None] * state.velocities,
                   chain_velocities=torch.stack(chain, dim=1), bath_energies=state.bath_energies + gained + work)


def _push_chain(chain: list[Tensor], masses: list[Tensor], loads: list[Tensor], doubled_kinetic: Tensor, h: float, *,
                from_end: bool) -> list[Tensor]:
    """Half a step of all chain velocities: each is damped by its successor (¼h), pushed (½h) and damped again (¼h)."""
    chain = list(chain)
    last = len(chain) - 1
    for j in reversed(range(len(chain))) if from_end else range(len(chain)):
        damping = torch.exp(-0.25 * h * chain[j + 1]) if j < last else 1.0
        drive = doubled_kinetic if j == 0 else masses[j - 1] * chain[j - 1] ** 2
        push = 0.5 * h * (drive - loads[j]) / masses[j]
        chain[j] = (chain[j] * damping + push) * damping
    return chain
