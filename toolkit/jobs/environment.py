"""What a run was made of: versions, device, and the hashes of its data and weights, kept as `environment.json`."""

from __future__ import annotations

import functools
import platform
import sys
from pathlib import Path
from typing import Any

from toolkit import __version__
from toolkit.jobs.inputs import input_hashes, require_same
from toolkit.jobs.runner import Task
from toolkit.models.folders import WEIGHTS, weights_sha256
from toolkit.models.potential import resolve_device
from toolkit.progress import Reporter
from toolkit.storage import read_json, write_json
from toolkit.training.card import device_name, software_versions

FILE = "environment.json"


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

    Raises ConfigError where a run is to go on with files that have changed since; DeviceError, StorageError.
    """
    inputs = input_hashes(config)
    if resume:
        require_same(inputs, (read_json(run_dir / FILE) or {}).get("inputs_sha256", {}))
    write_json({"toolkit": __version__, "versions": software_versions(), "platform": platform.platform(),
                "device": device_name(resolve_device(str(config.get("device", "auto")))), "command": sys.argv,
                "inputs_sha256": inputs}, run_dir / FILE)


def record_results(run_dir: Path, config: dict[str, Any]) -> None:
    """Add the hash of weights that were trained, and of data that were fetched meanwhile. Raises StorageError."""
    noted = read_json(run_dir / FILE) or {}
    known = noted.get("inputs_sha256", {})
    noted["inputs_sha256"] = known | input_hashes(config, leave_out=known)
    trained = run_dir / "model"
    if (trained / WEIGHTS).is_file():
        noted["weights_sha256"] = weights_sha256(trained)
    write_json(noted, run_dir / FILE)
