"""A model's passport: every check, in every precision and on every backend that runs here, and where it is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from toolkit.checks.battery import MODEL_CHECKS, STRUCTURE_CHECKS, promises, run_check
from toolkit.checks.dynamics import nve
from toolkit.checks.precision import REFERENCE, variants
from toolkit.checks.result import CRITERIA, CheckResult, judge
from toolkit.checks.structures import molecular_crystal, random_crystal, random_molecule
from toolkit.config import DataConfig, parse_config
from toolkit.data.catalog import PREFIX as CATALOG
from toolkit.data.catalog import is_downloaded
from toolkit.data.embedded import PREFIX, embedded_names
from toolkit.data.formats import read_frames
from toolkit.errors import ConfigError, DataError
from toolkit.models.checkpoint import MAX_CONFIG_BYTES
from toolkit.models.folders import SAMPLE, find_model, weights_sha256
from toolkit.models.potential import Potential, load_potential
from toolkit.progress import Reporter, SilentReporter
from toolkit.storage import write_text_atomic
from toolkit.training.card import device_name, software_versions

FILE_NAME = "passport.json"
CARD_HEADING = "## Passport"
RATTLE_A = 0.1
"""Enough to give a perfect crystal forces beside which the rounding of float32 is small."""
NVE_SHARE = 100
"""A simulation counts as this many checks in the progress bar."""


@dataclass(frozen=True)
class Passport:
    """What was checked, on what, and with which outcome. Carries no date: the same model gives the same passport.

    structures : name -> chemical formula and periodic directions
    weights_sha256 : of the file, None for a bare Potential
    complete : False when the user stopped before the end
    """

    results: tuple[CheckResult, ...]
    structures: dict[str, str]
    model: str
    weights_sha256: str | None
    device: str
    complete: bool = True

    @property
    def passed(self) -> bool:
        """True when every check was made and passed."""
        return self.complete and all(result.passed for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `checks` has one entry per check, precision and backend."""
        return {"passed": self.passed, "complete": self.complete, "model": self.model,
                "weights_sha256": self.weights_sha256, "device": self.device, "versions": software_versions(),
                "structures": self.structures, "checks": {result.key: result.to_dict() for result in self.results}}

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows for people, one row per check: its name, a cell per precision and backend, the unit, and the
        law with the places where it was broken.
        """
        columns = list(dict.fromkeys((result.dtype, result.backend) for result in self.results))
        header = ["check", *(_column_name(*column) for column in columns), "unit", "law"]
        rows = []
        for name, criterion in CRITERIA.items():
            found = {(result.dtype, result.backend): result for result in self.results if result.name == name}
            if found:
                cells = [_cell(found[column]) if column in found else "" for column in columns]
                failures = [f"Failed in {_column_name(*column)}: {result.problem or result.worst_case}."
                            for column, result in found.items() if not result.passed]
                rows.append([name, *cells, criterion.unit, " ".join([criterion.sentence, *failures])])
        return header, rows


def passport(model: str | Path | Potential, frames: Sequence[Atoms] | None = None, *, nve_ps: float = 20.0,
             device: str = "auto", reporter: Reporter | None = None) -> Passport:
    """Check a model and keep the result: passport.json and a section of CARD.md in its folder, when that is writable.

    model : a name under trained_models/, a folder, or a Potential (then nothing is written)
    frames : structures it is meant for; by default from its own sample or data, else embedded ones whose elements it knows
    nve_ps : length of the simulation at constant energy, ps; 0 leaves it out
    reporter : hears progress and may ask to stop; an unfinished passport is not written
    Raises ModelError, DataError (elements the model does not know) and DeviceError.
    """
    folder = None if isinstance(model, Potential) else find_model(model)
    potential = model if folder is None else load_potential(folder, device=device, dtype="float64")
    start = frames[0] if frames else _known_structure(potential, folder)
    if start is not None and len(start) == 1:  # whose forces are zero wherever it is
        start = start.repeat(np.where(start.pbc, 2, 1))
    structures = _structures(potential, start)
    results, complete = _run(potential, structures, start, nve_ps, reporter or SilentReporter())
    made = Passport(
        results=results,
        structures={name: _describe(atoms) for name, atoms in structures.items()},
        model=f"{potential.config.architecture} for {', '.join(potential.species)}, "
              f"{potential.num_parameters} parameters",
        weights_sha256=weights_sha256(folder) if folder else None,
        device=device_name(potential.device),
        complete=complete,
    )
    if folder is not None and complete and os.access(folder, os.W_OK):
        write_passport(made, folder)
    return made


def write_passport(made: Passport, folder: Path) -> None:
    """Write passport.json and replace (or add) the section of CARD.md. Raises StorageError when that is impossible."""
    write_text_atomic(folder / FILE_NAME, json.dumps(made.to_dict(), indent=2, ensure_ascii=False) + "\n")
    put_section(folder, _card_section(made))


def put_section(folder: Path, section: str) -> None:
    """Replace (or add) a section of the card in a model's folder, where there is a card. Raises StorageError."""
    card = folder / "CARD.md"
    if card.is_file():
        write_text_atomic(card, with_section(card.read_text(encoding="utf-8", errors="replace"), section))


