"""The list of allowed couplings in an equivariant convolution, derived once from the irreps and shared by all backends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from e3nn import o3
from torch import Tensor

ZERO_COEFFICIENT = 1e-12
"""Wigner symbols below this are rounding; the smallest true one up to l = 6 is above 1e-3."""


@dataclass(frozen=True)
class Path:
    """One coupling x^(l1,p1) ⊗ Y^(l2) → (l3,p3), channel by channel ("uvu").

    index_in : which input irrep;  l_sh : degree of the spherical harmonic;  irrep_out : (l3, p3)
    channels : channels of the input, and so of this path's output
    """

    index_in: int
    irrep_in: o3.Irrep
    l_sh: int
    irrep_out: o3.Irrep
    channels: int

    def coefficients(self) -> Tensor:
        """√(2 l3 + 1) × Wigner 3j, (2 l2 + 1, 2 l3 + 1, 2 l1 + 1), float64, so that "component"-normalised inputs give
        "component"-normalised outputs (e3nn's convention)."""
        wigner = o3.wigner_3j(self.irrep_in.l, self.l_sh, self.irrep_out.l, dtype=torch.float64)
        return math.sqrt(self.irrep_out.dim) * wigner.permute(1, 2, 0)

    @cached_property
    def entries(self) -> tuple[tuple[int, int, int, float], ...]:
        """The non-zero coefficients (m2, m3, m1, value), sorted by m3, then m1: about one in four of all."""
        values = self.coefficients()
        found = [(m2, m3, m1, float(values[m2, m3, m1]))
                 for m2, m3, m1 in torch.nonzero(values.abs() > ZERO_COEFFICIENT).tolist()]
        return tuple(sorted(found, key=lambda entry: (entry[1], entry[2], entry[0])))


@dataclass(frozen=True)
class PathTable:
    """All couplings of `irreps_in` with harmonics up to `l_max_sh` that end in an irrep of `irreps_target`.

    Paths are ordered by input irrep, then l_sh, then output irrep: the order of the per-edge weights.
    """

    irreps_in: o3.Irreps
    l_max_sh: int
    irreps_target: o3.Irreps

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """The couplings in weight order."""
        found = []
        for index, (channels, irrep_in) in enumerate(self.irreps_in):
            for harmonic in o3.Irreps.spherical_harmonics(self.l_max_sh):
                for irrep_out in irrep_in * harmonic.ir:
                    if irrep_out in self.irreps_target:
                        found.append(Path(index, irrep_in, harmonic.ir.l, irrep_out, channels))
        return tuple(found)

    @cached_property
    def num_weights(self) -> int:
        """Weights per edge: one per path and channel."""
        return sum(path.channels for path in self.paths)

    @cached_property
    def irreps_out(self) -> o3.Irreps:
        """Output irreps, sorted and merged: the channels of all paths that end in the same irrep, in weight order."""
        channels: dict[o3.Irrep, int] = {}
        for path in self.paths:
            channels[path.irrep_out] = channels.get(path.irrep_out, 0) + path.channels
        return o3.Irreps([(channels[irrep], irrep) for irrep in sorted(channels)])
