"""Uploads are kept by their content: nobody's file is overwritten, and the same file is kept once."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from toolkit.errors import StorageError
from toolkit.ui import uploads
from toolkit.ui.uploads import save_upload


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOOLKIT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(uploads, "BLOCK_BYTES", 1000)
    return tmp_path / "runs"


def test_files_of_one_name_uploaded_at_once_are_all_kept() -> None:
    contents = [bytes([k % 4]) * 50_000 for k in range(32)]
    with ThreadPoolExecutor(8) as people:
        paths = list(people.map(lambda content: save_upload("frames.xyz", io.BytesIO(content)), contents))
    assert len(set(paths)) == 4 and {path.name for path in paths} == {"frames.xyz"}
    assert all(path.read_bytes() == content for path, content in zip(paths, contents, strict=True))
    assert sorted(uploads.uploads()) == sorted(map(str, set(paths)))
    assert len(set(uploads.uploads().values())) == 4


@pytest.mark.parametrize(("name", "kept"), [("../../etc/passwd", "passwd"), (".bashrc", "bashrc"), ("..", "upload"),
                                            ("a b;c.xyz", "a_b_c.xyz"), ("x" * 300 + ".npz", "x" * 96 + ".npz")])
def test_names_are_made_harmless(name: str, kept: str, runs: Path) -> None:
    path = save_upload(name, io.BytesIO(b"1"))
    assert path.name == kept and path.parent.parent == runs / "uploads"


def test_a_disk_that_refuses_is_reported(runs: Path) -> None:
    runs.write_text("a file is in the way")
    with pytest.raises(StorageError, match="cannot write"):
        save_upload("a.xyz", io.BytesIO(b"1"))