def with_section(text: str, section: str) -> str:
    """The text with the section of the same heading replaced, or added at the end."""
    heading = section.splitlines()[0]
    before, found, after = text.partition(f"{heading}\n")
    _, next_heading, rest = after.partition("\n## ") if found else ("", "", "")
    return f"{before.rstrip()}\n\n{section.rstrip()}\n{next_heading}{rest}"


def without_section(text: str, heading: str) -> str:
    """The text without the section of this heading, such as `## Stability`."""
    before, found, after = text.partition(f"{heading}\n")
    if not found:
        return text
    _, next_heading, rest = after.partition("\n## ")
    return f"{before.rstrip()}\n{next_heading}{rest}"


def _run(potential: Potential, structures: Mapping[str, Atoms], start: Atoms | None, nve_ps: float,
         reporter: Reporter) -> tuple[tuple[CheckResult, ...], bool]:
    """All results, and whether nobody stopped them."""
    subjects = variants(potential)
    work = [(subject, name) for subject in subjects for name in (*STRUCTURE_CHECKS, *MODEL_CHECKS)
            if promises(name, subject) and (name != "precision" or subject is not subjects[0])]
    simulated = subjects if nve_ps > 0.0 else []
    total = len(work) + NVE_SHARE * len(simulated)
    results = []
    for done, (subject, name) in enumerate(work):
        if reporter.should_stop():
            return tuple(results), False
        reporter.update(done, total, f"{name}, {subject.dtype}".replace("torch.", ""))
        result = run_check(name, subject, structures)
        if result is not None:
            results.append(result)
    for index, subject in enumerate(simulated):
        if reporter.should_stop():
            return tuple(results), False
        part = _Part(reporter, len(work) + NVE_SHARE * index, total)
        results.append(_simulate(subject, start, nve_ps, part))
    return tuple(results), not reporter.should_stop()


def _simulate(potential: Potential, start: Atoms | None, nve_ps: float, reporter: Reporter) -> CheckResult:
    if start is None:
        return judge(potential, "nve", {}, problem="no structure that the model knows: give DATA")
    return nve(potential, start, nve_ps, reporter)


class _Part:
    """Reports a simulation as a part of a larger piece of work."""

    def __init__(self, reporter: Reporter, first: int, total: int) -> None:
        self._reporter, self._first, self._total = reporter, first, total

    def update(self, step: int, total: int, message: str = "") -> None:
        """Scale the steps of the part to its share."""
        done = self._first + NVE_SHARE * step // max(total, 1)
        self._reporter.update(done, self._total, f"nve, {message}")

    def metrics(self, record: dict[str, Any]) -> None:
        """Pass on."""
        self._reporter.metrics(record)

    def should_stop(self) -> bool:
        """Pass on."""
        return self._reporter.should_stop()


