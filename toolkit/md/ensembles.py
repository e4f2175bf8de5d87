"""The time step of a configuration: which integrator, thermostat and barostat, and who watches over inner steps."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from toolkit.config import MDConfig
from toolkit.md.barostat import rescale_cell
from toolkit.md.forces import ReplicaForces
from toolkit.md.integrators import (ForceFunction, Step, middle_step, npt_step, respa_step, short_steps,
                                     velocity_verlet_step)
from toolkit.md.state import MDState
from toolkit.md.thermostats import langevin, nose_hoover_chain, stochastic_rescaling
from toolkit.units import EV_PER_A3_GPA


def make_step(config: MDConfig, force_function: ForceFunction, inner_function: ForceFunction | None = None) -> Step:
    """The time step of the ensemble, as a function of the state alone; with an inner function, in inner steps."""
    h, n = config.timestep_fs, config.inner_steps
    if inner_function is None:
        return _ensemble_step(config, force_function, h)
    return partial(respa_step, force_function=force_function, inner_step=_ensemble_step(config, inner_function, h / n),
                   timestep_fs=h, inner_steps=n)


class InnerWatch:
    """Makes a step again, in steps as short as the inner ones but by the accurate potential, where the inner one strays.

    A cheap potential may have holes that the accurate one has not. Once it is in one, a correction that comes too late and
    too strong breaks the molecule: seen with 8 fs, once in 6 ns of ethanol. Only the replicas that strayed make such a step
    again, with the noise of before; the path of the others does not depend on them.
    forces : of the accurate potential, with those of the inner one as `forces.inner`
    """

    def __init__(self, config: MDConfig, forces: ReplicaForces) -> None:
        self.steps_alone = 0
        self._config = config
        self._forces = forces
        self._step = make_step(config, forces, forces.inner)
        self._part, self._part_ids = forces, [-1]

    def strayed(self, state: MDState) -> Tensor:
        """Replicas with an atom on which the two forces differ by more than the tolerance, (R,) bool; on the device."""
        if self._config.inner_tolerance_eV_per_A is None:
            return torch.zeros_like(state.replica_ids, dtype=torch.bool)
        difference = torch.linalg.vector_norm(state.forces - state.inner_forces, dim=2).amax(dim=1)
        return ~(difference <= self._config.inner_tolerance_eV_per_A)  # what is not a number has strayed

    def __call__(self, state: MDState) -> MDState:
        """One step with inner steps; without them for the replicas that have strayed at its start or end."""
        noise, strayed = state.generator.get_state(), self.strayed(state)
        if bool(strayed.all()):
            return self._alone(state, strayed)
        after = self._step(state)
        strayed = strayed | self.strayed(after)
        if not bool(strayed.any()):
            return after
        state.generator.set_state(noise)
        return after.with_replicas(strayed, self._alone(state, strayed))

    def _alone(self, state: MDState, strayed: Tensor) -> MDState:
        """The step of the replicas where `strayed` (R,) is true, by the accurate potential alone."""
        state, forces = state.select(strayed), self._forces_of(state, strayed)
        n = self._config.inner_steps
        after = short_steps(state, _ensemble_step(self._config, forces, self._config.timestep_fs / n), n)
        self.steps_alone += len(state.replica_ids)
        return replace(after, inner_forces=forces.inner(after.positions, after.cell)[1], step=state.step + 1)

    def _forces_of(self, state: MDState, strayed: Tensor) -> ReplicaForces:
        """The forces of some replicas; those of the step before when they are the same."""
        ids = state.replica_ids[strayed].tolist()
        if ids != self._part_ids:
            self._part, self._part_ids = self._forces.only(strayed), ids
        return self._part


def _ensemble_step(config: MDConfig, force_function: ForceFunction, h: float) -> Step:
    """One step of h fs with one potential."""
    if config.ensemble == "nve":
        return partial(velocity_verlet_step, force_function=force_function, timestep_fs=h)
    thermostat: Step = {
        "langevin": partial(langevin, timestep_fs=h, friction_per_fs=config.friction_per_fs),
        "nose-hoover": partial(nose_hoover_chain, timestep_fs=h, relaxation_fs=config.thermostat_fs),
    }.get(config.ensemble, partial(stochastic_rescaling, timestep_fs=h, relaxation_fs=config.thermostat_fs))
    if config.ensemble != "npt":
        return partial(middle_step, force_function=force_function, timestep_fs=h, thermostat=thermostat)
    barostat = partial(rescale_cell, timestep_fs=h, pressure=config.pressure_GPa / EV_PER_A3_GPA,
                       relaxation_fs=config.barostat_fs, isotropic=config.cell_change == "isotropic")
    return partial(npt_step, force_function=force_function, timestep_fs=h, thermostat=thermostat, barostat=barostat)
