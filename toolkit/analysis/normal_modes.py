"""Harmonic vibrations from a Hessian: frequencies, shapes, reduced masses, and what is left of the zero modes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import null_space

from toolkit.errors import DataError
from toolkit.units import AMU_A2_PER_FS2_EV, CM1_EV, PER_FS_CM1

CM1_PER_ROOT = PER_FS_CM1 / (2.0 * np.pi * np.sqrt(AMU_A2_PER_FS2_EV))
"""√(1 eV/Å²/amu) as a wavenumber, cm⁻¹ (521.47…)."""
LINEAR_TOLERANCE = 1e-3
"""A molecule is linear when it is narrower than this fraction of its length."""
ON_AXIS_A = 1e-3
"""Atoms of which none is further from a line do not notice a turn about it."""
MAX_ASYMMETRY = 1e-3


@dataclass(frozen=True)
class NormalModes:
    """M vibrations of N atoms; imaginary frequencies are negative numbers.

    frequencies_cm1 : (M,), ascending;  eigenvectors : (M, N, 3), orthonormal, in mass-weighted coordinates √m x
    reduced_masses_amu : (M,), 1 / Σ e²/m: the mass of a mode whose Cartesian displacement has length 1
    zero_modes_cm1 : (3, 4, 5 or 6,), translations and rotations after they were projected out
    zero_modes_unprojected_cm1 : the same before: how well the Hessian obeys the sum rules
    positions : (N, 3), Å, of the stationary point;  masses : (N,), amu;  linear : whether all atoms lie on a line
    """

    frequencies_cm1: np.ndarray
    eigenvectors: np.ndarray
    reduced_masses_amu: np.ndarray
    zero_modes_cm1: np.ndarray
    zero_modes_unprojected_cm1: np.ndarray
    positions: np.ndarray
    masses: np.ndarray
    linear: bool

    @property
    def n_imaginary(self) -> int:
        """Number of directions along which the energy falls: 0 at a minimum, 1 at a transition state."""
        return int((self.frequencies_cm1 < 0.0).sum())

    @property
    def turns(self) -> bool:
        """Whether all rotations were taken out: of a molecule, not of a crystal, nor of a polymer, which turns about its axis only."""
        return len(self.zero_modes_cm1) > 4

    @property
    def zero_point_energy_eV(self) -> float:
        """½ Σ hν over the real modes, eV."""
        return 0.5 * CM1_EV * float(self.frequencies_cm1[self.frequencies_cm1 > 0.0].sum())

    def displacements(self, mode: int) -> np.ndarray:
        """Cartesian shape e/√m of a mode, (N, 3), of length 1."""
        shape = self.eigenvectors[mode] / np.sqrt(self.masses)[:, None]
        return shape / np.linalg.norm(shape)


def normal_modes(hessian: np.ndarray, positions: np.ndarray, masses: np.ndarray, *,
                 periodic: bool = False, axis: np.ndarray | None = None) -> NormalModes:
    """Diagonalise the mass-weighted Hessian H_ij / √(m_i m_j) in the space orthogonal to translations and rotations.

    Rotations are those of Eckart (Phys. Rev. 47, 552 (1935)): infinitesimal turns about the centre of mass.

    hessian : (3N, 3N), eV/Å², at a stationary point;  positions : (N, 3), Å;  masses : (N,), amu
    periodic : a crystal at Γ keeps its rotations;  axis : (3,), the one direction in which it repeats, about which it turns freely
    Raises DataError for a Hessian of another shape, not finite, or not symmetric.
    """
    positions, masses = np.asarray(positions, dtype=np.float64), np.asarray(masses, dtype=np.float64)
    _check(hessian, len(masses))
    root = np.repeat(np.sqrt(masses), 3)
    dynamical = 0.5 * (hessian + hessian.T) / np.outer(root, root)
    linear = not periodic and is_linear(positions)
    rigid = rigid_motions(positions, masses, rotations=not periodic, axis=axis)
    projector = np.eye(len(root)) - rigid.T @ rigid
    internal = null_space(rigid)
    eigenvalues, vectors = np.linalg.eigh(internal.T @ dynamical @ internal)
    vectors = (internal @ vectors).T.reshape(-1, len(masses), 3)
    return NormalModes(
        wavenumber_cm1(eigenvalues), vectors, 1.0 / (vectors**2 / masses[:, None]).sum(axis=(1, 2)),
        _rigid_frequencies(projector @ dynamical @ projector, rigid), _rigid_frequencies(dynamical, rigid),
        positions, masses, linear)


def rigid_motions(positions: np.ndarray, masses: np.ndarray, *, rotations: bool = True,
                  axis: np.ndarray | None = None) -> np.ndarray:
    """Orthonormal translations and rotations in mass-weighted coordinates, (3 … 6, 3N); 5 for a linear molecule.

    rotations : all of them;  axis : (3,), else the one about it
    """
    root = np.sqrt(masses)[:, None]
    motions = [np.eye(3)[direction] * root for direction in range(3)]
    arms = positions - center_of_mass(positions, masses)
    if rotations and len(masses) > 1:
        axes = np.linalg.svd(arms)[2][1 if is_linear(positions) else 0:]
        motions += [np.cross(axis, arms) * root for axis in axes]
    elif axis is not None:
        turned = np.cross(axis / np.linalg.norm(axis), arms)
        if np.linalg.norm(turned, axis=1).max() > ON_AXIS_A:
            motions.append(turned * root)
    return np.linalg.qr(np.stack(motions).reshape(len(motions), -1).T)[0].T


def is_linear(positions: np.ndarray) -> bool:
    """Whether all atoms lie on one line (two atoms always do). positions : (N, 3)"""
    if len(positions) < 2:
        return False
    extents = np.linalg.svd(positions - positions.mean(axis=0), compute_uv=False)
    return bool(extents[1] < LINEAR_TOLERANCE * extents[0])


def center_of_mass(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Mass-weighted mean over the atoms. positions : (…, N, 3) → (…, 1, 3)"""
    return (masses[:, None] * positions).sum(axis=-2, keepdims=True) / masses.sum()


def wavenumber_cm1(eigenvalues: np.ndarray) -> np.ndarray:
    """√λ of eigenvalues in eV/Å²/amu as wavenumbers, cm⁻¹; negative for imaginary frequencies (λ < 0)."""
    return np.sign(eigenvalues) * np.sqrt(np.abs(eigenvalues)) * CM1_PER_ROOT


def _rigid_frequencies(dynamical: np.ndarray, rigid: np.ndarray) -> np.ndarray:
    """Frequencies, cm⁻¹, of those eigenvectors that lie most in the space of the rigid motions."""
    eigenvalues, vectors = np.linalg.eigh(dynamical)
    overlap = ((rigid @ vectors) ** 2).sum(axis=0)
    return wavenumber_cm1(np.sort(eigenvalues[np.argsort(overlap)[-len(rigid):]]))


def _check(hessian: np.ndarray, num_atoms: int) -> None:
    size = 3 * num_atoms
    if hessian.shape != (size, size) or not np.isfinite(hessian).all():
        raise DataError(f"found a Hessian of shape {hessian.shape}, expected ({size}, {size}), all finite",
                        "compute it for this structure")
    asymmetry, largest = np.abs(hessian - hessian.T).max(), np.abs(hessian).max()
    if asymmetry > MAX_ASYMMETRY * largest:
        raise DataError(f"found a Hessian that differs from its transpose by {asymmetry:.2g} eV/Å² of {largest:.2g}",
                        "compute it in float64 from a potential whose forces are the slope of its energy")
