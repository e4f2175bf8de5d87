"""What a user can choose from: models, presets, and data (embedded, uploaded, or on the server)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import streamlit as st

from toolkit.config import DataConfig
from toolkit.data.catalog import PREFIX as CATALOG_PREFIX
from toolkit.data.embedded import PREFIX, embedded_names
from toolkit.jobs.run_dir import Run, list_runs
from toolkit.models.folders import WEIGHTS, shipped_models
from toolkit.storage import read_json
from toolkit.ui.catalogue import pick_catalogued
from toolkit.ui.explanations import explained
from toolkit.ui.server_files import REPOSITORY, allowed_path, pick_server_file
from toolkit.ui.uploads import pick_upload

PRESETS = {"coffee break": "coffee_break", "tutorial": "aspirin_quick", "paper": "paper"}
"""Name -> file in configs/, for one and three minutes on a CPU core, and a day on a GPU."""
ELSEWHERE = {"Uploaded file": pick_upload, "File on the server": pick_server_file,
             "Public data set": pick_catalogued}
"""Further entries of a list of sources -> the widgets that choose one of them."""
OFFERED = "choices.offered"


def model_choices() -> dict[str, str]:
    """Label -> what `toolkit.load` takes: shipped models, then the models of training runs, newest first.

    Labels never change: Streamlit forgets a choice whose label is gone, and would take the first of the list.
    """
    choices = {f"{name} (shipped)": name for name in shipped_models()}
    for run in list_runs("train"):
        if (run.path / "model" / WEIGHTS).is_file():
            choices[f"{run.run_id} (trained here)"] = str(run.path / "model")
    return choices


def model_label(model: str | None) -> str | None:
    """The name in the list of a model, by what `toolkit.load` takes; None when it is not in the list."""
    return next((label for label, taken in model_choices().items() if taken == model), None)


def model_of(run: Run) -> str | None:
    """What a run was asked to use, as far as its configuration can be read."""
    return (read_json(run.path / "config.json") or {}).get("model")


def offer_simulation(run: Run, pages: Sequence[str]) -> None:
    """Let other pages begin with the model and the last frame of a simulation; what is chosen there afterwards stays."""
    if st.session_state.get(OFFERED) == run.run_id or not (run.path / "trajectory.h5").exists():
        return
    st.session_state[OFFERED] = run.run_id
    label = model_label(model_of(run))
    for page in pages:
        st.session_state[f"{page}.source"] = _last_frame(run)
        if label is not None:
            st.session_state[f"{page}.model"] = label


def _last_frame(run: Run) -> str:
    """Its name in the list of structures."""
    return f"Last frame of {run.run_id}"


def pick_model(page: str) -> str | None:
    """A list of the models. Returns what `toolkit.load` takes, or None, and a link to training, where there is none."""
    models = model_choices()
    if not models:
        st.info("There is no model yet. Train one first.")
        st.page_link("pages/2_Train.py", label="Go to training", icon=":material/model_training:")
        return None
    return models[st.selectbox("Model", list(models), key=f"{page}.model", persist_state="session",
                               help=explained("model"))]


def pick_inner_model(page: str) -> str | None:
    """A list of the models for the inner steps of a simulation; None as long as nothing is chosen."""
    models = model_choices()
    chosen = st.selectbox("Inner model", list(models), index=None, key=f"{page}.inner_model", persist_state="session",
                          placeholder="a small, fast one of the same data", help=explained("md.inner_model"))
    return models.get(chosen)


def pick_structure(page: str) -> str | None:
    """As `pick_source`, with the last frames of molecular dynamics runs as further choices."""
    earlier = {_last_frame(run): f"run:{run.run_id}" for run in list_runs("md")
               if (run.path / "trajectory.h5").exists()}
    return pick_source(page, "Structure", more=earlier)


def pick_frame(page: str, structure: str | None) -> int:
    """Which frame of a structure's source: by default the first, of an earlier run the last."""
    is_run = (structure or "").startswith("run:")
    return int(st.number_input("Frame", value=-1 if is_run else 0, step=1, key=f"{page}.frame.{structure}",
                               help=explained("frame")))


def presets() -> dict[str, Path]:
    """Name -> path of the ready-made training configurations: three for lessons, then the rest of configs/."""
    folder = REPOSITORY / "configs"
    first = {name: folder / f"{stem}.yaml" for name, stem in PRESETS.items()}
    others = {*first.values(), *workflows().values()}
    rest = [path for path in sorted(folder.glob("*.yaml")) if path not in others]
    return {**first, **{path.stem.replace("_", " "): path for path in rest}}


def workflows() -> dict[str, Path]:
    """Name -> path of the ready-made alloy workflows of configs/: the files that say where they start."""
    paths = sorted((REPOSITORY / "configs").glob("*.yaml"))
    return {path.stem.replace("_", " "): path for path in paths if "\nstart:" in path.read_text(encoding="utf-8")}


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
    """Widgets to choose embedded or uploaded frames, a file on the server, or a public data set. None until it is here.

    first, more : further entries before and after the embedded ones, label -> source
    Raises DataError for a server path outside the allowed folders, StorageError when an upload cannot be kept.
    """
    embedded = {f"Embedded {name}": PREFIX + name for name in embedded_names()}
    sources = {**(first or {}), **embedded, **(more or {})}
    choice = st.selectbox(label, [*sources, *ELSEWHERE], key=f"{page}.source", persist_state="session",
                          help=explained(f"{page}.source"))
    return ELSEWHERE[choice](page) if choice in ELSEWHERE else sources[choice]
