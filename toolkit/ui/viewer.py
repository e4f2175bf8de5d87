"""The 3D viewer of the app: structures, trajectories, modes and arrows in one component, drawn by 3Dmol.js.

The app serves 3Dmol.js itself; where it was not installed, the browser asks a content network and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import streamlit as st

from toolkit.figures.structures import Scene
from toolkit.ui.frame_store import store

INLINE_BYTES = 256 << 10
"""Frames up to this size travel with the page; more stay in a file, from which the browser fetches pieces."""
LIBRARIES = ("app/static/3Dmol-min.js", "https://cdn.jsdelivr.net/npm/3dmol@2.5.5/build/3Dmol-min.js")
_ASSETS = Path(__file__).with_name("assets")
_SCRIPTS = ("frames.js", "export.js", "surfaces.js", "viewer.js")


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


_component = st.components.v2.component("toolkit_viewer", html=_asset("viewer.html"), css=_asset("viewer.css"),
                                        js="\n".join(_asset(name) for name in _SCRIPTS))


@dataclass(frozen=True)
class Movie:
    """Frames of one set of atoms that stay where they are until somebody looks at them.

    scene : at least one frame, with what all have in common
    identity : names the content, see `frame_store.store`
    read : (first, stop) -> `Scene.records` of these frames
    """

    scene: Scene
    num_frames: int
    identity: str
    read: Callable[[int, int], np.ndarray]


def show_scene(scene: Scene, key: str, view: str, height: int = 460, group: str = "") -> None:
    """Draw a scene with frame slider, play and pause (button or space key); camera and frame survive reruns.

    key : name of the component on the page
    view : name of what is shown, such as a run id; each has its own camera and frame
    height : of the drawing, pixels
    group : views of one group have one camera: they turn, move and zoom together
    """
    records = scene.records()
    identity = blake2b(records).hexdigest() if records.nbytes > INLINE_BYTES else ""
    movie = Movie(scene, len(records), identity, lambda first, stop: records[first:stop])
    _draw(movie, key, {"view": view, "height": height, "group": group})


def show_movie(movie: Movie, key: str, view: str, height: int = 460, go_to: tuple[int, str] | None = None) -> None:
    """As `show_scene`, for frames that are read only when the browser does not have them yet.

    go_to : a frame to move to, and a name of this wish; the same wish moves the view only once
    Raises StorageError when there is no room to keep the frames.
    """
    _draw(movie, key, {"view": view, "height": height, "group": "", "goTo": go_to})


def _draw(movie: Movie, key: str, settings: dict[str, object]) -> None:
    left_out = movie.scene.frames_left_out
    if left_out:
        st.caption(f"Showing {movie.num_frames:,} of {movie.num_frames + left_out:,} frames, evenly thinned.")
    size = movie.scene.record_size
    if 4 * size * movie.num_frames <= INLINE_BYTES:
        records, address = movie.read(0, movie.num_frames), ""
    else:
        address = store(movie.identity, movie.num_frames, 4 * size, movie.read)
        records = np.empty((0, size), dtype=np.float32)
    settings |= {"address": address, "frames": movie.num_frames, "libraries": LIBRARIES}
    _component(key=key, data=movie.scene.pack(settings, records))
