"""Running molecular dynamics: integrators step, guards judge, a writer keeps; here is the loop that joins them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from toolkit.config import MDConfig
from toolkit.errors import ConfigError, DataError
from toolkit.md.forces import ForceField, ReplicaForces
from toolkit.md.guards import Guards
from toolkit.md.integrators import ForceFunction, baoab_step, velocity_verlet_step
from toolkit.md.pace import Pace
from toolkit.md.restart import RestartPoint, load_restart, restart_path
from toolkit.md.state import MDState, degrees_of_freedom, inertial_masses, initial_velocities
from toolkit.md.trajectory import Trajectory
from toolkit.md.trajectory_writer import TrajectoryWriter, create_in_memory, create_on_disk, reopen
from toolkit.progress import Reporter, SilentReporter

Step = Callable[[MDState], MDState]


def simulate(pot: ForceField, atoms: Atoms, config: MDConfig, path: str | Path | None = None, *, resume: bool = False,
             reporter: Reporter | None = None) -> Trajectory:
    """Run R replicas of `atoms` and return their trajectory, which carries its own time step and save interval.

    pot : a Potential, or anything that fulfils `forces.ForceField`
    path : HDF5 file to write; None keeps the trajectory in memory
    resume : continue the run in `path` from its last commit, bit for bit (CPU), or start it when there is none yet.
        More `steps` than before extend a run; all else must be as it was.
    reporter : hears progress, and may ask to stop: then everything is saved and `Trajectory.stopped` is True

    A replica that breaks (see `guards`) is retired and the others go on; `Trajectory.breaks` tells when and why.
    Raises DataError (structure, species), ConfigError (file of another run), StorageError (what was committed stays).
    """
    _check_structure(pot, atoms)
    forces = ReplicaForces(pot, atoms, config.skin)
    writer, point = _begin(pot, atoms, config, forces, None if path is None else Path(path), resume)
    try:
        hottest = max(config.temperature_K, config.initial_temperature_K or 0.0)
        guards = Guards(atoms, degrees_of_freedom(atoms, config.ensemble), hottest, pot.device)
        _run(point, make_step(config, forces), guards, writer, Pace(config, point.step, writer.wall_s,
                                                                    reporter or SilentReporter()))
    finally:
        writer.close()
    return Trajectory(writer.file if path is None else path)


def initial_state(pot: ForceField, atoms: Atoms, config: MDConfig, force_function: ForceFunction) -> MDState:
    """All replicas at the positions of `atoms`, each with its own Maxwell–Boltzmann velocities.

    Raises DataError when the potential has no finite energy there.
    """
    generator = torch.Generator(pot.device).manual_seed(config.seed)
    masses = inertial_masses(atoms, pot.device)
    positions = torch.as_tensor(atoms.positions, dtype=torch.float64, device=pot.device).repeat(config.replicas, 1, 1)
    temperature = config.temperature_K if config.initial_temperature_K is None else config.initial_temperature_K
    velocities = initial_velocities(atoms, positions, masses, config.ensemble, temperature, generator)
    energies, forces = force_function(positions)
    if not bool(torch.isfinite(energies).all() and torch.isfinite(forces).all()):
        raise DataError("found an energy or force that is not finite at the starting structure",
                        "look at the structure: atoms on top of each other, or a damaged model")
    ids = torch.arange(config.replicas, device=pot.device)
    return MDState(positions, velocities, forces, energies, masses, ids, config.replicas, generator)


def make_step(config: MDConfig, force_function: ForceFunction) -> Step:
    """The time step of the ensemble, as a function of the state alone."""
    if config.ensemble == "nve":
        return partial(velocity_verlet_step, force_function=force_function, timestep_fs=config.timestep_fs)
    return partial(baoab_step, force_function=force_function, timestep_fs=config.timestep_fs,
                   temperature_K=config.temperature_K, friction_per_fs=config.friction_per_fs)


def _run(point: RestartPoint, advance: Step, guards: Guards, writer: TrajectoryWriter, pace: Pace) -> None:
    """Step until the end, until asked to stop, or until no replica is left; commit whatever happens."""
    config = pace.config
    try:
        while True:
            if point.step // config.save_every + 1 > writer.num_recorded:
                writer.record(point.state, point.step * config.timestep_fs)
            if writer.is_full or pace.due():
                writer.commit(point, pace.wall_s)
                pace.report(point)
            if point.step == config.steps or not len(point.state.replica_ids) or pace.should_stop():
                break
            state = _advance_or_restore(advance, point.state)
            point = RestartPoint(_retire_failed(state, guards, writer, point.step + 1), point.step + 1)
    finally:
        writer.commit(point, pace.wall_s)
        pace.report(point)


def _advance_or_restore(advance: Step, state: MDState) -> MDState:
    """One step; when it is interrupted, the noise is as if it had not begun, so that a restart repeats it exactly."""
    before = state.generator.get_state()
    try:
        return advance(state)
    except BaseException:
        state.generator.set_state(before)
        raise


def _retire_failed(state: MDState, guards: Guards, writer: TrajectoryWriter, step: int) -> MDState:
    failed = guards.failed(state)
    if not bool(failed.any()):
        return state
    for row in torch.nonzero(failed).flatten().tolist():
        writer.record_break(int(state.replica_ids[row]), step, state.positions[row].cpu().numpy(),
                            guards.reason(state, row))
    return state.select(~failed)


def _begin(pot: ForceField, atoms: Atoms, config: MDConfig, forces: ReplicaForces, path: Path | None,
           resume: bool) -> tuple[TrajectoryWriter, RestartPoint]:
    """A writer and the point to go on from: the start, or the last commit of an earlier run."""
    if resume and path is not None and path.exists():
        if restart_path(path).exists():
            return _continue(pot, atoms, config, path)
        _discard_unstarted(path)
    state = initial_state(pot, atoms, config, forces)
    create = create_in_memory if path is None else partial(create_on_disk, path)
    return create(atoms, config, repr(pot)), RestartPoint(state, step=0)


def _continue(pot: ForceField, atoms: Atoms, config: MDConfig, path: Path) -> tuple[TrajectoryWriter, RestartPoint]:
    point = load_restart(path, pot.device)
    with Trajectory(path) as earlier:
        old, new = earlier.config.model_dump(), config.model_dump()
        changed = [key for key in new if new[key] != old[key] and key not in ("steps", "skin")]
        if changed or config.steps < point.step:
            raise ConfigError(f"{path} is a run of {point.step} steps with other settings: "
                              f"{', '.join(changed) or 'steps'}", "resume with its settings; only `steps` may grow")
        same = (np.array_equal(earlier.atomic_numbers, atoms.numbers) and np.array_equal(earlier.cell, atoms.cell.array)
                and np.array_equal(earlier.pbc, atoms.pbc) and np.array_equal(earlier.masses, atoms.get_masses()))
        expected = point.step // config.save_every + 1
        if not same or earlier.num_frames < expected:
            raise DataError(f"{path} does not belong to this structure and restart point", "start a new run")
    writer = reopen(path, config)
    writer.rewind(point.step)
    return writer, point


def _discard_unstarted(path: Path) -> None:
    """Remove a trajectory whose run was killed before its first commit; refuse when it holds more."""
    with Trajectory(path) as earlier:
        if earlier.num_frames > 1:
            raise DataError(f"{path} holds {earlier.num_frames} frames, but {restart_path(path).name} is missing",
                            "start a new run under another name")
    path.unlink()


def _check_structure(pot: ForceField, atoms: Atoms) -> None:
    if len(atoms) == 0:
        raise DataError("found a structure without atoms, expected at least one")
    if not np.isfinite(atoms.positions).all() or not (atoms.get_masses() > 0.0).all():
        raise DataError("found positions that are not finite or masses that are not positive", "look at the structure")
    if atoms.constraints:
        raise DataError(f"found constraints {[type(c).__name__ for c in atoms.constraints]}, this MD moves all atoms",
                        "remove them with atoms.set_constraint()")
    pot.check_species(torch.as_tensor(atoms.numbers))