def _structures(potential: Potential, start: Atoms | None) -> dict[str, Atoms]:
    """The structure the model is meant for, rattled out of any symmetry, and a molecule or crystal that it leaves open.

    The crystal is one of the given molecule: a model of molecules is rugged in an invented crystal of its elements
    (forces of 450 eV/Å were seen), where finite differences and float32 say little about its code.
    """
    structures: dict[str, Atoms] = {}
    if start is not None:
        structures["data"] = start.copy()
        structures["data"].rattle(RATTLE_A, seed=0)
    if start is None or start.pbc.any():
        structures["molecule"] = random_molecule(potential.species)
    if start is None or start.pbc.any() and not start.pbc.all():
        structures["crystal"] = random_crystal(potential.species)
    elif not start.pbc.any():
        structures["crystal"] = molecular_crystal(structures["data"])
    return structures


def _known_structure(potential: Potential, folder: Path | None) -> Atoms | None:
    """What the model is meant for: the first frame of its sample or its data, else of an embedded set whose elements it
    knows, best of the molecule it was trained on; else None."""
    metrics = {} if folder is None else _metrics(folder)
    sources = [] if folder is None else _own_sources(folder, metrics)
    trained_on = str(_get(metrics, "data", "sources"))
    sources += [DataConfig(train=PREFIX + name) for name in sorted(embedded_names(), key=lambda name: name not in trained_on)]
    for source in sources:
        try:
            atoms = read_frames(source.train, source).frames[0]
        except DataError:
            continue
        if set(atoms.get_chemical_symbols()) <= set(potential.species):
            return atoms
    return None


def _own_sources(folder: Path, metrics: dict[str, Any]) -> list[DataConfig]:
    """The sample that lies beside a shipped model, and what it was trained on where that needs no download."""
    sources = [DataConfig(train=str(folder / SAMPLE))] if (folder / SAMPLE).is_file() else []
    try:
        data = parse_config(DataConfig, _get(metrics, "train_config", "data"))
        here = not data.train.startswith(CATALOG) or is_downloaded(data.train.removeprefix(CATALOG))
    except (ConfigError, DataError):
        return sources
    return [*sources, data] if here else sources


def _metrics(folder: Path) -> dict[str, Any]:
    """metrics.json, or an empty dict where it is none."""
    try:
        with open(folder / "metrics.json", "rb") as stream:
            found = json.loads(stream.read(MAX_CONFIG_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _get(metrics: dict[str, Any], group: str, name: str) -> Any:
    found = metrics.get(group)
    return found.get(name) if isinstance(found, dict) else None


def _describe(atoms: Atoms) -> str:
    periodic = "".join(axis for axis, flag in zip("abc", atoms.pbc, strict=True) if flag)
    return f"{atoms.get_chemical_formula()}, {f'periodic along {periodic}' if periodic else 'not periodic'}"


def _column_name(dtype: str, backend: str) -> str:
    return dtype if backend == REFERENCE else f"{dtype} {backend}"


def _cell(result: CheckResult) -> str:
    if result.passed:
        return f"✓ {result.value:.2g} ≤ {result.threshold:g}"
    return "✗" if result.problem else f"✗ {result.value:.2g} > {result.threshold:g}"


def _card_section(made: Passport) -> str:
    header, rows = made.table()
    verdict = "every check passed" if made.passed else "**some checks failed**"
    structures = "; ".join(f"{name} {text}" for name, text in made.structures.items())
    versions = ", ".join(f"{name} {value}" for name, value in software_versions().items())
    lines = [CARD_HEADING, "", f"On {made.device} ({versions}), {verdict}. Structures: {structures}. "
             f"Weights: sha256 {made.weights_sha256}.", ""]
    lines += [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines) + "\n"
