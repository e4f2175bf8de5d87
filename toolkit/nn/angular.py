"""Spherical harmonics of edge directions."""

from __future__ import annotations

import e3nn
from e3nn import o3


def spherical_harmonics(l_max: int) -> o3.SphericalHarmonics:
    """Module (E, 3) vectors -> edge_attrs (E, (l_max+1)²): real Y_lm of the directions, l = 0 … l_max, in e3nn's
    (y, z, x) order and "component" normalisation, |Y_l|² = 2l+1.

    Built without TorchScript, whose first calls round differently from later ones: training must repeat bit for bit.
    """
    before = e3nn.get_optimization_defaults()["jit_mode"]
    e3nn.set_optimization_defaults(jit_mode="eager")
    try:
        return o3.SphericalHarmonics(list(range(l_max + 1)), normalize=True, normalization="component")
    finally:
        e3nn.set_optimization_defaults(jit_mode=before)
