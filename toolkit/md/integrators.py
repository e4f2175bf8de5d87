"""One time step each, as pure functions of the state: no number is looked at by the host, so a step can be recorded.

The letters: B, a kick v ← v + τ F/m; A, a drift x ← x + τ v; T, a thermostat (`thermostats`) acting for a whole step; C, a
barostat (`barostat`) that deforms the cell. Constant energy is BAB (velocity Verlet). A thermostat sits in the middle,
BA T AB, whichever it is: there it samples positions best (Zhang, Liu, Chen, Zheng, Yan & Liu, J. Chem. Phys. 147, 034109
(2017)). With Langevin noise as T this is BAOAB (Leimkuhler & Matthews, Appl. Math. Res. Express 2013, 34 (2013)), whose
positions are exact in a harmonic well and of fourth order at high friction; velocities are of second order.

Two potentials share the work in `respa_step`: a cheap one, close to that which is meant, makes several such steps
between two kicks by the difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from toolkit.md.state import MDState

ForceFunction = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""positions (R, N, 3) and cells (R, 3, 3), Å -> potential energies (R,), eV, forces (R, N, 3), eV/Å, and stresses
(R, 3, 3), eV/Å³, zero unless they are needed."""
Step = Callable[[MDState], MDState]
Barostat = Callable[[MDState], tuple[MDState, Tensor]]
"""State -> the deformed state, and the strain (R, 3, 3) that was applied."""


def velocity_verlet_step(state: MDState, force_function: ForceFunction, timestep_fs: float) -> MDState:
    """B(½h) A(h) B(½h): constant energy, second order, time-reversible, symplectic.

    v ← v + ½h F(x)/m;  x ← x + h v;  v ← v + ½h F(x)/m
    Swope, Andersen, Berens & Wilson, J. Chem. Phys. 76, 637 (1982).
    """
    h = timestep_fs
    state = kick(state, 0.5 * h)
    state = drift(state, h)
    state = update_forces(state, force_function)
    state = kick(state, 0.5 * h)
    return replace(state, step=state.step + 1)


def middle_step(state: MDState, force_function: ForceFunction, timestep_fs: float, thermostat: Step) -> MDState:
    """B(½h) A(½h) T(h) A(½h) B(½h): constant temperature."""
    h = timestep_fs
    state = kick(state, 0.5 * h)
    state = drift(state, 0.5 * h)
    state = thermostat(state)
    state = drift(state, 0.5 * h)
    state = update_forces(state, force_function)
    state = kick(state, 0.5 * h)
    return replace(state, step=state.step + 1)


def npt_step(state: MDState, force_function: ForceFunction, timestep_fs: float, thermostat: Step,
             barostat: Barostat) -> MDState:
    """B(½h) A(½h) T(h) C(h) A(½h) B(½h): constant temperature and pressure.

    The work done on the atoms by a strain ε, V σ : ε, is booked as the mean of its values with the stress before and
    after the step, so that the conserved energy is of second order and a wrong stress shows as its drift.
    """
    h = timestep_fs
    virial_before = state.volumes[:, None, None] * state.stress
    state = kick(state, 0.5 * h)
    state = drift(state, 0.5 * h)
    state, strain = barostat(thermostat(state))
    state = drift(state, 0.5 * h)
    state = update_forces(state, force_function)
    state = kick(state, 0.5 * h)
    virial = 0.5 * (virial_before + state.volumes[:, None, None] * state.stress)
    work = (virial * strain).sum(dim=(1, 2))
    return replace(state, bath_energies=state.bath_energies - work, step=state.step + 1)


def respa_step(state: MDState, force_function: ForceFunction, inner_step: Step, timestep_fs: float,
               inner_steps: int) -> MDState:
    """D(½h) [a step of length h/n with the inner potential]ⁿ D(½h): many cheap steps for one with the forces F.

    D, a kick by what the inner potential lacks: v ← v + τ (F − F_inner)/m. The inner step is any of the above.
    Symmetric, so of second order in h; its error grows with the difference between the two potentials, and it resonates
    with a vibration of period T when h comes near ½T, the less the closer they are and the more friction there is.
    r-RESPA: Tuckerman, Berne & Martyna, J. Chem. Phys. 97, 1990 (1992). With the thermostat in the inner steps it is
    XI-RESPA (Martyna, Tuckerman, Tobias & Klein, Mol. Phys. 87, 1117 (1996)).
    """
    h = timestep_fs
    state = kick(state, 0.5 * h, state.forces - state.inner_forces)
    inner = short_steps(replace(state, forces=state.inner_forces), inner_step, inner_steps)
    state = update_forces(replace(inner, inner_forces=inner.forces), force_function)
    state = kick(state, 0.5 * h, state.forces - state.inner_forces)
    return replace(state, step=state.step + 1)


def short_steps(state: MDState, step: Step, number: int) -> MDState:
    """So many steps that together count as a part of one: `state.step`, and with it a ramp's target, stays."""
    after = state
    for _ in range(number):
        after = replace(step(after), step=state.step)
    return after


def kick(state: MDState, interval_fs: float, forces: Tensor | None = None) -> MDState:
    """B: the velocities change by the forces, those of the state unless others are given."""
    forces = state.forces if forces is None else forces
    return replace(state, velocities=state.velocities + interval_fs * forces * state.inverse_masses)


def drift(state: MDState, interval_fs: float) -> MDState:
    """A: the positions move on with the velocities."""
    return replace(state, positions=state.positions + interval_fs * state.velocities)


def update_forces(state: MDState, force_function: ForceFunction) -> MDState:
    """Energies, forces and stresses at the present positions."""
    energies, forces, stress = force_function(state.positions, state.cell)
    return replace(state, potential_energies=energies, forces=forces, stress=stress)


def change_velocities(state: MDState, velocities: Tensor) -> MDState:
    """Velocities given by a bath, which pays for the change of kinetic energy ½ Σ m (v' − v)(v' + v)."""
    difference = velocities - state.velocities
    heat = 0.5 * (state.masses * difference * (velocities + state.velocities)).sum(dim=(1, 2))
    return replace(state, velocities=velocities, bath_energies=state.bath_energies - heat)


def scale_velocities(state: MDState, factors: Tensor) -> MDState:
    """All velocities of a replica times one factor, (R,), paid for by a bath."""
    return change_velocities(state, factors[:, None, None] * state.velocities)


def matrix_exponential(strain: Tensor) -> Tensor:
    """exp(ε) of small matrices (R, 3, 3) by its series to fourth order; torch's own waits for the host."""
    identity = torch.eye(3, dtype=strain.dtype, device=strain.device)
    result = identity
    for order in (4.0, 3.0, 2.0, 1.0):
        result = identity + strain @ result / order
    return result
