"""Whether a potential keeps a molecule whole for as long as people simulate, and its distances right meanwhile.

Each temperature leaves `TK.h5` (its trajectory) and `stages/TK.json`; one that is done is not done again, one that was
interrupted goes on from its last commit. Beside them: `request.json` and `stability.json`, which may also be recorded
in the model's folder and on its card.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from toolkit.analysis.distance_error import BIN_WIDTH_A, ReferenceDistances, distance_error
from toolkit.analysis.rdf import radial_distribution
from toolkit.checks.passport import put_section
from toolkit.config import parse_config
from toolkit.data.formats import read_frames
from toolkit.errors import DataError, JobError
from toolkit.jobs.frames import open_frames
from toolkit.jobs.run_dir import make_folder
from toolkit.jobs.sources import starting_structure
from toolkit.jobs.stability_config import StabilityRequest
from toolkit.jobs.stages import Result, Stage, do_stages, keep_request
from toolkit.md.simulation import simulate
from toolkit.md.summary import EQUILIBRATION_FRACTION, summarize
from toolkit.md.trajectory import Trajectory
from toolkit.models.folders import find_model, weights_sha256
from toolkit.models.potential import load_potential
from toolkit.progress import Reporter, SilentReporter
from toolkit.storage import read_json, write_json
from toolkit.training.card import device_name
from toolkit.training.stability_card import STABILITY, stability_section
from toolkit.units import FS_PER_PS

KEPT = ("stable_fraction", "stable_fraction_low", "stable_fraction_high", "temperature_mean_K", "temperature_sem_K",
        "replica_steps_per_s")
SAME_TEMPERATURE_K = 1.0


def stability_task(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> Result:
    """Do, or go on with, a stability record. config : fields of a StabilityRequest."""
    return run_stability(parse_config(StabilityRequest, config), run_dir, reporter)


def run_stability(request: StabilityRequest, folder: str | Path, reporter: Reporter | None = None) -> Result:
    """Simulate at the temperatures that are not done yet; returns what `stability.json` holds.

    `runs` has one row a temperature: stable fraction with Wilson's 95 % interval, when and why replicas failed (see
    `md.guards`: a bond off by more than 0.5 Å, or worse), and h(r) against the reference frames from all but the first
    fifth of the time, of replicas while they are whole. `complete` is False when it was asked to stop.
    Raises DataError for crystals, and for reference frames of another molecule.
    """
    folder, reporter = Path(folder), reporter or SilentReporter()
    make_folder(folder / "stages")
    keep_request(request, folder / "request.json")
    conditions, atoms = _conditions(request), starting_structure(request.structure, request.frame)
    if atoms.pbc.any():
        raise DataError(f"found a periodic structure in {request.structure}, stability is that of bonds in a molecule",
                        "give a molecule")
    reference = _reference(request, atoms)
    stages = {f"{temperature:g}K": (f"{temperature:g} K", _simulation(request, temperature, atoms, reference, folder))
              for temperature in request.temperatures_K}
    rows = [row for _, row in do_stages(stages, folder, reporter)]
    result = {**conditions, "complete": len(rows) == len(stages), "runs": rows}
    write_json(result, folder / STABILITY)
    return result


def record_stability(result: Result, model: str) -> Path:
    """Keep a complete record in the model's folder and on its card; return the file.

    Other temperatures recorded there under the same conditions stay; a record under others is replaced.
    Raises JobError for one that is not complete or was made with other weights.
    """
    folder = find_model(model)
    if not result["complete"] or result["weights_sha256"] != weights_sha256(folder):
        raise JobError(f"found a record that is not complete, or not of the weights in {folder}", "resume it first")
    result = _beside_recorded(result, folder / STABILITY)
    write_json(result, folder / STABILITY)
    put_section(folder, stability_section(result))
    return folder / STABILITY


def _beside_recorded(result: Result, path: Path) -> Result:
    """A record with the other temperatures of the one in `path`, when all else was the same."""
    recorded = read_json(path)
    if recorded is None or {**recorded, "runs": []} != {**result, "runs": []}:
        return result
    rows = {row["temperature_K"]: row for row in (*recorded["runs"], *result["runs"])}
    return {**result, "runs": [rows[temperature] for temperature in sorted(rows)]}


def _conditions(request: StabilityRequest) -> Result:
    potential = load_potential(request.model, **request.computing())
    config = request.md(request.temperatures_K[0])
    return {"weights_sha256": weights_sha256(find_model(request.model)),
            "structure": Path(request.structure).name, "frame": request.frame,
            "reference": None if request.data is None else Path(request.data.train).name,
            "reference_temperature_K": request.reference_temperature_K, "bin_width_A": BIN_WIDTH_A,
            "timestep_fs": config.timestep_fs, **_inner(request), "friction_per_fs": config.friction_per_fs,
            "max_bond_change_A": config.max_bond_change_A, "seed": config.seed,
            "device": device_name(potential.device), "dtype": request.dtype, "backend": potential.backend}


def _inner(request: StabilityRequest) -> Result:
    """The inner steps, where there are any."""
    if request.inner_model is None:
        return {}
    return {"inner_steps": request.inner_steps, "inner_model": Path(request.inner_model).name,
            "inner_weights_sha256": weights_sha256(find_model(request.inner_model))}


def _simulation(request: StabilityRequest, temperature_K: float, atoms: Atoms, reference: ReferenceDistances | None,
                folder: Path) -> Stage:
    """The stage of one temperature."""
    def stage(reporter: Reporter) -> Result | None:
        path = folder / f"{temperature_K:g}K.h5"
        potential = load_potential(request.model, **request.computing())
        inner = None if request.inner_model is None else load_potential(request.inner_model, **request.computing())
        config = request.md(temperature_K)
        with simulate(potential, atoms, config, path, inner=inner, resume=True, reporter=reporter) as trajectory:
            if trajectory.stopped:
                return None
            summary = summarize(trajectory)
            breaks = sorted(trajectory.breaks, key=lambda broken: broken.time_fs)
        near = request.reference_temperature_K
        return {"temperature_K": temperature_K, "replicas": request.replicas,
                "ps": config.steps * config.timestep_fs / FS_PER_PS, **{name: summary[name] for name in KEPT},
                "first_failure_ps": breaks[0].time_fs / FS_PER_PS if breaks else None,
                "failures": [{"replica": broken.replica, "time_ps": broken.time_fs / FS_PER_PS, "reason": broken.reason}
                             for broken in breaks],
                "h_of_r_error": None if reference is None else _distance_error(path, reference),
                "h_of_r_noise": None if reference is None else reference.noise,
                "at_reference_temperature": near is not None and abs(near - temperature_K) < SAME_TEMPERATURE_K}
    return stage


def _reference(request: StabilityRequest, atoms: Atoms) -> ReferenceDistances | None:
    if request.data is None:
        return None
    frames = read_frames(request.data.train, request.data).frames
    if any(not np.array_equal(frame.numbers, atoms.numbers) for frame in frames):
        raise DataError(f"found other molecules in {request.data.train} than {atoms.get_chemical_formula()} with its "
                        "order of atoms", "give reference frames of the molecule that is simulated")
    return ReferenceDistances(np.stack([frame.positions for frame in frames]), atoms.numbers)


def _distance_error(path: Path, reference: ReferenceDistances) -> float | None:
    """h(r) of a trajectory against the reference, read piece by piece; None when no replica lived long enough."""
    with Trajectory(path) as trajectory:
        skip_ps = EQUILIBRATION_FRACTION * trajectory.config.steps * trajectory.timestep_fs / FS_PER_PS
        if not trajectory.alive[round(skip_ps * FS_PER_PS / trajectory.frame_interval_fs):].any():
            return None
    with open_frames(path, skip_ps) as frames:
        found = radial_distribution(frames.chunks(), reference.atomic_numbers, None, reference.r_max_A, BIN_WIDTH_A)
    return distance_error(found, reference.distribution)
