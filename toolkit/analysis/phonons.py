"""Phonon bands and density of states of a crystal, from the second derivatives of a supercell, by phonopy.

Conventions are phonopy's (Togo, J. Phys. Soc. Jpn. 92, 012001 (2023)): the dynamical matrix is
D_jj'(q) = Σ_l' Φ(j0, j'l') exp(iq·[r(j'l') − r(j0)]) / √(m_j m_j'), with the phase at the atoms; frequencies are ω/2π
in THz, negative where imaginary; q in units of the reciprocal vectors of the primitive cell, distances along a path in
1/Å without 2π; the density of states counts 3n modes per primitive cell of n atoms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.cell import Cell
from ase.dft.kpoints import parse_path_string

from toolkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

SecondDerivatives = Callable[[Atoms], np.ndarray]
"""Atoms of N atoms -> (3N, 3N), eV/Å²."""
POINTS_PER_LINE = 41
MIN_CONSTANT = 1e-10
"""Force constants below this, eV/Å², are rounding."""
EDGE = 0.9
"""Pairs further apart than this share of half a supercell are at its edge."""


@dataclass(frozen=True)
class Phonons:
    """Bands of 3n modes along P points of a path through the Brillouin zone, and the density of states on F frequencies.

    q_points : (P, 3);  distances_per_A : (P,);  frequencies_THz : (P, 3n), ascending
    labels : names of special points and where they are along the path
    dos_THz, dos_per_THz : (F,), per primitive cell;  n_atoms : n;  acoustic_THz : (3,), at Γ, 0 in exact arithmetic
    sum_rule_error_eV_per_A2 : largest |Σ_j Φ(i, j)| before the sum rule was imposed
    edge_ratio : largest force constant between atoms half a supercell apart over the largest of all; where it is not
        small, bands change with the supercell
    """

    q_points: np.ndarray
    distances_per_A: np.ndarray
    frequencies_THz: np.ndarray
    labels: tuple[tuple[str, float], ...]
    dos_THz: np.ndarray
    dos_per_THz: np.ndarray
    n_atoms: int
    acoustic_THz: np.ndarray
    sum_rule_error_eV_per_A2: float
    edge_ratio: float


def phonons(atoms: Atoms, supercell: Sequence[int], second_derivatives: SecondDerivatives, *,
            mesh_length_A: float = 60.0, keep: Callable[[Phonopy], None] | None = None) -> Phonons:
    """Bands along the standard path of the primitive cell (Setyawan and Curtarolo, Comput. Mater. Sci. 49, 299 (2010)).

    atoms : a relaxed crystal, periodic along all three vectors
    supercell : repetitions along its vectors; the interactions should not reach beyond half of it
    second_derivatives : computes the Hessian of the supercell
    mesh_length_A : the mesh of the density of states is as fine as a supercell of about this length
    keep : is given the Phonopy with its force constants, e.g. to save it
    Where sites of one element differ in mass, the cell that was given counts as the primitive one, without symmetry.
    Raises ConfigError without phonopy, DataError for a structure that is no crystal.
    """
    require_crystal(atoms)
    if len(supercell) != 3 or min(supercell) < 1:
        raise ConfigError(f"found the supercell {list(supercell)}, expected three whole numbers from 1", "e.g. 2 2 2")
    crystal = _phonopy(*_right_handed(atoms, supercell))
    matrix = second_derivatives(_atoms(crystal.supercell))
    size = len(matrix) // 3
    constants = matrix.reshape(size, 3, size, 3).transpose(0, 2, 1, 3)
    crystal.force_constants = np.ascontiguousarray(constants)
    crystal.symmetrize_force_constants(show_drift=False)
    if np.abs(crystal.force_constants).max() < MIN_CONSTANT:
        raise DataError(f"found no restoring force in a supercell of {size} atoms", "choose a larger supercell")
    if keep is not None:
        keep(crystal)
    crystal.run_mesh(mesh_length_A)
    crystal.run_total_dos()
    at_gamma = _frequencies(crystal, np.zeros((1, 3)))[0]
    dos = crystal.total_dos
    return Phonons(*_bands(crystal), dos.frequency_points, dos.dos, len(crystal.primitive),
                   at_gamma[np.argsort(np.abs(at_gamma))[:3]], float(np.abs(constants.sum(axis=1)).max()),
                   _edge_ratio(_atoms(crystal.supercell), constants))


def require_crystal(atoms: Atoms, what: str = "phonons", hint: str = "use normal modes instead") -> None:
    """Raise DataError unless the structure is periodic along all three vectors. what : needs that;  hint : else do this"""
    if not atoms.pbc.all():
        raise DataError(f"found periodicity {atoms.pbc.tolist()}, {what} need a crystal", hint)


def _edge_ratio(supercell: Atoms, constants: np.ndarray) -> float:
    """Largest of the force constants (N, N, 3, 3) at the edge of a supercell over the largest; 1 where no pair is there."""
    distances = supercell.get_all_distances(mic=True)
    at_edge = distances > 0.5 * EDGE / np.linalg.norm(supercell.cell.reciprocal(), axis=1).max()
    sizes = np.abs(constants).max(axis=(2, 3))
    return float(sizes[at_edge].max() / sizes.max()) if at_edge.any() else 1.0


def _right_handed(atoms: Atoms, supercell: Sequence[int]) -> tuple[Atoms, Sequence[int]]:
    """The same crystal, two of its vectors exchanged where they are left-handed, since phonopy refuses those."""
    if np.linalg.det(atoms.cell.array) > 0.0:
        return atoms, supercell
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array[[1, 0, 2]])
    return turned, (supercell[1], supercell[0], supercell[2])


def _phonopy(atoms: Atoms, supercell: Sequence[int]) -> Phonopy:
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
        from phonopy.structure.cells import guess_primitive_matrix
    except ImportError:
        raise ConfigError("phonons of crystals need phonopy, which is not installed here", "pip install phonopy") from None
    cell = PhonopyAtoms(numbers=atoms.numbers, cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions(),
                        masses=atoms.get_masses())
    if _mixes_isotopes(atoms):
        return Phonopy(cell, np.diag(supercell), primitive_matrix=np.eye(3), is_symmetry=False)
    return Phonopy(cell, np.diag(supercell), primitive_matrix=guess_primitive_matrix(cell))


def _mixes_isotopes(atoms: Atoms) -> bool:
    """True when the masses of one element differ: phonopy tells sites by their elements alone."""
    masses = atoms.get_masses()
    return any(np.ptp(masses[atoms.numbers == z]) > 0.0 for z in np.unique(atoms.numbers))


def _atoms(cell: PhonopyAtoms) -> Atoms:
    return Atoms(cell.numbers, cell.positions, masses=cell.masses, cell=cell.cell, pbc=True)


def _frequencies(crystal: Phonopy, q_points: np.ndarray) -> np.ndarray:
    """Frequencies, (Q, 3n), THz, at the points (Q, 3)."""
    crystal.run_qpoints(q_points)
    return crystal.qpoints.frequencies


def _bands(crystal: Phonopy) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[tuple[str, float], ...]]:
    """Points, distances, frequencies and labels along the path; a jump of the path has no length."""
    cell = Cell(crystal.primitive.cell)
    path = cell.bandpath(npoints=0)
    reciprocal = cell.reciprocal()
    points, distances, labels, length = [], [], [], 0.0
    for names in parse_path_string(path.path):
        labels.append((names[0], length))
        for start, end in zip(names[:-1], names[1:], strict=True):
            begin, step = path.special_points[start], path.special_points[end] - path.special_points[start]
            fractions = np.linspace(0.0, 1.0, POINTS_PER_LINE)
            points.append(begin + fractions[:, None] * step)
            distances.append(length + fractions * np.linalg.norm(step @ reciprocal))
            length = float(distances[-1][-1])
            labels.append((end, length))
    q_points = np.concatenate(points)
    return q_points, np.concatenate(distances), _frequencies(crystal, q_points), tuple(labels)
