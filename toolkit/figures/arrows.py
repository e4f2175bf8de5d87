"""Structures with vectors on their atoms: forces, or features of degree 1; those found over those expected."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ase import Atoms

from toolkit.figures.plots import ORANGE, SKY
from toolkit.figures.structures import Arrows, Scene, frames_scene

LONGEST_A = 3.0
FOUND_RADIUS_A, SLEEVE_RADIUS_A = 0.07, 0.13
SLEEVE_LENGTH = 0.65
"""Of the expected arrow: an arrow that is right sticks out of its sleeve, one that is wrong leaves it."""


def arrow_scale(vectors: np.ndarray) -> float:
    """Å of the picture for one unit of the vectors (…, 3), such that the longest is drawn with LONGEST_A."""
    longest = float(np.linalg.norm(vectors, axis=-1).max(initial=0.0))
    return LONGEST_A / longest if longest > 0.0 else 1.0


def arrows_scene(atoms: Atoms, starts: np.ndarray, scale: float, found: np.ndarray,
                 expected: np.ndarray | None = None) -> Scene:
    """One structure with blue arrows for what was found, in orange sleeves that point where they were expected.

    starts : (K, 3), or (3,) for all, Å;  found, expected : (K, 3) in any unit;  scale : Å of the picture per unit
    """
    sets = [_arrows(starts, scale * found, SKY, FOUND_RADIUS_A)]
    if expected is not None:
        sets.append(_arrows(starts, SLEEVE_LENGTH * scale * expected, ORANGE, SLEEVE_RADIUS_A, heads=False))
    return replace(frames_scene([atoms]), arrows=tuple(sets))


def _arrows(starts: np.ndarray, vectors: np.ndarray, color: str, radius: float, *, heads: bool = True) -> Arrows:
    return Arrows(np.broadcast_to(starts, vectors.shape)[None], vectors[None], color, radius, heads)
