"""Writing files so that a crash, a kill or a full disk never leaves half of one behind."""

from __future__ import annotations

import os
from pathlib import Path

from toolkit.errors import StorageError


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write a small text file through a temporary neighbour and `os.replace`, so that readers never see half of it.

    Raises StorageError when the folder cannot be written or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}",
                           "free space on the disk or choose a folder you may write to") from None
