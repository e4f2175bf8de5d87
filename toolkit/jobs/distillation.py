"""Frames for a student: where molecular dynamics goes, labelled by the mean of trained models.

A network with few frames learns them by heart, and what it says between them is its own. Several such networks differ
there, and their mean is nearer to the truth than each of them. A student that learns this mean on thousands of frames
that dynamics visits cannot learn by heart; nothing but the few frames was ever computed by quantum chemistry
(Hinton, Vinyals and Dean, arXiv:1503.02531 (2015): knowledge distillation).

A run folder holds the trajectories of the sampler, and `train.extxyz`, `val.extxyz` and `test.extxyz` in eV and Å.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from toolkit.config import parse_config
from toolkit.data.datasets import Splits, load_splits
from toolkit.errors import DataError
from toolkit.jobs.distillation_config import DistillRequest
from toolkit.jobs.frame_files import with_labels, write_sets
from toolkit.jobs.own_data import own_data_here, refuse_learned
from toolkit.jobs.stages import Result, keep_request
from toolkit.md.restart import restart_path
from toolkit.md.simulation import simulate
from toolkit.md.trajectory import Trajectory
from toolkit.models.potential import Potential, load_potential
from toolkit.progress import Reporter, SilentReporter
from toolkit.units import MEV_PER_EV

MAX_STARTS = 16
"""Training frames that simulations start from, spread evenly; several trajectories share one where there are more."""
FRAMES_AT_ONCE = 50


def distill_task(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> Result:
    """Sample and label, or go on with it. config : fields of a DistillRequest."""
    return distill(parse_config(DistillRequest, config), run_dir, reporter)


def distill(request: DistillRequest, folder: str | Path, reporter: Reporter | None = None) -> Result:
    """Write the frames of a student into `folder`; a simulation that was interrupted goes on from its last commit.

    Returns the number of frames, how much the teachers disagree about a force component, meV/Å, and `stopped`.
    Raises DataError when no frame was reached, or training frames lack energies or forces.
    """
    folder, reporter = Path(folder), reporter or SilentReporter()
    keep_request(request, folder / "request.json")
    splits = load_splits(request.data or own_data_here(request.teachers[0]))
    _check_labels(splits.train)
    for teacher in request.teachers if request.data else request.teachers[1:]:  # the first one's own split is its own
        refuse_learned(teacher, [*splits.val, *splits.test], "validation and test")
    sampled = _sample(request, splits.train, folder, reporter)
    labels = None if sampled is None else _label(request, sampled, reporter)
    if labels is None:
        return {"folder": str(folder), "stopped": True}
    frames, disagreement = labels
    _write(splits, frames, request, folder)
    return {"folder": str(folder), "stopped": False, "n_sampled": len(frames), "n_train_frames": len(splits.train),
            "n_val": len(splits.val), "n_test": len(splits.test), "copies": request.copies, "teachers": list(request.teachers),
            "forces_disagreement_meV_per_A": disagreement}


def _sample(request: DistillRequest, train: Sequence[Atoms], folder: Path, reporter: Reporter) -> list[Atoms] | None:
    """Frames of all trajectories, while they are whole, without the first of each; None when asked to stop."""
    replicas = -(-request.trajectories // min(MAX_STARTS, len(train)))
    number = -(-request.trajectories // replicas)
    if restart_path(folder / "sampled.h5").exists():  # a run of before may have begun from more frames
        number = max(1, len(list(folder.glob("sampled.*.h5"))))
    starts = [train[t] for t in np.linspace(0, len(train) - 1, number).round().astype(int)]
    sampler = _load(request, request.sampler or request.teachers[0])
    frames: list[Atoms] = []
    stopped, wanted = False, request.trajectories
    for trajectory in simulate(sampler, starts, request.md(replicas), folder / "sampled.h5", resume=True, reporter=reporter):
        with trajectory:
            stopped = stopped or trajectory.stopped
            frames += _whole(trajectory, min(replicas, wanted))
            wanted -= min(replicas, wanted)
    if stopped:
        return None
    if not frames:
        raise DataError("no replica was whole for as long as `every_fs`", "lower temperature_K or timestep_fs")
    return frames


def _whole(trajectory: Trajectory, replicas: int) -> list[Atoms]:
    """The frames of its first replicas."""
    cell, pbc = trajectory.cell, trajectory.pbc
    info = {"charge": trajectory.total_charge} if trajectory.total_charge else {}
    return [Atoms(trajectory.atomic_numbers, positions.astype(float), cell=cell, pbc=pbc, info=info)
            for replica in range(replicas)
            for block in trajectory.chunks("positions", FRAMES_AT_ONCE, replica, start=1) for positions in block]


def _label(request: DistillRequest, frames: list[Atoms], reporter: Reporter) -> tuple[list[Atoms], float | None] | None:
    """The frames with the mean of the teachers' energies, forces and, of crystals, stresses; and the root mean square
    spread of a force component, meV/Å, None with one teacher. None altogether when asked to stop."""
    teachers = [_load(request, name) for name in request.teachers]
    labelled: list[Atoms] = []
    squares = count = 0.0
    for first in range(0, len(frames), FRAMES_AT_ONCE):
        if reporter.should_stop():
            return None
        part = frames[first:first + FRAMES_AT_ONCE]
        for atoms, *predictions in zip(part, *(teacher.predict(part) for teacher in teachers), strict=True):
            keys = [key for key in ("energy", "forces", "stress") if key in predictions[0]]
            mean = {key: np.mean([prediction[key] for prediction in predictions], axis=0) for key in keys}
            spread = np.var([prediction["forces"] for prediction in predictions], axis=0, ddof=min(1, len(teachers) - 1))
            squares, count = squares + float(spread.sum()), count + spread.size
            labelled.append(with_labels(atoms, mean))
        reporter.update(len(labelled), len(frames), "labels of the teachers")
    return labelled, MEV_PER_EV * (squares / count) ** 0.5 if len(teachers) > 1 else None


def _load(request: DistillRequest, name: str) -> Potential:
    return load_potential(name, **request.computing())


def _check_labels(frames: Sequence[Atoms]) -> None:
    bare = sum(atoms.calc is None or not {"energy", "forces"} <= atoms.calc.results.keys() for atoms in frames)
    if bare:
        raise DataError(f"found {bare} of {len(frames)} training frames without energy or forces",
                        "give the frames that the teachers were trained on")


def _write(splits: Splits, frames: list[Atoms], request: DistillRequest, folder: Path) -> None:
    """Training frames in random order, so that any part of the file holds both kinds; the other sets as they are."""
    together = frames + [atoms for atoms in splits.train if atoms.calc is not None] * request.copies
    order = np.random.default_rng(request.seed).permutation(len(together))
    write_sets(folder, [together[k] for k in order], splits.val, splits.test)
