"""Running molecular dynamics: integrators step, guards judge, files keep; here is the loop that joins them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import overload

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from toolkit.config import MDConfig
from toolkit.data.graph import require_unconstrained
from toolkit.errors import ConfigError, DataError
from toolkit.md.blocks import BlockRunner
from toolkit.md.ensembles import InnerWatch, make_step
from toolkit.md.forces import ForceField, ReplicaForces
from toolkit.md.guards import Guards
from toolkit.md.integrators import Step
from toolkit.md.pace import Pace
from toolkit.md.restart import RestartPoint
from toolkit.md.run_files import RunFiles, create_files, find_restart, reopen_files
from toolkit.md.start import initial_state
from toolkit.md.state import MDState
from toolkit.md.trajectory import Trajectory
from toolkit.md.watch import UncertaintyWatch, make_watch
from toolkit.progress import Reporter, SilentReporter

BLOCK_DEVICES = frozenset({"cuda"})
"""Kinds of device on which many steps are done without looking at any of them; on the others shorter edge lists win."""


@overload
def simulate(pot: ForceField, atoms: Atoms, config: MDConfig, path: str | Path | None = ..., *,
             inner: ForceField | None = ..., resume: bool = ..., reporter: Reporter | None = ...) -> Trajectory: ...


@overload
def simulate(pot: ForceField, atoms: Sequence[Atoms], config: MDConfig, path: str | Path | None = ..., *,
             inner: ForceField | None = ..., resume: bool = ...,
             reporter: Reporter | None = ...) -> list[Trajectory]: ...


def simulate(pot: ForceField, atoms: Atoms | Sequence[Atoms], config: MDConfig, path: str | Path | None = None, *,
             inner: ForceField | None = None, resume: bool = False,
             reporter: Reporter | None = None) -> Trajectory | list[Trajectory]:
    """Run R replicas of a structure, or of each of several, as one batch.

    Returns the trajectory, which carries its own time step and save interval; a list of structures gives a list.

    pot : a Potential, or anything that fulfils `forces.ForceField`
    path : HDF5 file to write, with several structures one for each (run.h5 becomes run.0.h5, run.1.h5, …); None keeps
        the trajectories in memory
    inner : a cheaper potential close to `pot`, which makes the `inner_steps` of each step (see `integrators.respa_step`)
    resume : continue the run in `path` from its last commit, bit for bit (CPU), or start it when there is none yet.
        More `steps` than before extend a run; all else must be as it was.
    reporter : hears progress, and may ask to stop: then everything is saved and `Trajectory.stopped` is True

    A replica that breaks (see `guards`) is retired and the others go on; `Trajectory.breaks` tells when and why. So is
    one whose forces become too uncertain, when the configuration asks to stop on that (see `watch`).
    Raises DataError (structure, species), ConfigError (file of another run, inner steps without a potential for them or
    the reverse), StorageError (what was committed stays).
    """
    systems = [atoms] if isinstance(atoms, Atoms) else list(atoms)
    _check_structures([pot] if inner is None else [pot, inner], systems, config)
    rows = [system for system in systems for _ in range(config.replicas)]
    forces = ReplicaForces(pot, rows, config.skin, stress=config.ensemble == "npt",
                           inner=_inner_forces(inner, pot, rows, config))
    path = None if path is None else Path(path)
    watch = make_watch(pot, config, forces, path)
    files, point = _begin(pot, systems, config, forces, path, resume)
    try:
        guards = Guards(rows, config, pot.device)
        pace = Pace(config, point.step, files.wall_s, reporter or SilentReporter())
        inner_watch = None if inner is None else InnerWatch(config, forces)
        blocks = None
        if pot.device.type in BLOCK_DEVICES:
            blocks = BlockRunner(config, forces, guards, files.datasets, inner_watch)
        _Run(inner_watch or make_step(config, forces), forces, guards, files, pace, blocks, watch).run(point)
    finally:
        files.close()
    trajectories = files.trajectories()
    return trajectories[0] if isinstance(atoms, Atoms) else trajectories


class _Run:
    """The loop over steps: blocks of them with a look at the end, or careful ones, one by one."""

    def __init__(self, advance: Step, forces: ReplicaForces, guards: Guards, files: RunFiles, pace: Pace,
                 blocks: BlockRunner | None, watch: UncertaintyWatch | None) -> None:
        self._advance = advance
        self._forces = forces
        self._guards = guards
        self._files = files
        self._pace = pace
        self._blocks = blocks
        self._watch = watch

    def run(self, point: RestartPoint) -> None:
        """Step until the end, until asked to stop, or until no replica is left; commit whatever happens."""
        config, files, pace = self._pace.config, self._files, self._pace
        if self._watch is not None:
            self._watch.begin(point.step)
        try:
            while True:
                if point.step // config.save_every + 1 > files.num_recorded:
                    files.record_state(point.state, point.step * config.timestep_fs)
                if files.is_full or pace.due():
                    self._commit(point)
                if point.step == config.steps or not len(point.state.replica_ids) or pace.should_stop():
                    break
                point = self._go_on(point)
        finally:
            self._commit(point)

    def _commit(self, point: RestartPoint) -> None:
        if self._watch is not None:
            self._watch.commit()
        self._files.commit(point, self._pace.wall_s)
        self._pace.report(point, self._advance.steps_alone if isinstance(self._advance, InnerWatch) else 0)

    def _go_on(self, point: RestartPoint) -> RestartPoint:
        """One block of steps when that is allowed and nothing is wrong with the first, else one careful step."""
        done = None if self._blocks is None else self._blocks.advance(point, self._files, self._last_unseen(point.step))
        if done is not None:
            return done
        step = point.step + 1
        with _noise_restored(point.state):
            state = self._advance(point.state)
            broken = self._guards.failed(state)
            uncertain = torch.zeros_like(broken) if self._watch is None else self._watch.failed(state, step, broken)
        return RestartPoint(self._retire(state, step, broken, uncertain), step)

    def _last_unseen(self, step: int) -> int:
        """The last step up to which nobody needs to look at the state."""
        last = self._pace.config.steps
        return last if self._watch is None else min(last, self._watch.next_step(step) - 1)

    def _retire(self, state: MDState, step: int, broken: Tensor, uncertain: Tensor) -> MDState:
        """The state without the replicas (R,) that are broken or uncertain; their last frames and reasons are kept."""
        failed = broken | uncertain
        if not bool(failed.any()):
            return state
        for row in torch.nonzero(failed).flatten().tolist():
            replica, atoms = int(state.replica_ids[row]), self._forces.rows[row]
            judge = self._guards if bool(broken[row]) else self._watch
            self._files.record_break(replica, step, state.positions[row, :len(atoms)].cpu().numpy(),
                                     judge.reason(state, row))
        self._forces.keep(~failed)
        return state.select(~failed)


@contextmanager
def _noise_restored(state: MDState) -> Iterator[None]:
    """When a step is interrupted, the noise is as if it had not begun, so that a restart repeats it exactly."""
    before = state.generator.get_state()
    try:
        yield
    except BaseException:
        state.generator.set_state(before)
        raise


def _begin(pot: ForceField, systems: Sequence[Atoms], config: MDConfig, forces: ReplicaForces, path: Path | None,
           resume: bool) -> tuple[RunFiles, RestartPoint]:
    """The files and the point to go on from: the start, or the last commit of an earlier run."""
    point = find_restart(path, len(systems), pot.device) if resume and path is not None else None
    if point is not None:
        files = reopen_files(path, systems, config, point, forces.describe(), _fingerprint(forces))
        still = torch.zeros(point.state.num_replicas, dtype=torch.bool)
        still[point.state.replica_ids.cpu()] = True
        forces.keep(still)
        return files, point
    state = initial_state(pot, systems, config, forces, forces.inner)
    return create_files(path, systems, config, forces.describe(), _fingerprint(forces)), RestartPoint(state, step=0)


def _inner_forces(inner: ForceField | None, pot: ForceField, rows: Sequence[Atoms],
                  config: MDConfig) -> ReplicaForces | None:
    """The forces of the inner steps. Raises ConfigError when only one of potential and number of steps is given."""
    if (inner is None) != (config.inner_steps == 1):
        given = "without a potential for them" if inner is None else "with a potential for inner steps"
        raise ConfigError(f"found inner_steps {config.inner_steps} {given}",
                          "give both, a cheaper model (inner_model, in Python inner=) and 2 inner steps or more, or "
                          "neither")
    if inner is None:
        return None
    if inner.device != pot.device:
        raise ConfigError(f"found the inner potential on {inner.device}, the other on {pot.device}",
                          "load both on one device")
    return ReplicaForces(inner, rows, config.skin)


def _fingerprint(forces: ReplicaForces) -> str:
    """SHA-256 of the parameters of the potentials as float32, "" without any: what a resumed run must have again."""
    models = [pot.model for pot in forces.potentials if isinstance(getattr(pot, "model", None), torch.nn.Module)]
    if not models:
        return ""
    digest = hashlib.sha256()
    for name, values in (item for model in models for item in sorted(model.state_dict().items())):
        digest.update(name.encode() + values.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def _check_structures(potentials: Sequence[ForceField], systems: Sequence[Atoms], config: MDConfig) -> None:
    if not systems:
        raise DataError("found an empty list of structures, expected at least one")
    for atoms in systems:
        if len(atoms) == 0:
            raise DataError("found a structure without atoms, expected at least one")
        if not np.isfinite(atoms.positions).all() or not (atoms.get_masses() > 0.0).all():
            raise DataError("found positions that are not finite or masses that are not positive",
                            "look at the structure")
        require_unconstrained(atoms, "this MD")
        if config.ensemble == "npt" and not atoms.pbc.all():
            raise DataError(f"found pbc {atoms.pbc.tolist()}, npt needs a crystal that is periodic in all directions",
                            "use another ensemble")
        for pot in potentials:
            pot.check_species(torch.as_tensor(atoms.numbers))
