"""Elastic constants from stresses at small strains, and their averages over the directions of a cube."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.errors import DataError
from toolkit.units import EV_PER_A3_GPA


@dataclass(frozen=True)
class CubicConstants:
    """C11, C12 and C44, GPa: means over the three directions that a cube makes alike, with the standard error of these
    means; it is what remains of disorder in an alloy, and of numerical noise in a crystal.

    stiffness_GPa : (6, 6), all constants in Voigt order xx yy zz yz xz xy
    """

    c11_GPa: float
    c11_stderr_GPa: float
    c12_GPa: float
    c12_stderr_GPa: float
    c44_GPa: float
    c44_stderr_GPa: float
    stiffness_GPa: np.ndarray

    @property
    def bulk_modulus_GPa(self) -> float:
        """B = (C11 + 2 C12) / 3."""
        return (self.c11_GPa + 2.0 * self.c12_GPa) / 3.0

    @property
    def misfit(self) -> float:
        """The largest of the entries that are zero along the axes of a cube, such as C14, relative to C44."""
        zero = np.abs(self.stiffness_GPa)
        zero[:3, :3] = 0.0
        np.fill_diagonal(zero, 0.0)
        return float(zero.max()) / max(abs(self.c44_GPa), np.finfo(np.float64).tiny)

    @property
    def zener_ratio(self) -> float:
        """A = 2 C44 / (C11 − C12): 1 for a body that is alike in all directions."""
        return 2.0 * self.c44_GPa / (self.c11_GPa - self.c12_GPa)

    @property
    def stable(self) -> bool:
        """Born's conditions for a cubic crystal: C11 > |C12| and C44 > 0 (with B > 0)."""
        return self.c11_GPa > abs(self.c12_GPa) and self.c44_GPa > 0.0 and self.bulk_modulus_GPa > 0.0


def strain_set(strain: float) -> np.ndarray:
    """Strains of each of the six kinds, in both directions, (12, 6): Voigt order, shears as γ = 2ε."""
    return np.concatenate([strain * np.eye(6), -strain * np.eye(6)])


def strain_matrix(voigt: np.ndarray) -> np.ndarray:
    """The symmetric strain (3, 3) of Voigt components (6,) with γ = 2ε."""
    xx, yy, zz, yz, xz, xy = voigt
    return np.array([[xx, 0.5 * xy, 0.5 * xz], [0.5 * xy, yy, 0.5 * yz], [0.5 * xz, 0.5 * yz, zz]])


def cubic_constants(strains: np.ndarray, stresses: np.ndarray) -> CubicConstants:
    """σ_i = σ⁰_i + Σ_j C_ij ε_j by least squares, then averages over directions.

    strains : (S, 6), shears as γ = 2ε;  stresses : (S, 6), eV/Å³, tensile positive, same order
    Raises DataError when the strains do not span all six kinds.
    """
    strains, stresses = np.asarray(strains, dtype=np.float64), np.asarray(stresses, dtype=np.float64)
    design = np.concatenate([np.ones((len(strains), 1)), strains], axis=1)
    if strains.shape != stresses.shape or strains.shape[1:] != (6,) or np.linalg.matrix_rank(design) < 7:
        raise DataError(f"found strains {strains.shape} and stresses {stresses.shape}, expected (S, 6) of all six "
                        "kinds", "take them from strain_set")
    stiffness = np.linalg.lstsq(design, stresses, rcond=None)[0][1:].T * EV_PER_A3_GPA
    off = 0.5 * (stiffness + stiffness.T)[[0, 0, 1], [1, 2, 2]]
    values = [_mean(part) for part in (np.diag(stiffness)[:3], off, np.diag(stiffness)[3:])]
    return CubicConstants(*(number for pair in values for number in pair), stiffness)


def _mean(three: np.ndarray) -> tuple[float, float]:
    return float(three.mean()), float(three.std(ddof=1) / np.sqrt(len(three)))
