"""Files on the server: what is listed, what may be named, and what stays closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import DataError
from toolkit.ui import server_files
from toolkit.ui.server_files import allowed_path, list_files


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An allowed folder with files in it, beside one that is not allowed."""
    for name in ("data/a.xyz", "data/deep/er/B.NPZ", "data/notes.txt", "data/config.json", "data/.hidden/c.xyz",
                 "data/__pycache__/d.xyz", "data/runs/e.xyz", "secret/f.xyz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n\nH 0 0 0\n")
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TOOLKIT_RUNS", str(tmp_path / "data" / "runs"))
    list_files.clear()
    return tmp_path / "data"


def found(*folders: Path, left_out: tuple[str, ...] = ()) -> dict[str, str]:
    return list_files(tuple(map(str, folders)), left_out)


def test_data_files_are_listed_near_ones_first(data: Path) -> None:
    assert found(data, left_out=(str(data / "runs"),)) == {
        "a.xyz": str(data / "a.xyz"), "deep/er/B.NPZ": str(data / "deep/er/B.NPZ")}


def test_links_that_leave_the_folders_are_neither_listed_nor_opened(data: Path) -> None:
    (data / "deep/inside.xyz").symlink_to(data / "a.xyz")
    (data / "outside.xyz").symlink_to(data.parent / "secret/f.xyz")
    (data / "folder").symlink_to(data.parent / "secret")
    (data / "round.xyz").symlink_to(data / "round.xyz")
    assert set(found(data)) == {"a.xyz", "deep/inside.xyz", "deep/er/B.NPZ", "runs/e.xyz"}
    assert allowed_path(str(data / "deep/inside.xyz")) == data / "a.xyz"
    for name in ("outside.xyz", "folder/f.xyz", "../secret/f.xyz"):
        with pytest.raises(DataError, match="expected one inside"):
            allowed_path(str(data / name))


def test_same_names_in_two_folders_stay_apart(data: Path) -> None:
    (data / "deep/e.xyz").write_text("")
    first, second = str(data / "deep/e.xyz"), str(data / "runs/e.xyz")
    assert found(data / "deep", data / "runs") == {
        "e.xyz": first, second: second, "er/B.NPZ": str(data / "deep/er/B.NPZ")}
    assert len(set(found(data, data / "deep").values())) == len(found(data, data / "deep")) == 4


@pytest.mark.parametrize(("limit", "value", "listed"), [("MAX_LISTED", 1, 1), ("MAX_VISITED", 3, 1)])
def test_a_large_disk_is_not_searched_to_its_end(limit: str, value: int, listed: int, data: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_files, limit, value)
    assert len(found(data)) == listed


def test_the_whole_disk_may_be_allowed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_files, "MAX_VISITED", 3)
    assert all(Path("/", name) == Path(path) for name, path in found(Path("/")).items())
    assert server_files._label(str(data / "a.xyz"), ("/",), {}) == str(data / "a.xyz").lstrip("/")
