"""The 3D viewer of the app: structures and trajectories in one component, with 3Dmol.js served by the app itself."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from toolkit.figures.structures import Scene

_ASSETS = Path(__file__).with_name("assets")
_LIBRARY = Path(__file__).resolve().parents[2] / "static" / "3Dmol-min.js"
_LOCAL = "app/static/3Dmol-min.js"
_REMOTE = "https://cdn.jsdelivr.net/npm/3dmol@2.5.5/build/3Dmol-min.js"


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


_component = st.components.v2.component("toolkit_viewer", html=_asset("viewer.html"), css=_asset("viewer.css"),
                                        js=_asset("viewer.js"))


def show_scene(scene: Scene, key: str, view: str, height: int = 460, group: str = "") -> None:
    """Draw a scene with frame slider, play and pause (button or space key); camera and frame survive reruns.

    key : name of the component on the page
    view : name of what is shown, such as a run id; each has its own camera and frame
    height : of the drawing, pixels
    group : views of one group have one camera: they turn, move and zoom together
    """
    settings = {"view": view, "height": str(height), "library": _LOCAL, "group": group}
    if not _LIBRARY.is_file():
        settings["library"] = _REMOTE
        settings["notice"] = ("3Dmol.js is not installed here and is fetched from the internet; "
                              "scripts/fetch_viewer.sh installs it.")
    if scene.frames_left_out:
        total = len(scene.positions) + scene.frames_left_out
        st.caption(f"Showing {len(scene.positions):,} of {total:,} frames, evenly thinned for smooth play.")
    _component(key=key, data=scene.pack(settings))
