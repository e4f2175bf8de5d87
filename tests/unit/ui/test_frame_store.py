"""Frames kept in files for the browser: written once, grown, replaced, and cleaned up."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from toolkit.errors import StorageError
from toolkit.ui import frame_store


class Source:
    """Frames (T, 5) that count how often they are read."""

    def __init__(self, num_frames: int) -> None:
        self.frames = np.random.default_rng(num_frames).normal(size=(num_frames, 5)).astype(np.float32)
        self.read_frames: list[int] = []

    def read(self, first: int, stop: int) -> np.ndarray:
        self.read_frames += range(first, stop)
        return self.frames[first:stop]

    def store(self, num_frames: int, identity: str = "run") -> Path:
        address = frame_store.store(identity, num_frames, 20, self.read)
        assert address.startswith(frame_store.ADDRESS)
        return frame_store.FOLDER / address.rsplit("/", 1)[1]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(frame_store, "FOLDER", tmp_path / "frames")
    monkeypatch.setattr(frame_store, "BLOCK_BYTES", 100)
    return tmp_path / "frames"


def test_only_new_frames_are_read() -> None:
    source = Source(30)
    path = source.store(12)
    assert source.store(12) == path and source.read_frames == list(range(12))
    assert source.store(30) == path and source.read_frames == list(range(30))
    assert path.read_bytes() == source.frames.tobytes()


def test_half_a_frame_is_written_again() -> None:
    source = Source(30)
    path = source.store(12)
    os.truncate(path, 11 * 20 + 7)
    source.store(13)
    assert path.read_bytes() == source.frames[:13].tobytes()


def test_a_source_that_went_back_starts_anew() -> None:
    path = Source(30).store(30)
    other = Source(29)
    assert other.store(10) == path and path.read_bytes() == other.frames[:10].tobytes()


def test_names_do_not_follow_from_what_they_hold() -> None:
    names = {Source(3).store(3, identity).name for identity in ("a", "b")}
    assert len(names) == 2 and all(len(name) == 43 for name in names)


def test_what_was_not_used_for_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_store, "MAX_BYTES", 700)
    first, second = (Source(10).store(10, identity) for identity in ("first", "second"))
    for age, path in ((20.0, first), (10.0, second)):
        os.utime(path, (time.time() - age,) * 2)
    assert Source(10).store(10, "first") == first
    third = Source(20).store(20, "third")
    assert third.exists() and first.exists() and not second.exists()


def test_old_files_are_removed(folder: Path) -> None:
    path = Source(10).store(10, "old")
    os.utime(path, (time.time() - 2 * frame_store.MAX_AGE_S,) * 2)
    (folder / ".gitignore").write_text("*")
    Source(10).store(10, "new")
    assert not path.exists() and (folder / ".gitignore").exists()


def test_a_folder_that_cannot_be_made_is_reported(folder: Path) -> None:
    folder.write_text("a file is in the way")
    with pytest.raises(StorageError, match="cannot keep frames"):
        Source(3).store(3)


def test_a_server_that_starts_removes_what_nobody_used_for_a_day() -> None:
    old, new = Source(10).store(10, "old"), Source(10).store(10, "new")
    os.utime(old, (time.time() - 2 * frame_store.MAX_AGE_S,) * 2)
    frame_store.remove_old()
    assert new.exists() and not old.exists()
