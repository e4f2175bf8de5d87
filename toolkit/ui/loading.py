"""Potentials and structures that pages look at themselves: read once for all sessions, never modified, on the CPU."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from ase import Atoms

from toolkit.errors import DataError
from toolkit.jobs.run_dir import find_run
from toolkit.jobs.sources import RUN_PREFIX, starting_structure
from toolkit.models.folders import WEIGHTS, find_model
from toolkit.models.potential import Potential, load_potential
from toolkit.storage import reachable


def cached_potential(name_or_path: str, dtype: str) -> Potential:
    """A model on the CPU: the web process never touches CUDA. Raises ModelError."""
    folder = find_model(name_or_path)
    return _potential(str(folder), (folder / WEIGHTS).stat().st_mtime, dtype)


def cached_structure(source: str, frame: int) -> Atoms:
    """One frame of a data source or of an earlier run. Raises DataError."""
    is_run = source.startswith(RUN_PREFIX)
    path = find_run(source.removeprefix(RUN_PREFIX)) / "trajectory.h5" if is_run else Path(source)
    return _structure(source, frame, last_change(path))


def last_change(path: str | Path) -> float:
    """When a file was last changed, s; 0 where there is none. Raises DataError where one may not look."""
    path = reachable(Path(path), DataError)
    return path.stat().st_mtime if path.is_file() else 0.0


@st.cache_resource(max_entries=4, show_spinner="Loading the model …")
def _potential(folder: str, modified: float, dtype: str) -> Potential:
    return load_potential(folder, device="cpu", dtype=dtype)


@st.cache_resource(max_entries=16, show_spinner="Reading the structure …")
def _structure(source: str, frame: int, modified: float) -> Atoms:
    return starting_structure(source, frame)
