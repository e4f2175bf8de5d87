"""Frames of long scenes in files that Streamlit serves, so that a browser fetches the pieces it shows.

Files lie in `static/frames` under names that nobody can guess, since files there are served without a password. The
folder keeps within a size; what was not used for longest goes first, and what was not used for a day goes too.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np

from toolkit.errors import StorageError

FOLDER = Path(__file__).resolve().parents[2] / "static" / "frames"
ADDRESS = "app/static/frames"
MAX_BYTES = 640 << 20
"""Of all files together; Streamlit serves no static folder above 1 GB."""
MAX_AGE_S = 86_400.0
BLOCK_BYTES = 4 << 20
_SECRET = secrets.token_bytes(32)
_LOCK = threading.Lock()


def store(identity: str, num_frames: int, frame_bytes: int, read: Callable[[int, int], np.ndarray]) -> str:
    """Put frames into the file of this identity, those that are not there yet, and return its address.

    identity : names the content; a source that grows keeps its identity, one that changes has another
    read : (first, stop) -> records (stop - first, F), float32, of `frame_bytes` each
    Raises StorageError when the folder cannot be written.
    """
    name = blake2b(identity.encode(), key=_SECRET, digest_size=20).hexdigest() + ".f4"
    with _LOCK:
        try:
            FOLDER.mkdir(parents=True, exist_ok=True)
            _append(FOLDER / name, num_frames, frame_bytes, read)
            _make_room(FOLDER / name)
        except OSError as error:
            raise StorageError(f"cannot keep frames for the 3D view in {FOLDER}: {error.strerror or error}",
                               "free space on the disk, or let the app write there") from None
    return f"{ADDRESS}/{name}"


def remove_old() -> None:
    """Remove what an earlier server left and nobody used for a day."""
    for file in FOLDER.glob("*.f4"):
        with suppress(FileNotFoundError):  # another server was faster
            if file.stat().st_mtime < time.time() - MAX_AGE_S:
                file.unlink()


def _append(path: Path, num_frames: int, frame_bytes: int, read: Callable[[int, int], np.ndarray]) -> None:
    with open(path, "ab") as stream:
        kept = stream.tell() // frame_bytes
        if kept > num_frames:  # a run that was killed and resumed repeats its last frames
            kept = 0
        stream.truncate(kept * frame_bytes)
        block = max(1, BLOCK_BYTES // frame_bytes)
        for first in range(kept, num_frames, block):
            stream.write(read(first, min(first + block, num_frames)).tobytes())
    os.utime(path)


def _make_room(keep: Path) -> None:
    files = sorted(((file.stat().st_mtime, file.stat().st_size, file) for file in FOLDER.glob("*.f4") if file != keep),
                   reverse=True)
    total = keep.stat().st_size
    for _, size, file in files:
        total += size
        if total > MAX_BYTES:
            file.unlink(missing_ok=True)
    remove_old()
