"""Downloads from a server on this machine only: verified, refused when unknown, kept, and clear when offline."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from toolkit.data import catalog
from toolkit.data.catalog_entries import CATALOG, CatalogEntry, RemoteFile
from toolkit.data.formats import read_frames
from toolkit.errors import DataError, StorageError


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of a server on the loopback interface and the folder it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


@pytest.fixture
def publish(served, npz_file, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts an npz on the server and into the catalogue as `local`; keyword arguments change the entry."""
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))

    def make(known: bool = True, content: bytes | None = None, name: str = "frames.npz",
             member: str | None = None) -> str:
        content = npz_file().read_bytes() if content is None else content
        address, folder = served
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        remote = RemoteFile(f"{address}/{name}", f"sha256:{digest}" if known else None)
        entry = CatalogEntry("ethanol", "CC0-1.0", "nobody", "eV", "Å", (remote,), member)
        monkeypatch.setitem(CATALOG, "local", entry)
        return digest
    return make


def test_download_verify_and_reuse(publish, served) -> None:
    publish()
    path = catalog.fetch("local")
    assert path.is_file() and path.is_relative_to(catalog.cache_folder())
    (served[1] / "frames.npz").unlink()
    assert catalog.fetch("local") == path
    read = read_frames("catalog:local")
    assert len(read.frames) == 300 and read.report.evidence.startswith("energy in eV: the catalogue, bond stiffness")


def test_a_changed_download_is_refused_and_not_kept(publish, served) -> None:
    publish()
    (served[1] / "frames.npz").write_bytes(b"something else")
    with pytest.raises(DataError, match="did not deliver the file with checksum sha256:.*put it at"):
        catalog.fetch("local")
    assert not list(catalog.cache_folder().rglob("*.npz"))


def test_a_damaged_cache_is_noticed(publish) -> None:
    publish()
    catalog.fetch("local").write_bytes(b"rot")
    with pytest.raises(DataError, match="does not have the checksum"):
        catalog.fetch("local")


def test_unknown_checksums_need_consent_and_are_remembered(publish) -> None:
    digest = publish(known=False)
    with pytest.raises(DataError, match="checksum of http://127.0.0.1.* is not known.*accept_unverified=True"):
        read_frames("catalog:local")
    path = catalog.fetch("local", accept_unverified=True)
    assert path.with_name("frames.npz.sha256").read_text() == f"sha256:{digest}"
    assert catalog.fetch("local") == path
    path.write_bytes(b"changed behind our back")
    with pytest.raises(DataError, match="does not have the checksum"):
        catalog.fetch("local")


def test_a_checksum_from_the_user(publish) -> None:
    digest = publish(known=False)
    with pytest.raises(DataError, match="did not deliver the file with checksum"):
        catalog.fetch("local", sha256="0" * 64)
    assert catalog.fetch("local", sha256=digest).is_file()


def test_absent_file_and_no_network(publish, served, monkeypatch: pytest.MonkeyPatch) -> None:
    publish()
    (served[1] / "frames.npz").unlink()
    with pytest.raises(DataError, match="cannot download http://127.0.0.1.*404.*put it at .*frames.npz"):
        catalog.fetch("local")
    dead = RemoteFile("http://127.0.0.1:1/frames.npz", "sha256:" + "0" * 64)
    monkeypatch.setitem(CATALOG, "local", CatalogEntry("", "", "", "eV", "Å", (dead,)))
    with pytest.raises(DataError, match=r"cannot download http://127.0.0.1:1/frames.npz \(ConnectionError\)"):
        catalog.fetch("local")


def test_a_file_put_there_by_hand(publish, served, npz_file) -> None:
    publish()
    (served[1] / "frames.npz").unlink()
    target = catalog.cache_folder() / "local" / "frames.npz"
    target.parent.mkdir(parents=True)
    target.write_bytes(npz_file().read_bytes())
    assert catalog.fetch("local") == target


def test_unwritable_cache(publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish()
    (tmp_path / "blocked").write_text("a file where a folder is needed")
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "blocked"))
    with pytest.raises((StorageError, DataError), match="blocked"):
        catalog.fetch("local")


