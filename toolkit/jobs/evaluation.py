"""A potential against labelled frames, as a job: the errors of `toolkit evaluate`, and each prediction behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from ase import Atoms

from toolkit.analysis.energy_zero import energy_zero
from toolkit.analysis.parity import Parity
from toolkit.config import DataConfig, parse_config
from toolkit.data.datasets import load_splits
from toolkit.data.formats import read_frames
from toolkit.data.graph import AtomicGraph
from toolkit.errors import DataError, JobError
from toolkit.jobs.requests import EvaluateRequest, Part
from toolkit.jobs.uncertainty import CHECK, evaluation_check
from toolkit.models.base import ModelOutput
from toolkit.models.potential import Potential, load_potential
from toolkit.progress import Reporter, SilentReporter, tell
from toolkit.storage import replacing, write_json
from toolkit.training.metrics import evaluate_potential

PREDICTIONS = "predictions.npz"


class PredictionRecorder:
    """Keeps what `evaluate_potential` tells it of each batch; call it, then take `parity()`."""

    def __init__(self) -> None:
        self._batches: list[dict[str, np.ndarray]] = []

    def __call__(self, graph: AtomicGraph, output: ModelOutput) -> None:
        labels = graph.labels
        found = {"num_atoms": graph.atoms_per_structure(), "atomic_numbers": graph.atomic_numbers,
                 "energy_eV": output["energy"], "label_energy_eV": labels["energy"],
                 "forces_eV_per_A": output.get("forces", labels["forces"]), "label_forces_eV_per_A": labels["forces"]}
        self._batches.append({name: tensor.cpu().numpy() for name, tensor in found.items()})

    def parity(self) -> Parity:
        """All predictions so far, in the order of the frames. Raises JobError when there are none."""
        if not self._batches:
            raise JobError("stopped before the first frames were done", "resume, or start it again")
        return Parity(**{name: np.concatenate([batch[name] for batch in self._batches]) for name in self._batches[0]})


def evaluate_task(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
    """Judge a model; a resumed run starts anew. config : fields of an EvaluateRequest.

    Stopped before the first frames were done, it leaves no predictions.
    """
    request = parse_config(EvaluateRequest, config)
    frames = labelled_frames(request.data, request.part, reporter)
    potential = load_potential(request.model, device=request.device, dtype=request.dtype)
    errors, parity = evaluate_frames(potential, frames, reporter)
    if parity is None:
        (run_dir / PREDICTIONS).unlink(missing_ok=True)
        return errors
    save_parity(parity, run_dir / PREDICTIONS)
    check = evaluation_check(potential, frames, reporter)
    if check is not None:
        write_json(check, run_dir / CHECK)
    return errors


def labelled_frames(data: DataConfig, part: Part = "all", reporter: Reporter | None = None) -> Sequence[Atoms]:
    """All frames of `data.train`, or one set of its split. Warnings of the readers become notes.

    Raises DataError when there are none, or none with an energy or forces.
    """
    return numbered_frames(data, part, reporter)[0]


def numbered_frames(data: DataConfig, part: Part = "all",
                    reporter: Reporter | None = None) -> tuple[Sequence[Atoms], np.ndarray]:
    """As `labelled_frames`, with the place of each in its file, counted from 0."""
    if part == "all":
        found = read_frames(data.train, data)
        frames, places, reports = found.frames, found.places, (found.report,)
    else:
        splits = load_splits(data)
        frames, places, reports = getattr(splits, part), splits.indices[part], splits.reports
    tell(reporter or SilentReporter(), *(warning for report in reports for warning in report.warnings))
    if not frames:
        raise DataError(f"found no frames in the {part} set of {data.train}", "choose another set")
    if not any({"energy", "forces"} & atoms.calc.results.keys() for atoms in frames if atoms.calc is not None):
        raise DataError(f"found no energies and no forces in {data.train}, expected frames with labels",
                        "name the keys that hold them: energy_key, forces_key")
    return frames, places


def evaluate_frames(potential: Potential, frames: Sequence[Atoms],
                    reporter: Reporter | None = None) -> tuple[dict[str, Any], Parity | None]:
    """The errors that `evaluate_potential` returns with what `energy_zero` adds, and the predictions they were taken from:
    None when it was asked to stop before the first."""
    record = PredictionRecorder()
    errors = evaluate_potential(potential, frames, reporter=reporter, each=record)
    if not errors["n_frames"]:
        return errors, None
    parity = record.parity()
    return errors | energy_zero(parity), parity


def save_parity(parity: Parity, path: Path) -> None:
    """Write predictions and labels as npz, one array a field. Raises StorageError."""
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **asdict(parity))


def load_parity(path: Path) -> Parity:
    """Read what `save_parity` wrote. Raises JobError when it is absent or damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Parity(**{name: stored[name] for name in Parity.__dataclass_fields__})
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise JobError(f"cannot read the predictions {path}: {error}", "evaluate again") from None
