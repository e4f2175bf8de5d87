"""Motions of a whole structure, and what symmetry says the answers of a potential become."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from toolkit.checks.probe import TINY, rms
from toolkit.checks.structures import transformed
from toolkit.models.potential import Potential

LEAST_FORCE_EV_PER_A = 0.1
VANISHED = 0.01


@dataclass(frozen=True)
class Motion:
    """x → Q (x − c) + c + t with c the mean position; the potential may then be shown the atoms in another order.

    matrix : Q, (3, 3), orthogonal;  shift_A : t, (3,), Å
    """

    matrix: np.ndarray = field(default_factory=lambda: np.eye(3))
    shift_A: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shuffled: bool = False

    def apply(self, atoms: Atoms) -> Atoms:
        """The moved structure, its atoms in the order they had."""
        moved = transformed(atoms, self.matrix)
        moved.positions = self.move_points(atoms.positions, atoms)
        return moved

    def move_points(self, points: np.ndarray, atoms: Atoms) -> np.ndarray:
        """Where points (…, 3), Å, go with the structure."""
        centre = atoms.positions.mean(axis=0)
        return (points - centre) @ self.matrix.T + centre + self.shift_A

    def order(self, num_atoms: int) -> np.ndarray:
        """In which order the potential is shown the moved atoms, (N,)."""
        return np.random.default_rng(0).permutation(num_atoms) if self.shuffled else np.arange(num_atoms)


@dataclass(frozen=True)
class Followed:
    """A quantity before a motion, what symmetry says it becomes, and what the potential gives: arrays of one shape.

    Rows belong to the atoms in their original order, however the potential was shown them.
    least : what errors are relative to where a quantity is smaller, such as the forces on the atoms of a perfect crystal: what
        cancels there leaves rounding errors of its parts
    """

    before: np.ndarray
    expected: np.ndarray
    found: np.ndarray
    least: float = TINY

    def of_atom(self, atom: int) -> Followed:
        """The row of one atom."""
        row = slice(atom, atom + 1)
        return Followed(self.before[row], self.expected[row], self.found[row], self.least)

    def transposed(self) -> Followed:
        """Features of one atom, (1, 2l+1, C), as one row a channel, (C, 2l+1)."""
        return Followed(self.before[0].T, self.expected[0].T, self.found[0].T, self.least)

    @property
    def error(self) -> float:
        """Largest deviation, in the unit of the quantity (for vectors its length)."""
        deviation = self.found - self.expected
        return float(np.linalg.norm(deviation, axis=1).max() if deviation.ndim > 1 else np.abs(deviation).max())

    @property
    def relative_error(self) -> float:
        """RMS deviation over RMS of what is expected, or over `least`."""
        return rms(self.found - self.expected) / max(rms(self.expected), self.least)

    @property
    def vanishes(self) -> bool:
        """Whether there is next to nothing before the motion."""
        return rms(self.before) < VANISHED * self.least


def rotation_matrix(angles_deg: tuple[float, float, float], *, mirror: bool = False,
                    invert: bool = False) -> np.ndarray:
    """Q = R_z R_y R_x, (3, 3); before it, on request, the mirror x → −x and the inversion x, y, z → −x, −y, −z."""
    improper = np.diag([-1.0 if mirror else 1.0, 1.0, 1.0]) * (-1.0 if invert else 1.0)
    return Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix() @ improper


def follow_answers(potential: Potential, atoms: Atoms, motion: Motion) -> tuple[Followed, Followed]:
    """Energy (1,), eV, which must stay, and forces (N, 3), eV/Å, which must turn: F(Qx) = Q F(x)."""
    order = motion.order(len(atoms))
    before, after = potential.predict(atoms), potential.predict(motion.apply(atoms)[order])
    energy = np.array([before["energy"]])
    forces = np.empty_like(before["forces"])
    forces[order] = after["forces"]
    return (Followed(energy, energy, np.array([after["energy"]])),
            Followed(before["forces"], before["forces"] @ motion.matrix.T, forces, LEAST_FORCE_EV_PER_A))
