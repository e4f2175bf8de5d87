"""What a user can choose from: models, presets, and data (embedded, uploaded, or on the server)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from toolkit.config import DataConfig
from toolkit.data.catalog import PREFIX as CATALOG_PREFIX
from toolkit.data.embedded import PREFIX, embedded_names
from toolkit.errors import DataError
from toolkit.jobs.run_dir import list_runs, runs_root
from toolkit.models.folders import shipped_models
from toolkit.storage import replacing
from toolkit.ui.explanations import explained

REPOSITORY = Path(__file__).resolve().parents[2]
DATA_TYPES = ["xyz", "extxyz", "npz", "gz", "cif", "vasp", "traj", "db", "json", "pdb", "xml"]
PRESETS = {"coffee break": "coffee_break", "tutorial": "aspirin_quick", "paper": "paper"}
"""Name -> file in configs/, for two minutes and ten minutes on a CPU core, and a day on a GPU."""
UPLOADED, ON_SERVER = "Uploaded file", "File on the server"


def model_choices() -> dict[str, str]:
    """Label -> what `toolkit.load` takes: shipped models, then the models of training runs, newest first."""
    choices = {f"{name} (shipped)": name for name in shipped_models()}
    for run in list_runs("train"):
        if (run.path / "model" / "weights.safetensors").is_file():
            choices[f"{run.run_id} ({run.state})"] = str(run.path / "model")
    return choices


def pick_model(page: str) -> str | None:
    """A list of the models. Returns what `toolkit.load` takes, or None, and a link to training, where there is none."""
    models = model_choices()
    if not models:
        st.info("There is no model yet. Train one first.")
        st.page_link("pages/2_Train.py", label="Go to training", icon=":material/model_training:")
        return None
    return models[st.selectbox("Model", list(models), key=f"{page}.model", persist_state="session",
                               help=explained("model"))]


def pick_structure(page: str) -> str | None:
    """As `pick_source`, with the last frames of molecular dynamics runs as further choices."""
    earlier = {f"Last frame of {run.run_id}": f"run:{run.run_id}" for run in list_runs("md")
               if (run.path / "trajectory.h5").exists()}
    return pick_source(page, "Structure", more=earlier)


def pick_frame(page: str, structure: str | None) -> int:
    """Which frame of a structure's source: by default the first, of an earlier run the last."""
    is_run = (structure or "").startswith("run:")
    return int(st.number_input("Frame", value=-1 if is_run else 0, step=1, key=f"{page}.frame.{is_run}",
                               help=explained("frame")))


def presets() -> dict[str, Path]:
    """Name -> path of the ready-made training configurations: three for lessons, then the rest of configs/."""
    folder = REPOSITORY / "configs"
    first = {name: folder / f"{stem}.yaml" for name, stem in PRESETS.items()}
    rest = [path for path in sorted(folder.glob("*.yaml")) if path not in first.values()]
    return {**first, **{path.stem.replace("_", " "): path for path in rest}}


def check_sources(data: DataConfig) -> None:
    """Refuse files outside the allowed folders, which a configuration may name too. Raises DataError."""
    for source in (data.train, data.val, data.test, data.split.index_file):
        if source and not source.startswith((PREFIX, CATALOG_PREFIX)):
            allowed_path(source)


def source_label(source: str) -> str:
    """The name in a list of a source that a configuration names."""
    is_embedded = source.removeprefix(PREFIX) in embedded_names() and source.startswith(PREFIX)
    return f"Embedded {source.removeprefix(PREFIX)}" if is_embedded else f"As configured: {source}"


def pick_source(page: str, label: str = "Data", first: Mapping[str, str] | None = None,
                more: Mapping[str, str] | None = None) -> str | None:
    """Widgets to choose embedded frames, an uploaded file, or a file on the server. Returns the source, or None yet.

    first, more : further entries before and after the embedded ones, label -> source
    Raises DataError for a server path outside the allowed folders, StorageError when an upload cannot be kept.
    """
    embedded = {f"Embedded {name}": PREFIX + name for name in embedded_names()}
    sources = {**(first or {}), **embedded, **(more or {})}
    choice = st.selectbox(label, [*sources, UPLOADED, ON_SERVER], key=f"{page}.source", persist_state="session",
                          help=explained(f"{page}.source"))
    if choice == UPLOADED:
        return _pick_upload(page)
    if choice == ON_SERVER:
        path = st.text_input("Path on the server", key=f"{page}.path", persist_state="session",
                             help="Allowed folders: " + ", ".join(map(str, data_folders())) + ". " + explained("path"))
        return str(allowed_path(path)) if path else None
    return sources[choice]


def data_folders() -> list[Path]:
    """Folders whose files may be named on a page: TOOLKIT_DATA (separated by ':'), else the one around this project."""
    named = os.environ.get("TOOLKIT_DATA", "")
    folders = [Path(part) for part in named.split(os.pathsep) if part] or [REPOSITORY.parent]
    return [folder.resolve() for folder in [*folders, runs_root()]]


def allowed_path(text: str) -> Path:
    """The path a user typed, when it lies in an allowed folder. Raises DataError otherwise."""
    try:
        path = Path(text.strip()).expanduser().resolve()
    except (ValueError, RuntimeError, OSError) as error:  # a null character, an unknown user, a loop of links
        raise DataError(f"found {text.strip()!r}, which is no usable path: {error}", "check the path") from None
    if not any(path.is_relative_to(folder) for folder in data_folders()):
        raise DataError(f"found the path {text.strip()!r}, expected one inside {' or '.join(map(str, data_folders()))}",
                        "upload the file, or set TOOLKIT_DATA to the folders that may be read")
    return path


def save_upload(name: str, content: memoryview | bytes) -> Path:
    """Keep an uploaded file under the run root, so that jobs and later sessions find it. Raises StorageError."""
    folder = runs_root() / "uploads"
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", Path(name).name).lstrip(".") or "upload"
    path = folder / safe[-100:]
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def _pick_upload(page: str) -> str | None:
    file = st.file_uploader("Extended XYZ, npz (MD17, rMD17, sGDML) or any file that ASE reads", type=DATA_TYPES,
                            key=f"{page}.upload", help=explained("upload"))
    if file is not None:
        kept = st.session_state.get(f"{page}.kept")
        if kept is None or kept[0] != file.file_id:
            st.session_state[f"{page}.kept"] = (file.file_id, str(save_upload(file.name, file.getbuffer())))
        return st.session_state[f"{page}.kept"][1]
    folder = runs_root() / "uploads"
    earlier = sorted(path.name for path in folder.glob("[!.]*")) if folder.is_dir() else []
    if not earlier:
        return None
    chosen = st.selectbox("or a file uploaded earlier", earlier, index=None, key=f"{page}.earlier",
                          persist_state="session", help=explained("upload"))
    return str(folder / chosen) if chosen else None
