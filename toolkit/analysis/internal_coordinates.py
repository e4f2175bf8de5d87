"""Bond lengths, angles and signed torsion angles of many frames at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from typing_extensions import Self


@dataclass(frozen=True)
class AtomPaths:
    """K chains of n atoms, to be measured in every frame.

    atoms : (K, n);  offsets : (K, n, 3), Å, added to the positions so that bonds across the cell boundary are whole
    """

    atoms: np.ndarray
    offsets: np.ndarray

    @classmethod
    def stack(cls, paths: Sequence[tuple[Sequence[int], Sequence[np.ndarray]]], length: int) -> Self:
        """From single chains (atoms, offsets), also from none."""
        atoms = np.array([atoms for atoms, _ in paths], dtype=np.int64).reshape(-1, length)
        return cls(atoms, np.array([offsets for _, offsets in paths], dtype=np.float64).reshape(-1, length, 3))

    def points(self, frames: np.ndarray) -> np.ndarray:
        """Positions of the chains, (…, K, n, 3), Å. frames : (…, N, 3), Å, not wrapped into the cell"""
        return frames[..., self.atoms, :].astype(np.float64) + self.offsets


def bond_lengths(points: np.ndarray) -> np.ndarray:
    """Distances (…,), Å, of points (…, 2, 3)."""
    return np.linalg.norm(points[..., 1, :] - points[..., 0, :], axis=-1)


def angles_deg(points: np.ndarray) -> np.ndarray:
    """Angles (…,) at the middle one of three points (…, 3, 3), 0 … 180°.

    By atan2 of cross and dot product, which stays exact near 0° and 180°, where the arc cosine does not.
    """
    a, b = points[..., 0, :] - points[..., 1, :], points[..., 2, :] - points[..., 1, :]
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(axis=-1)))


def torsions_deg(points: np.ndarray) -> np.ndarray:
    """Signed torsion angles (…,) of four points (…, 4, 3), −180 … 180°, 0° for cis.

    The sign is IUPAC's and ASE's (`Atoms.get_dihedral`, which counts 0 … 360°): looking along the middle bond, positive
    when the far bond is turned clockwise from the near one. With b₁, b₂, b₃ the three bonds,
    φ = atan2(|b₂| b₁·(b₂ × b₃), (b₁ × b₂)·(b₂ × b₃)).
    """
    b1, b2, b3 = (points[..., k + 1, :] - points[..., k, :] for k in range(3))
    near, far = np.cross(b1, b2), np.cross(b2, b3)
    sine = np.linalg.norm(b2, axis=-1) * (b1 * far).sum(axis=-1)
    return np.degrees(np.arctan2(sine, (near * far).sum(axis=-1)))
