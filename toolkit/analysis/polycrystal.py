"""What a crystal's stiffness says of a body of many grains in all orientations, and whether the crystal is stable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.errors import DataError

NOTHING = 1e-3
"""Share of the largest eigenvalue that counts as none; graphite, the softest of the hard, has 4e-3."""


@dataclass(frozen=True)
class Polycrystal:
    """Bulk and shear moduli, GPa: Voigt (equal strain, from above), Reuss (equal stress, from below), and their mean,
    Hill's, from which Young's modulus and Poisson's ratio follow (Hill, Proc. Phys. Soc. A 65, 349 (1952)).

    universal_anisotropy : 5 G_V/G_R + B_V/B_R − 6, 0 for a body alike in all directions (Ranganathan &
        Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008))
    """

    bulk_voigt_GPa: float
    bulk_reuss_GPa: float
    shear_voigt_GPa: float
    shear_reuss_GPa: float

    @property
    def bulk_GPa(self) -> float:
        """Hill's bulk modulus."""
        return 0.5 * (self.bulk_voigt_GPa + self.bulk_reuss_GPa)

    @property
    def shear_GPa(self) -> float:
        """Hill's shear modulus."""
        return 0.5 * (self.shear_voigt_GPa + self.shear_reuss_GPa)

    @property
    def youngs_GPa(self) -> float:
        """E = 9 B G / (3 B + G)."""
        return 9.0 * self.bulk_GPa * self.shear_GPa / (3.0 * self.bulk_GPa + self.shear_GPa)

    @property
    def poisson_ratio(self) -> float:
        """ν = (3 B − 2 G) / (6 B + 2 G)."""
        return (3.0 * self.bulk_GPa - 2.0 * self.shear_GPa) / (6.0 * self.bulk_GPa + 2.0 * self.shear_GPa)

    @property
    def universal_anisotropy(self) -> float:
        """5 G_V/G_R + B_V/B_R − 6."""
        return 5.0 * self.shear_voigt_GPa / self.shear_reuss_GPa + self.bulk_voigt_GPa / self.bulk_reuss_GPa - 6.0


def polycrystal(stiffness_GPa: np.ndarray) -> Polycrystal:
    """Averages of a stiffness (6, 6), GPa, Voigt order xx yy zz yz xz xy with shears as γ = 2ε, of any crystal.

    Raises DataError for a crystal that is not stable, or is not held together along some strain: its compliance means nothing.
    """
    stiffness = 0.5 * (stiffness_GPa + stiffness_GPa.T)
    if not is_stable(stiffness):
        least = least_stiffness_GPa(stiffness)
        raise DataError(f"found a stiffness with the eigenvalue {least:.3g} GPa, expected a stable crystal (Born: all "
                        "positive)", "relax the cell, look for another structure along the soft strain, or for vacuum in the cell")
    compliance = np.linalg.inv(stiffness)
    bulk, shear = _averages(stiffness, 1.0)
    soft, loose = _averages(compliance, 0.25)
    return Polycrystal(bulk, 1.0 / (9.0 * soft), shear, 1.0 / (4.0 * loose))


def least_stiffness_GPa(stiffness_GPa: np.ndarray) -> float:
    """The smallest eigenvalue of a stiffness (6, 6): positive for a stable crystal of any symmetry (Mouhat & Coudert,
    Phys. Rev. B 90, 224104 (2014))."""
    return float(np.linalg.eigvalsh(0.5 * (stiffness_GPa + stiffness_GPa.T))[0])


def is_stable(stiffness_GPa: np.ndarray) -> bool | None:
    """Born's criterion; None where the smallest eigenvalue is below a thousandth of the largest, and its sign is noise: there
    is vacuum in the cell, or a transition near."""
    eigenvalues = np.linalg.eigvalsh(0.5 * (stiffness_GPa + stiffness_GPa.T))
    if abs(eigenvalues[0]) <= NOTHING * eigenvalues[-1]:
        return None
    return bool(eigenvalues[0] > 0.0)


def _averages(tensor: np.ndarray, shears: float) -> tuple[float, float]:
    """Averages over all orientations of A_iijj / 9 and of the shears of a tensor in Voigt order.

    shears : what an entry of two shears is to the tensor's own: 1 for a stiffness, 1/4 for a compliance
    """
    normal = tensor[:3, :3]
    off = normal[0, 1] + normal[0, 2] + normal[1, 2]
    shear = (np.trace(normal) - off + 3.0 * shears * np.trace(tensor[3:, 3:])) / 15.0
    return float(normal.sum()) / 9.0, float(shear)
