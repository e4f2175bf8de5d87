"""The files that a configuration names, data and models, by their hashes: what is gone on with must be the same."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from toolkit.data import catalog, embedded
from toolkit.data.packed import HEADER, is_packed
from toolkit.errors import ConfigError, ToolkitError
from toolkit.jobs.run_dir import find_run
from toolkit.jobs.sources import RUN_PREFIX
from toolkit.models.folders import WEIGHTS, find_model
from toolkit.storage import file_sha256, reachable

SOURCES = frozenset({"train", "val", "test", "index_file", "structure", "source", "model", "models", "inner_model",
                     "start_from", "teachers", "sampler"})
"""Fields of a configuration that name data or a model."""


def require_same(inputs: dict[str, str], earlier: dict[str, str]) -> None:
    """Raise ConfigError where a file has changed: with other frames a split falls differently, and what was learned from
    would be tested on; of other weights results do not belong together."""
    changed = [source for source, found in inputs.items() if earlier.get(source, found) != found]
    if changed:
        raise ConfigError(f"found {', '.join(changed)} changed since the run began, expected the same to go on with",
                          "put it back as it was, or start a new run in another folder")


def input_hashes(config: dict[str, Any], leave_out: Container[str] = ()) -> dict[str, str]:
    """Source -> SHA-256 of its file, for all that a configuration names and that is on this disk."""
    files = {source: source_file(source) for source in named_sources(config) if source not in leave_out}
    return {source: _sha256(path) for source, path in files.items() if path is not None}


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _sha256_as_of(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=64)
def _sha256_as_of(path: Path, size: int, modified_ns: int, inode: int) -> str:
    """Of a file that is as it was then: a job asks twice at its start, and files may be large."""
    return file_sha256(path)


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
