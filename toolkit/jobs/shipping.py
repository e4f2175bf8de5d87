"""Shipped models: from a training run to a folder under trained_models/ that carries its own evidence.

Beside config, weights, metrics and card lies `sample.npz`: test frames with labels on which the model's errors are
stored in metrics.json. `check_shipped` computes them again, from the weights that are there.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from pydantic import Field

from toolkit.checks.passport import FILE_NAME as PASSPORT
from toolkit.checks.passport import with_section
from toolkit.config import StrictModel, TrainConfig, parse_config
from toolkit.data.datasets import load_splits
from toolkit.data.formats import read_frames
from toolkit.errors import DataError, ModelError, StorageError
from toolkit.jobs.run_dir import make_folder
from toolkit.models.checkpoint import load_tensors, read_model_config, save_tensors
from toolkit.models.compact import compact_weights
from toolkit.models.folders import SAMPLE, UNCERTAINTY_TENSORS, WEIGHTS, find_model, models_folder, weights_sha256
from toolkit.models.potential import load_potential
from toolkit.models.uncertainty import HEADER as UNCERTAINTY
from toolkit.storage import read_json, replacing, write_json, write_text_atomic
from toolkit.training.calibration_card import CALIBRATION, calibration_section
from toolkit.training.card import card_text
from toolkit.training.metrics import evaluate_potential
from toolkit.training.stability_card import STABILITY, stability_section

METRICS, CARD = "metrics.json", "CARD.md"
SECTIONS = {STABILITY: stability_section, CALIBRATION: calibration_section}
"""Record beside a model -> the section of its card."""

SAMPLE_FRAMES = 16
MAX_SAMPLE_BYTES = 40_000
MAX_TOTAL_BYTES = 20_000_000
RELATIVE_TOLERANCE = 1e-6
"""Of an error computed again in float64; another processor sums in another order."""


class ShippedAs(StrictModel):
    """What people are told: name under trained_models/, one paragraph, licence of the data, command to repeat it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    about: str
    licence: str
    command: str


def ship_model(model: str | Path, told: ShippedAs, *, replace: bool = False, compact: bool = False) -> Path:
    """Make `trained_models/NAME` from a training run (or renew a shipped model), check it, return the folder.

    Passport, stability record and uncertainty of the run come along when they are there. Made and checked elsewhere, it
    is put in place at the end: whatever goes wrong, what was shipped before stays.

    compact : store the same potential in fewer weights (`models.compact`). What is known of the old ones, passport,
        stability record and uncertainty, stays behind: make it anew
    Raises ModelError for a folder without metrics or a name that is taken (unless `replace`), DataError when the test
    frames cannot be read, StorageError above 20 MB for all shipped models together.
    """
    source, folder = find_model(model), models_folder() / told.name
    metrics = read_json(source / METRICS)
    if metrics is None or not metrics.get("test"):
        raise ModelError(f"found no test errors in {source / METRICS}", "finish the training, with test frames")
    if folder.exists() and not replace:
        raise ModelError(f"{folder} is there already", "ship under another name, or say --replace")
    frames = load_splits(parse_config(TrainConfig, metrics["train_config"]).data).test
    with _workshop() as workshop:
        fresh = workshop / "new"
        _copy(source, fresh, everything=source.resolve() == folder.resolve())
        if compact:
            _compact(fresh)
        _add_evidence(fresh, frames, metrics, told)
        check_shipped(fresh)
        _check_total(leave_out=folder)
        _put_in_place(fresh, folder, workshop / "old")
    return folder


def write_card_again(folder: Path) -> None:
    """Write CARD.md from what lies beside it; the section of the passport stays. Raises StorageError."""
    card = folder / CARD
    _, heading, sections = card.read_text(encoding="utf-8").partition("\n## ") if card.is_file() else ("", "", "")
    text = card_text(read_json(folder / METRICS) or {}, read_model_config(folder)) + heading + sections
    for name, section in SECTIONS.items():
        if (record := read_json(folder / name)) is not None:
            text = with_section(text, section(record))
    write_text_atomic(card, text)


def check_shipped(folder: Path) -> None:
    """Compute a shipped model's errors on its sample again and compare everything that it says of itself.

    Raises ModelError that names what does not belong together: weights, sample, metrics, passport, stability or card.
    """
    problems = list(_problems(folder))
    if problems:
        raise ModelError(f"{folder}: {'; '.join(problems)}", "ship the model again")


def write_sample(frames: Sequence[Atoms], path: Path) -> None:
    """Write labelled molecules in eV and Å as npz, readable by `read_frames`; smaller ones are padded with zeros.

    Raises DataError for periodic structures, StorageError above 40 kB.
    """
    if any(atoms.pbc.any() for atoms in frames):
        raise DataError("found periodic frames, samples are made of molecules", "ship a model of molecules")
    size = (len(frames), max(len(atoms) for atoms in frames))
    numbers, positions, forces = np.zeros(size, dtype=np.uint8), np.zeros((*size, 3)), np.zeros((*size, 3))
    for row, atoms in enumerate(frames):
        numbers[row, :len(atoms)] = atoms.numbers
        positions[row, :len(atoms)] = atoms.positions
        forces[row, :len(atoms)] = atoms.get_forces()
    units = json.dumps({"energy_unit": "eV", "length_unit": "Å"})
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, z=numbers, R=positions, E=[atoms.get_potential_energy() for atoms in frames],
                            F=forces, metadata=units)
    if path.stat().st_size > MAX_SAMPLE_BYTES:
        raise StorageError(f"{path.name} has {path.stat().st_size} bytes, expected at most {MAX_SAMPLE_BYTES}",
                           "ship a model of smaller molecules")