def _zip(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def test_zip_members_stay_in_the_cache(publish, npz_file, tmp_path: Path) -> None:
    content = npz_file().read_bytes()
    archive = _zip(**{"..__..__..__frames-train.npz": content, "MACOSX____frames": b"", "frames-test.npz": b"test"})
    publish(name="set.zip", content=archive, member="frames-train.npz")
    path = catalog.fetch("local")
    assert path == catalog.cache_folder() / "local" / "frames-train.npz" and path.read_bytes() == content
    assert not list(tmp_path.parent.glob("frames-train.npz")) and not list(tmp_path.glob("frames-train.npz"))
    assert len(read_frames("catalog:local").frames) == 300


def test_a_member_that_was_changed_is_unpacked_again(publish, npz_file) -> None:
    content = npz_file().read_bytes()
    publish(name="set.zip", content=_zip(**{"frames.npz": content}), member="frames.npz")
    path = catalog.fetch("local")
    first = path.stat().st_mtime_ns
    assert catalog.fetch("local").stat().st_mtime_ns == first
    path.write_bytes(content[:-1] + b"?")
    assert catalog.fetch("local").read_bytes() == content


def test_zip_without_the_member_and_broken_zip(publish) -> None:
    publish(name="set.zip", content=_zip(other=b""), member="frames.npz")
    with pytest.raises(DataError, match=r"holds \['other'\], expected frames.npz"):
        catalog.fetch("local")
    publish(name="bad.zip", content=b"PK but no more", member="frames.npz")
    with pytest.raises(DataError, match="bad.zip is not a complete zip archive"):
        catalog.fetch("local")


def test_a_damaged_archive_is_not_taken_for_the_right_one(publish, npz_file) -> None:
    """Neither a broken entry nor a file cut short leaves a checksum that the whole archive would be refused by."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(npz_file(), "frames.npz")
    whole = buffer.getvalue()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 0xFF
    for content in (bytes(damaged), whole[:len(whole) // 2]):
        publish(known=False, content=content, name="set.zip", member="frames.npz")
        with pytest.raises(DataError, match="not a complete zip archive"):
            catalog.fetch("local", accept_unverified=True)
        (catalog.cache_folder() / "local" / "set.zip").unlink()
    publish(known=False, content=whole, name="set.zip", member="frames.npz")
    assert catalog.fetch("local", accept_unverified=True).name == "frames.npz"


def test_real_entries_are_well_formed() -> None:
    assert {"rmd17_aspirin", "rmd17_aspirin_test", "md17_aspirin", "sgdml_aspirin", "3bpa_300K", "qm9"} <= set(CATALOG)
    for name, entry in CATALOG.items():
        assert entry.description and entry.licence and entry.citation, name
        for remote in entry.files:
            assert remote.url.startswith(("http://", "https://")) and "/" not in remote.name
            kind, _, digest = (remote.checksum or "sha256:" + "0" * 64).partition(":")
            assert len(digest) == {"sha256": 64, "md5": 32}[kind] and int(digest, 16) >= 0
    with pytest.raises(DataError, match="'nothing', expected one of"):
        catalog.fetch("nothing")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["rmd17_aspirin", "rmd17_uracil_test"])
def test_checksums_are_those_of_the_published_files(name: str, shared_data: Path) -> None:
    remote = CATALOG[name].files[0]
    assert remote.checksum == f"sha256:{hashlib.sha256((shared_data / 'rmd17' / remote.name).read_bytes()).hexdigest()}"


QM9_WATER = """3
gdb 3\t799.5\t437.9\t282.9\t1.85\t6.31\t-0.29\t0.06\t0.36\t19.0\t0.021\t-76.404702\t-76.4\t-76.4\t-76.4\t6.0\t
O\t-0.0344\t0.9775\t0.0076\t-0.58
H\t0.0648\t0.0206\t1.5*^-3\t0.29
H\t0.8718\t1.3008\t0.0007\t0.29
1341\t1341
O\tO
InChI=1S/H2O/h1H2\tInChI=1S/H2O/h1H2
"""


def test_qm9_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "dsgdb9nsd.xyz.tar.bz2", "w:bz2") as archive:
        for number in (2, 1):
            member = tarfile.TarInfo(f"dsgdb9nsd_{number:06d}.xyz")
            member.size = len(QM9_WATER)
            archive.addfile(member, io.BytesIO(QM9_WATER.encode()))
    read = read_frames(str(tmp_path / "dsgdb9nsd.xyz.tar.bz2"))
    assert read.report.energy_unit == "Hartree" and read.report.missing == {"forces": 2}
    assert read.frames[0].get_potential_energy() == pytest.approx(-76.404702 * 27.211386, rel=1e-6)
    np.testing.assert_allclose(read.frames[0].positions[1], [0.0648, 0.0206, 0.0015])
    (tmp_path / "cut.tar.bz2").write_bytes((tmp_path / "dsgdb9nsd.xyz.tar.bz2").read_bytes()[:200])
    with pytest.raises(DataError, match="is not a complete QM9 archive"):
        read_frames(str(tmp_path / "cut.tar.bz2"))
