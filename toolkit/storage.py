"""Writing files so that a crash, a kill or a full disk never leaves half of one behind."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from toolkit.errors import StorageError, ToolkitError

BLOCK_BYTES = 1 << 20


@contextmanager
def replacing(path: Path, *, make_folder: bool = True) -> Iterator[Path]:
    """Yield a temporary neighbour to write; it takes the place of `path` when the block ends well, else it is removed.

    Readers never see half a file, and a failure keeps the previous one. With `make_folder` a missing
    folder is made.
    Raises StorageError when the folder cannot be written or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}",
                           "free space on the disk or choose a folder you may write to") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def reachable(path: Path, error: type[ToolkitError] = StorageError) -> Path:
    """The path, whether something is there or not. Raises `error` when it lies where one may not look."""
    try:
        (path / "anything").is_file()
    except OSError as found:
        raise error(f"cannot look at {path}: {found.strerror}", "give a path that you may read") from None
    return path


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write a small text file as one unit, flushed to the disk. Raises StorageError when that is impossible."""
    with replacing(Path(path)) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def write_json(values: dict[str, Any], path: str | Path) -> None:
    """Write a result as JSON (numbers that are not finite become null). Raises StorageError when that is impossible."""
    write_text_atomic(path, json.dumps(_finite(values), indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object, or None when the file is absent, damaged or something else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read block by block."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
