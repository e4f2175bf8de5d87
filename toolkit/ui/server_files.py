"""Files on the server that may be named on a page: those in the allowed folders, and nothing else."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

import streamlit as st

from toolkit.data.catalog import cache_folder
from toolkit.errors import DataError
from toolkit.jobs.run_dir import runs_root
from toolkit.ui.explanations import explained
from toolkit.ui.uploads import DATA_TYPES

REPOSITORY = Path(__file__).resolve().parents[2]
LISTED = tuple(f".{kind}" for kind in DATA_TYPES if kind != "xml")
"""Endings of files that are offered; of the others most hold something else, and a path can be typed."""
MAX_LISTED, MAX_VISITED = 500, 20_000
"""Files that are offered, and entries of folders that are looked at to find them."""


def pick_server_file(page: str) -> str | None:
    """A list of the files in the allowed folders, in which a path can be typed too. Returns the path, or None yet.

    Raises DataError for a path outside these folders.
    """
    folders = data_folders()
    found = list_files(tuple(map(str, folders)), (str(runs_root().resolve()), str(cache_folder().resolve())))
    text = st.selectbox("Choose a file on the server, or type its path", list(found), index=None, key=f"{page}.path",
                        accept_new_options=True, persist_state="session", placeholder="frames.xyz",
                        help="Allowed folders: " + ", ".join(map(str, folders)) + ". " + explained("path"))
    return str(allowed_path(found.get(text, text))) if text else None


def data_folders() -> list[Path]:
    """Folders whose files may be named on a page: TOOLKIT_DATA (separated by ':'), else the one around this project."""
    named = os.environ.get("TOOLKIT_DATA", "")
    folders = [Path(part) for part in named.split(os.pathsep) if part] or [REPOSITORY.parent]
    return [folder.resolve() for folder in [*folders, runs_root()]]


def allowed_path(text: str) -> Path:
    """The path a user named, when it lies in an allowed folder. Raises DataError otherwise."""
    try:
        path = Path(text.strip()).expanduser().resolve()
    except (ValueError, RuntimeError, OSError) as error:  # a null character, an unknown user, a loop of links
        raise DataError(f"found {text.strip()!r}, which is no usable path: {error}", "check the path") from None
    if not any(path.is_relative_to(folder) for folder in data_folders()):
        raise DataError(f"found the path {text.strip()!r}, expected one inside {' or '.join(map(str, data_folders()))}",
                        "upload the file, or set TOOLKIT_DATA to the folders that may be read")
    return path


@st.cache_data(ttl=20, max_entries=4, show_spinner=False)
def list_files(folders: tuple[str, ...], left_out: tuple[str, ...]) -> dict[str, str]:
    """Data files in folders, near the top first: what a list shows of them -> path. The same files for all sessions.

    Hidden folders and those in `left_out` are skipped, and links that lead out of the folders.
    """
    waiting = deque(folder for folder in folders if folder not in left_out)
    found: dict[str, str] = {}
    visited = 0
    while waiting and len(found) < MAX_LISTED and visited < MAX_VISITED:
        entries = _entries(waiting.popleft())
        visited += len(entries)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.path not in left_out + folders:
                    waiting.append(entry.path)
            elif entry.name.lower().endswith(LISTED) and os.path.isfile(entry.path) and _is_inside(entry.path, folders):
                found[_label(entry.path, folders, found)] = entry.path
    return dict(list(found.items())[:MAX_LISTED])


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if entry.name[0] not in "._"), key=lambda entry: entry.name)
    except OSError:  # a folder that may not be read
        return []


def _is_inside(path: str, folders: tuple[str, ...]) -> bool:
    """Whether the file is in one of the folders after all links are followed."""
    return any(Path(path).resolve().is_relative_to(folder) for folder in folders)


def _label(path: str, folders: tuple[str, ...], taken: dict[str, str]) -> str:
    """The path within the first of the folders it is in, in full where another file has the same."""
    short = next(os.path.relpath(path, folder) for folder in folders if Path(path).is_relative_to(folder))
    return path if short in taken else short