def _sample_errors(folder: Path) -> dict[str, Any]:
    potential = load_potential(folder, device="cpu", dtype="float64", backend="reference")
    errors = evaluate_potential(potential, read_frames(str(folder / SAMPLE)).frames)
    return {name: value for name, value in errors.items() if name != "stopped"}


@contextmanager
def _workshop() -> Iterator[Path]:
    """A folder among the shipped models that is none of them, gone afterwards. Raises StorageError."""
    make_folder(models_folder())
    try:
        with tempfile.TemporaryDirectory(prefix=".shipping-", dir=models_folder()) as name:
            yield Path(name)
    except OSError as error:
        raise StorageError(f"cannot write into {models_folder()}: {error.strerror or error}",
                           "free space on the disk or choose a folder you may write to (TOOLKIT_MODELS)") from None


def _put_in_place(fresh: Path, folder: Path, old: Path) -> None:
    """Move what was there to `old` and `fresh` in its place; it comes back when that fails."""
    try:
        if folder.exists():
            folder.replace(old)
        fresh.replace(folder)
    finally:
        if old.exists() and not folder.exists():
            old.replace(folder)


def _copy(source: Path, folder: Path, *, everything: bool) -> None:
    """Copy what belongs to a model, or everything, into a new folder."""
    make_folder(folder)
    belongs = ("config.json", WEIGHTS, CARD, PASSPORT, STABILITY, UNCERTAINTY, UNCERTAINTY_TENSORS, CALIBRATION)
    for path in source.iterdir():
        if path.is_file() and (everything or path.name in belongs):
            shutil.copyfile(path, folder / path.name)


def _compact(folder: Path) -> None:
    """Write the weights in fewer numbers, and remove what was found out about the old ones."""
    save_tensors(compact_weights(load_tensors(folder / WEIGHTS)), folder / WEIGHTS)
    for name in (PASSPORT, STABILITY, UNCERTAINTY, UNCERTAINTY_TENSORS, CALIBRATION):
        (folder / name).unlink(missing_ok=True)
    card = folder / CARD
    if card.is_file():
        write_text_atomic(card, card.read_text(encoding="utf-8").partition("\n## ")[0])


def _add_evidence(folder: Path, frames: Sequence[Atoms], metrics: dict[str, Any], told: ShippedAs) -> None:
    """Write the sample of test frames, metrics with the errors on it, and the card that says so."""
    chosen = np.linspace(0, len(frames) - 1, SAMPLE_FRAMES).round().astype(int)
    write_sample([frames[k] for k in chosen], folder / SAMPLE)
    sample = {"file": SAMPLE, "of_test_frames": chosen.tolist(), "weights_sha256": weights_sha256(folder),
              **_sample_errors(folder)}
    write_json({**metrics, "shipped": told.model_dump(), "sample": sample}, folder / METRICS)
    write_card_again(folder)


def _problems(folder: Path) -> Iterator[str]:
    metrics = read_json(folder / METRICS) or {}
    sample = metrics.get("sample")
    if not sample or not (folder / SAMPLE).is_file():
        yield "there is no sample to check it by"
        return
    weights = weights_sha256(folder)
    found = _sample_errors(folder)
    for name, said in sample.items():
        value = found.get(name)
        if isinstance(said, float) and (value is None or not math.isclose(value, said, rel_tol=RELATIVE_TOLERANCE)):
            yield f"{name} on the sample is {value}, {METRICS} says {said}"
    others = {name: read_json(folder / name) for name in (PASSPORT, STABILITY, UNCERTAINTY, CALIBRATION)}
    records = {METRICS: sample, **others}
    yield from (f"{name} is about other weights" for name, record in records.items()
                if record is not None and record.get("weights_sha256") != weights)
    card = (folder / CARD).read_text(encoding="utf-8") if (folder / CARD).is_file() else ""
    if card.partition("\n## ")[0].rstrip() != card_text(metrics, read_model_config(folder)).rstrip():
        yield f"{CARD} does not say what {METRICS} says"
    yield from (f"{CARD} does not say what {name} says" for name, section in SECTIONS.items()
                if records[name] is not None and section(records[name]).strip() not in card)


def _check_total(leave_out: Path) -> None:
    total = sum(path.stat().st_size for path in models_folder().rglob("*")
                if path.is_file() and leave_out not in path.parents)
    if total > MAX_TOTAL_BYTES:
        raise StorageError(f"shipped models take {total / 1e6:.1f} MB, expected at most {MAX_TOTAL_BYTES / 1e6:.0f}",
                           "ship a smaller one, or remove one")
