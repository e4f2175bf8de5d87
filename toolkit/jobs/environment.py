"""What a run was made of: versions, device, and the hashes of its data and weights, kept as `environment.json`."""

from __future__ import annotations

import functools
import platform
import sys
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from toolkit import __version__
from toolkit.data import catalog, embedded
from toolkit.data.packed import HEADER, is_packed
from toolkit.errors import JobError, ToolkitError
from toolkit.jobs.run_dir import find_run, read_json
from toolkit.jobs.runner import Task
from toolkit.jobs.sources import RUN_PREFIX
from toolkit.models.folders import WEIGHTS, find_model, weights_sha256
from toolkit.models.potential import resolve_device
from toolkit.progress import Reporter
from toolkit.storage import file_sha256, reachable, write_json
from toolkit.training.card import device_name, software_versions

FILE = "environment.json"
SOURCES = ("train", "val", "test", "index_file", "structure", "model", "models", "start_from", "teachers", "sampler")
"""Fields of a configuration that name data or a model."""


def recorded(task: Task) -> Task:
    """The same task, which first notes in its run folder what it is made of, and in the end the weights it made."""

    @functools.wraps(task)
    def run(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
        record_environment(run_dir, config, resume)
        result = task(config, run_dir, resume, reporter)
        record_results(run_dir, config)
        return result

    return run


def record_environment(run_dir: Path, config: dict[str, Any], resume: bool = False) -> None:
    """Note software, device and the hashes of what the configuration names.

    Raises JobError where a run is to go on with files that have changed since; DeviceError, StorageError.
    """
    inputs = input_hashes(config)
    if resume:
        _require_same(inputs, (read_json(run_dir / FILE) or {}).get("inputs_sha256", {}))
    write_json({"toolkit": __version__, "versions": software_versions(), "platform": platform.platform(),
                "device": device_name(resolve_device(str(config.get("device", "auto")))), "command": sys.argv,
                "inputs_sha256": inputs}, run_dir / FILE)


def _require_same(inputs: dict[str, str], earlier: dict[str, str]) -> None:
    """With other frames a split falls differently: what was learned from would be tested on."""
    changed = [source for source, found in inputs.items() if earlier.get(source, found) != found]
    if changed:
        raise JobError(f"found {', '.join(changed)} changed since the run began, expected the same to go on with",
                       "put it back as it was, or start a new run")


def record_results(run_dir: Path, config: dict[str, Any]) -> None:
    """Add the hash of weights that were trained, and of data that were fetched meanwhile. Raises StorageError."""
    noted = read_json(run_dir / FILE) or {}
    known = noted.get("inputs_sha256", {})
    noted["inputs_sha256"] = known | input_hashes(config, leave_out=known)
    trained = run_dir / "model"
    if (trained / WEIGHTS).is_file():
        noted["weights_sha256"] = weights_sha256(trained)
    write_json(noted, run_dir / FILE)


def input_hashes(config: dict[str, Any], leave_out: Container[str] = ()) -> dict[str, str]:
    """Source -> SHA-256 of its file, for all that a configuration names and that is on this disk."""
    files = {source: source_file(source) for source in named_sources(config) if source not in leave_out}
    return {source: file_sha256(path) for source, path in files.items() if path is not None}


def named_sources(config: dict[str, Any]) -> Iterator[str]:
    """Data and models that a configuration names, at any depth."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from named_sources(value)
        elif name in SOURCES:
            yield from (part for part in (value if isinstance(value, list) else [value]) if isinstance(part, str))


def source_file(source: str) -> Path | None:
    """The file behind a data source, an earlier run or a model, when it is on this disk. It downloads nothing."""
    with suppress(ToolkitError):
        path = _locate(source)
        return path if path.is_file() else None
    return None


def _locate(source: str) -> Path:
    prefix, _, name = source.rpartition(":")
    if f"{prefix}:" == embedded.PREFIX:
        return embedded.embedded_path(name)
    if f"{prefix}:" == catalog.PREFIX:
        return catalog.cache_folder() / name / catalog.catalog_entry(name).files[0].name
    if f"{prefix}:" == RUN_PREFIX:
        return find_run(name) / "trajectory.h5"
    path = reachable(Path(source).expanduser())
    if is_packed(path):
        return path / HEADER
    return path if path.is_file() else find_model(source) / WEIGHTS
