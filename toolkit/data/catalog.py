"""Fetching catalogued data sets into a cache folder, verified by checksum."""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from pathlib import Path

import pooch

from toolkit.data.catalog_entries import CATALOG, CatalogEntry, RemoteFile
from toolkit.data.raw_frames import UnitStatement
from toolkit.errors import DataError, StorageError
from toolkit.storage import BLOCK_BYTES, replacing, write_text_atomic

PREFIX = "catalog:"
TIMEOUT_S = 60


def cache_folder() -> Path:
    """Where downloads are kept: the environment variable TOOLKIT_CACHE, else the user's cache folder."""
    return Path(os.environ.get("TOOLKIT_CACHE") or pooch.os_cache("toolkit")) / "datasets"


def catalog_entry(name: str) -> CatalogEntry:
    """The entry of this name. Raises DataError, with the names that exist, for another one."""
    if name not in CATALOG:
        raise DataError(f"found the catalogue name {name!r}, expected one of {sorted(CATALOG)}",
                        "or give the path of a file")
    return CATALOG[name]


def fetch(name: str, *, sha256: str | None = None, accept_unverified: bool = False) -> Path:
    """Download a catalogued data set unless it is in the cache already, and return its file.

    sha256 : checksum of the main file, for entries whose checksum is not known to us
    accept_unverified : take such a file as it comes; its checksum is recorded beside it and verified from then on
    Raises DataError when the name is unknown, a checksum differs or is missing, or the host cannot be reached.
    """
    entry = catalog_entry(name)
    folder = cache_folder() / name
    first, *companions = entry.files
    path = _fetch_file(first, folder, f"sha256:{sha256}" if sha256 else None, accept_unverified)
    for companion in companions:
        _fetch_file(companion, folder, None, accept_unverified)
    return path if entry.member is None else _unpack(path, entry.member)


def is_downloaded(name: str) -> bool:
    """Whether all files of an entry are in the cache, so that `fetch` needs no network. Raises DataError."""
    return all((cache_folder() / name / remote.name).is_file() for remote in catalog_entry(name).files)


def fetch_with_units(name: str) -> tuple[Path, UnitStatement]:
    """`fetch` together with the units that the catalogue states."""
    entry = catalog_entry(name)
    return fetch(name), UnitStatement(entry.energy_unit, entry.length_unit, "the catalogue")


def _fetch_file(remote: RemoteFile, folder: Path, given: str | None, accept_unverified: bool) -> Path:
    path = folder / remote.name
    record = _record(path)
    checksum = given or remote.checksum or (record.read_text(encoding="utf-8").strip() if record.is_file() else None)
    if checksum is None and not accept_unverified:
        raise DataError(f"the checksum of {remote.url} is not known, so its content cannot be verified",
                        "pass sha256=… to toolkit.data.catalog.fetch, or accept_unverified=True to trust this download "
                        "(its checksum is then recorded and checked every time)")
    if path.is_file():
        _verify(path, checksum)
    else:
        _download(remote, path, checksum)
    if remote.checksum is None and not record.is_file():
        write_text_atomic(record, checksum or f"sha256:{pooch.file_hash(str(path))}")
    return path


def _record(path: Path) -> Path:
    """Where the checksum of a file is kept that came without one."""
    return path.with_name(path.name + ".sha256")


def _verify(path: Path, checksum: str | None) -> None:
    if checksum is not None and not pooch.hashes.hash_matches(str(path), checksum):
        raise DataError(f"{path} does not have the checksum {checksum}: it is damaged or another file",
                        "delete it and fetch it again")


def _download(remote: RemoteFile, path: Path, checksum: str | None) -> None:
    pooch.get_logger().setLevel("WARNING")
    by_hand = f"check the connection, or download it elsewhere and put it at {path}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(remote.url, known_hash=checksum, fname=path.name, path=path.parent,
                       downloader=pooch.HTTPDownloader(timeout=TIMEOUT_S))
    except PermissionError as error:
        raise StorageError(f"cannot write {error.filename or path.parent}: {error.strerror}",
                           "set TOOLKIT_CACHE to a folder you may write to") from None
    except ValueError:
        raise DataError(f"{remote.url} did not deliver the file with checksum {checksum}", by_hand) from None
    except OSError as error:  # includes every requests exception
        reason = type(error).__name__ if "ConnectionPool" in str(error) else error
        raise DataError(f"cannot download {remote.url} ({reason})", by_hand) from None


def _is_whole(file: Path, member: zipfile.ZipInfo) -> bool:
    """Whether a file is what this archive holds, and undamaged."""
    if not file.is_file() or file.stat().st_size != member.file_size:
        return False
    checksum = 0
    with open(file, "rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            checksum = zlib.crc32(block, checksum)
    return checksum == member.CRC


def _unpack(archive: Path, member: str) -> Path:
    """One file out of a zip archive, written under its bare name beside the archive, whatever path it claims inside."""
    target = archive.with_name(Path(member).name)
    try:
        with zipfile.ZipFile(archive) as content:
            inside = [name for name in content.namelist() if Path(name).name == target.name and "__MACOSX" not in name]
            if len(inside) != 1:
                raise DataError(f"{archive} holds {content.namelist()[:10]}, expected {member} once",
                                "the publisher changed the archive: unpack it by hand and give the path")
            if _is_whole(target, content.getinfo(inside[0])):
                return target
            with replacing(target) as temporary, content.open(inside[0]) as source, open(temporary, "wb") as sink:
                shutil.copyfileobj(source, sink)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        _record(archive).unlink(missing_ok=True)  # else the whole archive would be refused as another file
        raise DataError(f"{archive} is not a complete zip archive ({error})", "delete it and fetch it again") from None
    return target
