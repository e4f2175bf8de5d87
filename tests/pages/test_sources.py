"""Where data come from: a list of files on the server, and public data sets that are downloaded once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.pages.test_pages import XYZ, metrics, texts
from toolkit.data import catalog
from toolkit.data.catalog_entries import CATALOG, CatalogEntry, RemoteFile
from toolkit.ui.server_files import list_files

CONTENT = XYZ.replace("{nan}", "0.0").encode()
PAGE = "pages/1_Dataset.py"


def test_a_file_on_the_server_is_chosen_from_a_list(open_page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "h2").mkdir(parents=True)
    (tmp_path / "data" / "h2" / "frames.xyz").write_bytes(CONTENT)
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path / "data"))
    list_files.clear()
    at = open_page(PAGE)
    at.selectbox(key="dataset.source").select("File on the server").run()
    assert at.selectbox(key="dataset.path").options == ["h2/frames.xyz"] and "Choose a file" in texts(at)
    at.selectbox(key="dataset.path").select("h2/frames.xyz").run()
    assert not at.exception and not at.error and metrics(at)["Frames"] == "3"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A public data set of three frames, and an empty cache."""
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    file = RemoteFile("https://example.invalid/tiny.xyz", f"sha256:{hashlib.sha256(CONTENT).hexdigest()}")
    entry = CatalogEntry("three frames of H2", "CC0-1.0", "nobody (2026)", "eV", "Å", (file,))
    monkeypatch.setitem(CATALOG, "tiny", entry)
    return "tiny"


def test_a_public_data_set_is_downloaded_once(open_page, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: object, **named: object) -> None:
        raise ConnectionError("no route to host")

    def network(url: str, known_hash: str, fname: str, path: Path, downloader: object) -> None:
        (path / fname).write_bytes(CONTENT)

    at = open_page(PAGE)
    at.selectbox(key="dataset.source").select("Public data set").run()
    at.selectbox(key="dataset.entry").select(tiny).run()
    assert "CC0-1.0" in texts(at) and "Choose a file" in texts(at) and not at.metric
    monkeypatch.setattr(catalog.pooch, "retrieve", no_network)
    at.button(key="dataset.download").click().run()
    assert not at.exception and "cannot download" in at.error[0].value and "no route" in at.error[0].value
    monkeypatch.setattr(catalog.pooch, "retrieve", network)
    at.button(key="dataset.download").click().run()
    assert not at.exception and not at.error and metrics(at)["Frames"] == "3"
    at = open_page(PAGE)
    at.selectbox(key="dataset.source").select("Public data set").run()
    assert at.selectbox(key="dataset.entry").options[0] == "tiny · downloaded" and metrics(at)["Frames"] == "3"


def test_what_cannot_be_verified_is_not_offered(open_page, tiny: str) -> None:
    at = open_page(PAGE)
    at.selectbox(key="dataset.source").select("Public data set").run()
    offered = set(at.selectbox(key="dataset.entry").options)
    assert tiny in offered and offered < set(CATALOG)
    assert all(CATALOG[name].files[0].checksum for name in offered)
