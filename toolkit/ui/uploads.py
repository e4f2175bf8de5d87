"""Files that users upload: written to the disk under the run root, so that jobs and later sessions find them.

Streamlit receives a file on the disk, then reads it into memory, where it would stay until the tab is closed, twice.
Here it is freed as soon as it is kept: the web process holds at most `server.maxUploadSize` for each upload under way.
"""

from __future__ import annotations

import re
import shutil
import time
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from toolkit.errors import StorageError
from toolkit.jobs.run_dir import runs_root
from toolkit.storage import replacing
from toolkit.ui.explanations import explained

DATA_TYPES = ("xyz", "extxyz", "npz", "gz", "cif", "vasp", "traj", "pdb", "xml")
BLOCK_BYTES = 1 << 20


def pick_upload(page: str) -> str | None:
    """Widgets to upload a file, or to choose one that was uploaded before. Returns its path, or None yet.

    Raises StorageError when the file cannot be kept.
    """
    count = st.session_state.setdefault(f"{page}.uploads", 0)
    st.file_uploader("Extended XYZ, npz (MD17, rMD17, sGDML) or a structure file that ASE reads", type=list(DATA_TYPES),
                     key=f"{page}.upload.{count}", help=explained("upload"), on_change=_keep, args=(page, count))
    refused = st.session_state.pop(f"{page}.refused", None)
    if refused:
        raise refused
    kept = uploads()
    if not kept:
        return None
    return st.selectbox("Uploaded before, by anybody", kept, index=None, format_func=kept.get, key=f"{page}.uploaded",
                        persist_state="session", help=explained("upload"))


def save_upload(name: str, content: BinaryIO) -> Path:
    """Keep a file in a folder named by its content: same name, other content is another file; the same file is shared.

    name : as the user's browser gave it; only its harmless characters are kept. Raises StorageError.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", Path(name).name).lstrip(".") or "upload"
    digest = blake2b(digest_size=8)
    for block in iter(lambda: content.read(BLOCK_BYTES), b""):
        digest.update(block)
    path = runs_root() / "uploads" / digest.hexdigest() / safe[-100:]
    if not path.is_file():
        content.seek(0)
        with replacing(path) as temporary, open(temporary, "wb") as sink:
            shutil.copyfileobj(content, sink, BLOCK_BYTES)
    return path


def uploads() -> dict[str, str]:
    """Path -> name, size, time and first digits of the content's name of all uploaded files, newest first."""
    files = {path: path.stat() for path in (runs_root() / "uploads").rglob("[!.]*") if path.is_file()}
    return {str(path): f"{path.name} · {stat.st_size / 1e6:.2f} MB · "
                       f"{time.strftime('%d %b %H:%M', time.localtime(stat.st_mtime))} · {path.parent.name[:6]}"
            for path, stat in sorted(files.items(), key=lambda item: item[1].st_mtime, reverse=True)}


def _keep(page: str, count: int) -> None:
    """Keep and choose what was uploaded, before the page is drawn: a widget that is drawn copies its file once more."""
    file = st.session_state[f"{page}.upload.{count}"]
    if file is None:
        return
    try:
        st.session_state[f"{page}.uploaded"] = str(save_upload(file.name, file))
    except StorageError as error:
        st.session_state[f"{page}.refused"] = error
    st.session_state[f"{page}.uploads"] = count + 1  # another widget, which holds nothing
    context = get_script_run_ctx()
    if context is not None:
        context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)
