"""Constant pressure for crystals: stochastic cell rescaling, isotropic or of all six strain components."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from toolkit.md.integrators import ForceFunction, change_velocities, matrix_exponential
from toolkit.md.state import MDState
from toolkit.units import EV_PER_A3_GPA

PROBE_STRAIN = 0.002
"""Linear strain at which the bulk modulus is measured."""
MIN_BULK_MODULUS = 1.0 / EV_PER_A3_GPA
"""1 GPa: no crystal is much softer, and a structure far from its minimum may seem to be."""


def rescale_cell(state: MDState, timestep_fs: float, pressure: float, relaxation_fs: float,
                 isotropic: bool) -> tuple[MDState, Tensor]:
    """C: h ← h e^ε, x ← x e^ε, v ← v e^−ε with the symmetric strain of one time step

    ε = μ (P − P₀ 1) + √(2 μ kT/V) Ξ,  μ = h/(3 τ B),  P = (Σ m v vᵀ)/V − σ,  Ξ = (G + Gᵀ)/2,  G_ab ~ N(0, 1)

    which samples exp(−(E + P₀V)/kT) at constant pressure P₀. B only sets the pace, so that the volume relaxes within τ.
    Isotropic: the trace of ε alone, equal to Bernetti & Bussi, J. Chem. Phys. 153, 114107 (2020), in Itô form; else
    all of it: Del Tatto, Raiteri, Bernetti & Bussi, Appl. Sci. 12, 1139 (2022), with symmetric noise, so that no step
    turns the cell. With the noise in the exponent there is no other drift: the kT/V of the measure and the derivative
    of the noise's own strength cancel.

    pressure : P₀, eV/Å³
    Returns the deformed state and ε (R, 3, 3).
    """
    identity = torch.eye(3, dtype=torch.float64, device=state.cell.device)
    volumes = state.volumes[:, None, None]
    flux = torch.einsum("rnz,rna,rnb->rab", state.masses, state.velocities, state.velocities) / volumes
    mobility = (timestep_fs / (3.0 * relaxation_fs) / state.bulk_modulus)[:, None, None]
    noise = state.gaussian(3, 3)
    spread = torch.sqrt(2.0 * mobility * state.thermal_energies[:, None, None] / volumes)
    strain = mobility * (flux - state.stress - pressure * identity) + 0.5 * spread * (noise + noise.transpose(1, 2))
    if isotropic:
        strain = strain.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None] * identity
    stretch = matrix_exponential(strain)
    deformed = replace(state, cell=state.cell @ stretch, positions=state.positions @ stretch)
    return change_velocities(deformed, state.velocities @ matrix_exponential(-strain)), strain


def bulk_modulus(positions: Tensor, cell: Tensor, force_function: ForceFunction) -> Tensor:
    """−V dP/dV of the clamped structure by central difference, at least 1 GPa, (R,), eV/Å³.

    positions : (R, N, 3);  cell : (R, 3, 3)
    """
    pressures = []
    for stretch in (1.0 - PROBE_STRAIN, 1.0 + PROBE_STRAIN):
        stress = force_function(stretch * positions, stretch * cell)[2]
        pressures.append(-stress.diagonal(dim1=1, dim2=2).mean(dim=1))
    return ((pressures[0] - pressures[1]) / (6.0 * PROBE_STRAIN)).clamp_min(MIN_BULK_MODULUS)
