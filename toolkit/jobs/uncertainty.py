"""Fit the uncertainty of a model in a folder, and check it against frames whose errors are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from toolkit.analysis.calibration import Calibration, calibration
from toolkit.checks.passport import put_section, without_section
from toolkit.config import DataConfig
from toolkit.data.datasets import load_splits
from toolkit.data.statistics import spread_out
from toolkit.errors import DataError, ModelError
from toolkit.jobs.own_data import own_data_here, refuse_learned, source_name
from toolkit.models.folders import has_uncertainty, weights_sha256
from toolkit.models.potential import Potential, load_potential
from toolkit.models.uncertainty import HEADER, save_uncertainty
from toolkit.progress import Reporter, SilentReporter
from toolkit.storage import read_json, write_json, write_text_atomic
from toolkit.training.calibration_card import CALIBRATION, SECTION, calibration_section
from toolkit.training.card import device_name
from toolkit.training.uncertainty import fit_uncertainty
from toolkit.units import MEV_PER_EV

CHECK = "uncertainty.json"
MAX_TRAIN_FRAMES = 300
"""Frames a fit reads unless told otherwise: thousands of force components for each weight; more only take longer."""
BATCH_SIZE = 10


def fit_model(model: str, data: DataConfig | None = None, *, max_frames: int = MAX_TRAIN_FRAMES, num_directions: int = 8,
              seed: int = 0, device: str = "auto", reporter: Reporter | None = None) -> dict[str, Any]:
    """Fit on the training frames of `data`, calibrate on its validation frames, and write it beside the weights.

    data : default: those of the model;  max_frames : of the training frames, chosen evenly
    Raises DataError, also for validation frames that the model has learned, on which its errors are too small to scale by;
    ModelError, StorageError.
    """
    potential = load_potential(model, device=device)
    own = data is None
    data = own_data_here(model) if own else data
    splits = load_splits(data)
    if not own:
        refuse_learned(model, splits.val, "validation")
    chosen = spread_out(splits.train, max_frames)
    fitted = fit_uncertainty(potential, chosen, splits.val, num_directions=num_directions, seed=seed, reporter=reporter)
    about = {"data": source_name(data.train), "n_fitted": len(chosen), "n_calibrated": len(splits.val), "seed": seed,
             "num_features": fitted.directions.shape[0], "num_directions": fitted.directions.shape[1]}
    _forget_check(potential.folder)
    save_uncertainty(replace(fitted, about=about), potential.folder)
    return {"model_dir": str(potential.folder), "weight": fitted.weight, "forces_scale": fitted.forces_scale,
            "energy_scale": fitted.energy_scale, **about}


def check_uncertainty(potential: Potential, frames: Sequence[Atoms],
                      reporter: Reporter | None = None) -> dict[str, Calibration]:
    """Calibration of `forces`, σ by atom, eV/Å, and where there are labels of `energy`, σ by frame, eV.

    Raises ModelError when the potential has no uncertainty, DataError for frames without forces.
    """
    return _calibrations(_predictions(potential, frames, reporter or SilentReporter()))


def record_check(potential: Potential, frames: Sequence[Atoms], source: str,
                 reporter: Reporter | None = None) -> tuple[dict[str, Calibration], dict[str, Any]]:
    """As `check_uncertainty`, on test frames of `source`, and the record of it that is kept as calibration.json and on the
    card of the model.

    Raises KeyboardInterrupt when the reporter asks to stop: half a check is none. StorageError.
    """
    found = _predictions(potential, frames, reporter or SilentReporter())
    if len(found["energy"]) < len(frames):
        raise KeyboardInterrupt
    checks, folder = _calibrations(found), potential.folder
    largest = np.array([found["forces_std"][found["frame"] == t].max() for t in range(len(frames))])
    header = read_json(folder / HEADER)
    record = {
        "weights_sha256": weights_sha256(folder), "fit": {**header["about"], "forces_scale": header["forces_scale"],
                                                          "energy_scale": header["energy_scale"]},
        "data": source_name(source), "n_frames": len(frames), "device": device_name(potential.device),
        "dtype": str(potential.dtype).removeprefix("torch."),
        "largest_forces_std_eV_per_A": {"median": float(np.median(largest)), "max": float(largest.max())},
        "verdict": {name: check.verdict() for name, check in checks.items()},
        **{name: check.to_dict() for name, check in checks.items()}}
    write_json(record, folder / CALIBRATION)
    put_section(folder, calibration_section(record))
    return checks, record


def _forget_check(folder: Path) -> None:
    """Remove what was recorded of an earlier fit."""
    (folder / CALIBRATION).unlink(missing_ok=True)
    card = folder / "CARD.md"
    if card.is_file():
        write_text_atomic(card, without_section(card.read_text(encoding="utf-8"), SECTION))


def _predictions(potential: Potential, frames: Sequence[Atoms], reporter: Reporter) -> dict[str, np.ndarray]:
    """Errors and standard deviations, `forces` (N, 3), `forces_std` (N,), `energy`, `energy_std` (F,), eV and Å, and `frame`
    (N,); as far as the reporter lets it come."""
    names = ("forces", "forces_std", "energy", "energy_std", "frame")
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for first in range(0, len(frames), BATCH_SIZE):
        if reporter.should_stop():
            break
        graph = potential.graph(frames[first:first + BATCH_SIZE])
        output = potential.evaluate(graph) | potential.evaluate_uncertainty(graph)
        for name in ("forces", "energy"):
            found[name].append((output[name] - graph.labels[name]).cpu().numpy())
            found[f"{name}_std"].append(output[f"{name}_std"].cpu().numpy())
        found["frame"].append(first + graph.batch.cpu().numpy())
        reporter.update(min(first + BATCH_SIZE, len(frames)), len(frames), "uncertainty")
    if not found["frame"]:
        raise DataError("found no frames to check", "give labelled frames")
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _calibrations(found: dict[str, np.ndarray]) -> dict[str, Calibration]:
    bound = found["forces_std"] > 0.0  # an atom without neighbours has a force of zero, for certain
    result = {"forces": calibration(found["forces"][bound], found["forces_std"][bound], found["frame"][bound])}
    if np.isfinite(found["energy"]).sum() > 1:
        result["energy"] = calibration(found["energy"], found["energy_std"])
    return result


def headline(check: Calibration, name: str) -> dict[str, Any]:
    """The numbers of a calibration for a table, units in the names."""
    unit = "meV" if name == "energy" else "meV_per_A"
    coverage = {f"coverage_of_{100 * expected:.0f}_percent": 100.0 * float(observed)
                for expected, observed in zip(check.expected, check.observed, strict=True)}
    return {"n": check.n, "calibrated": check.is_calibrated(), "z_std": check.z_std, "z_std_stderr": check.z_std_stderr,
            "spearman": check.spearman, "nll_gain_over_constant": check.nll_constant - check.nll, "ence": check.ence,
            f"predicted_std_{unit}": (MEV_PER_EV * check.rmv).tolist(),
            f"rmse_{unit}": (MEV_PER_EV * check.rmse).tolist(), **coverage}


def evaluation_check(potential: Potential, frames: Sequence[Atoms],
                     reporter: Reporter | None = None) -> dict[str, Any] | None:
    """What the Evaluate page keeps: `Calibration.to_dict` by label, or why there is none; None for a model without."""
    if potential.folder is None or not has_uncertainty(potential.folder):
        return None
    try:
        return {name: check.to_dict() for name, check in check_uncertainty(potential, frames, reporter).items()}
    except (ModelError, DataError) as error:
        return {"refused": str(error)}


def read_check(run_dir: Path) -> dict[str, Any] | None:
    """What `evaluation_check` found in an evaluation's run folder."""
    return read_json(run_dir / CHECK)
