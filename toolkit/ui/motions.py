"""Widgets that move a structure as a whole."""

from __future__ import annotations

import streamlit as st

from toolkit.checks.motions import Motion, rotation_matrix
from toolkit.ui.explanations import explained

SHIFT_A = (1.5, -1.0, 0.5)


def pick_motion(page: str) -> Motion:
    """Three angles, mirror, inversion, shift and another order of the atoms."""
    angles = tuple(float(column.slider(f"Turn about {axis}, degrees", -180, 180, start, 5, key=f"{page}.turn_{axis}",
                                       persist_state="session", help=explained(f"{page}.turn")))
                   for column, axis, start in zip(st.columns(3, gap="medium"), "xyz", (20, 0, 70), strict=True))
    with st.container(horizontal=True, gap="medium"):
        mirror = _toggle(page, "mirror", "Mirror")
        invert = _toggle(page, "invert", "Invert")
        shifted = _toggle(page, "shift", "Move aside")
        shuffled = _toggle(page, "shuffle", "Renumber the atoms")
    matrix = rotation_matrix(angles, mirror=mirror, invert=invert)
    return Motion(matrix, SHIFT_A if shifted else (0.0, 0.0, 0.0), shuffled)


def _toggle(page: str, name: str, label: str) -> bool:
    return st.toggle(label, key=f"{page}.{name}", help=explained(f"{page}.{name}"), persist_state="session")
