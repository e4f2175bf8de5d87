"""What physics says about the units of a data set: four measurements on frames in the units of their file.

`length_ratio`       nearest-neighbour distance over the sum of covalent radii: 1 in Å, 1.9 in Bohr, 0.1 in nm
`energy_ratio`       total energy over that of all-electron atoms in Hartree: 1 in Hartree, 27.2 in eV, 627 in kcal/mol
`bond_stiffness`     how strongly forces pull stretched bonds back, over Badger's rule: near 1 in eV and Å
`work_over_energy`   −F·dr between close frames over their energy difference: 1 when both are one function
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, covalent_radii
from scipy.spatial.distance import cdist

from toolkit.data.neighbors import neighbor_list
from toolkit.data.raw_frames import RawFrames
from toolkit.data.similarity import comparable_groups, frame_features, nearest_image, unwrapped_positions
from toolkit.errors import DataError

MAX_FRAMES = 1200
"""Frames looked at per group: unit detection must stay quick on long trajectories."""

MAX_PAIRS = 50
SAME_FRAME = 1e-6
"""Frames that differ by less, in file units, are copies of each other."""
MIN_FRAMES = 12
MAX_FEATURE_ATOMS = 60

NOBLE_GASES = frozenset({2, 10, 18, 36, 54, 86, 118})
LARGEST_SCHWINGER_Z = 36
BADGER_K = 1.86 * 6.2415
"""Badger's constant, 1.86 mdyn·Å² in eV·Å."""

BADGER_D_A = {(0, 0): 0.025, (0, 1): 0.335, (0, 2): 0.585, (1, 1): 0.680, (1, 2): 0.900, (2, 2): 1.180}
"""Badger's d_ij, Å, by rows of the periodic table (0: H, 1: Li–Ne, 2: Na–Ar)."""

NONMETALS = frozenset({1, 5, 6, 7, 8, 9, 14, 15, 16, 17})
ROW_ENDS = (2, 10, 18)


@dataclass(frozen=True)
class Measured:
    """A dimensionless result, how well it correlates (−1 … 1) and on how many samples it rests."""

    value: float
    correlation: float
    samples: int


@dataclass(frozen=True)
class CloseStep:
    """From one frame to a similar one, in the units of the file.

    rms : displacement of an atom;  work : −½(F_a + F_b)·(r_b − r_a);  energy : E_b − E_a;  earlier, later : a and b
    """

    rms: float
    work: float
    energy: float
    earlier: int
    later: int


def length_ratio(raw: RawFrames) -> float | None:
    """Median over atoms of the nearest distance (file units) over the sum of covalent radii (Å).

    None when no frame has 3 … 500 atoms free of noble gases: stretched pairs and atoms say nothing.
    """
    ratios: list[float] = []
    for t in np.linspace(0, len(raw) - 1, min(len(raw), 30)).astype(int):
        atoms = raw.structures[t]
        if not 3 <= len(atoms) <= 500 or NOBLE_GASES & set(atoms.numbers.tolist()):
            continue
        distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
        radii = covalent_radii[atoms.numbers]
        scaled = distances / (radii[:, None] + radii[None, :])
        np.fill_diagonal(scaled, np.inf)
        ratios.extend(scaled.min(axis=1))
    return float(np.median(ratios)) if ratios else None


def energy_ratio(raw: RawFrames) -> Measured | None:
    """Median of total energy (file units) over the energy of the separate all-electron atoms (Hartree).

    Atoms follow the statistical model −0.7687 Z^7/3 + ½ Z² − 0.2699 Z^5/3 (Schwinger, Phys. Rev. A 24, 2353, 1981),
    within 1 % of Hartree–Fock from carbon on. None when there is no energy or an element beyond krypton.
    """
    ratios = []
    for atoms, energy in zip(raw.structures, raw.energies, strict=True):
        z = atoms.numbers.astype(float)
        if energy is not None and z.max() <= LARGEST_SCHWINGER_Z:
            atoms_energy = np.sum(-0.768745 * z ** (7 / 3) + 0.5 * z**2 - 0.269900 * z ** (5 / 3))
            ratios.append(energy / atoms_energy)
    return Measured(float(np.median(ratios)), 1.0, len(ratios)) if ratios else None


def bond_stiffness(raw: RawFrames, length_A: float) -> Measured | None:
    """Median stretch force constant of covalent bonds over Badger's rule (J. Chem. Phys. 2, 128, 1934).

    length_A : the file's length unit in Å. The result is 1 within a factor of about 1.4 when forces are in eV/Å, and
    scales with their unit (per the file's length unit). Positive when forces pull stretched bonds back.
    None without at least 6 frames of one molecule that has forces and bonds between non-metals.
    """
    groups = _groups(raw, need_energy=False)
    group = groups[0][:MAX_FRAMES] if groups else []
    if len(group) < 6:
        return None
    first = raw.structures[group[0]]
    forces = np.array([raw.forces[t] for t in group]) / length_A
    ratios, correlations = [], []
    for i, j, reference in _covalent_bonds(first, length_A):
        vectors = _bond_vectors(raw, group, i, j, reference) * length_A
        lengths = np.linalg.norm(vectors, axis=1)
        radii = covalent_radii[first.numbers[[i, j]]].sum()
        if lengths.max() > 1.6 * radii or lengths.min() < 0.4 * radii or lengths.std() < 1e-3:
            continue
        mass_i, mass_j = atomic_masses[first.numbers[[i, j]]]
        directions = vectors / lengths[:, None]
        pull = np.einsum("ta,ta->t", forces[:, j] * mass_i - forces[:, i] * mass_j, directions) / (mass_i + mass_j)
        covariance = np.cov(lengths, pull)
        if covariance[1, 1] == 0.0:
            continue
        reference_stiffness = _badger(first.numbers[i], first.numbers[j], lengths.mean())
        ratios.append(-covariance[0, 1] / covariance[0, 0] / reference_stiffness)
        correlations.append(-covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))
    if not ratios:
        return None
    return Measured(float(np.median(ratios)), float(np.median(correlations)), len(ratios))


def work_over_energy(raw: RawFrames) -> Measured | None:
    """−½(F_a + F_b)·(r_b − r_a) regressed on E_b − E_a over the closest pairs of frames, in the units of the file.

    Molecules are superposed first (Kabsch, Acta Cryst. A32, 922, 1976), periodic frames of one cell compared by nearest
    images. 1 when forces are minus the gradient of the energies; None without at least 8 comparable pairs of 12 frames:
    the many pairs of a few frames say little more than those frames.
    """
    steps = close_steps(raw)
    if len({frame for step in steps for frame in (step.earlier, step.later)}) < MIN_FRAMES:
        return None
    work, difference = np.array([step.work for step in steps]), np.array([step.energy for step in steps])
    if len(work) < 8 or not difference.any() or not work.any():
        return None
    norm = np.sqrt((work @ work) * (difference @ difference))
    return Measured(float(work @ difference / (difference @ difference)), float(work @ difference / norm), len(work))


def close_steps(raw: RawFrames) -> list[CloseStep]:
    """The closest pairs of comparable frames, closest first, at most 50."""
    steps = [step for group in _groups(raw, need_energy=True)[:5] for step in _closest_pairs(raw, group[:MAX_FRAMES])]
    return sorted(steps, key=lambda step: step.rms)[:MAX_PAIRS]


def _groups(raw: RawFrames, need_energy: bool) -> list[list[int]]:
    """Comparable frames with forces (and energy), largest group first."""
    usable = [t for t, atoms in enumerate(raw.structures)
              if len(atoms) > 1 and raw.forces[t] is not None and (raw.energies[t] is not None or not need_energy)]
    return comparable_groups(raw.structures, usable)


def _covalent_bonds(atoms: Atoms, length_A: float) -> list[tuple[int, int, np.ndarray]]:
    """Up to 300 bonds (i, j, vector in file units) between non-metals, each once."""
    try:
        (i, j), shifts = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 2.9 / length_A)
    except DataError:
        return []
    vectors = atoms.positions[j] - atoms.positions[i] + shifts @ atoms.cell.array
    radii, covalent = covalent_radii[atoms.numbers], np.isin(atoms.numbers, list(NONMETALS))
    bonded = np.linalg.norm(vectors, axis=1) * length_A < 1.25 * (radii[i] + radii[j])
    chosen = np.flatnonzero(bonded & covalent[i] & covalent[j] & (i < j))[:300]
    return [(int(i[e]), int(j[e]), vectors[e]) for e in chosen]


def _bond_vectors(raw: RawFrames, group: list[int], i: int, j: int, reference: np.ndarray) -> np.ndarray:
    """Vectors i → j in all frames of a group, the image nearest to the reference vector, (T, 3), file units."""
    first = raw.structures[group[0]]
    vectors = np.array([raw.structures[t].positions[j] - raw.structures[t].positions[i] for t in group])
    return reference + nearest_image(vectors - reference, first) if first.pbc.any() else vectors


def _badger(z_i: int, z_j: int, length: float) -> float:
    """Badger's force constant of a bond of this length (Å), eV/Å²."""
    rows = tuple(sorted(int(np.searchsorted(ROW_ENDS, z)) for z in (z_i, z_j)))
    return BADGER_K / (length - BADGER_D_A[rows]) ** 3


def _closest_pairs(raw: RawFrames, group: list[int]) -> list[CloseStep]:
    """The closest pairs of frames of one group; of the same frame twice nothing can be learned."""
    structures = [raw.structures[t] for t in group]
    periodic = bool(structures[0].pbc.any())
    positions = unwrapped_positions(structures)
    features = frame_features(structures, positions, MAX_FEATURE_ATOMS)
    distances = cdist(features, features)
    distances[np.tril_indices(len(group))] = np.inf
    distances[distances < SAME_FRAME] = np.inf
    order = np.argsort(distances, axis=None)[: min(MAX_PAIRS, np.count_nonzero(np.isfinite(distances)))]
    pairs = []
    for a, b in zip(*np.unravel_index(order, distances.shape), strict=True):
        force_a, force_b = raw.forces[group[a]], raw.forces[group[b]]
        if periodic:
            step = positions[b] - positions[a]
            step = step - step.mean(axis=0)
        else:
            rotation, step = _superpose(positions[a], positions[b])
            force_b = force_b @ rotation
        rms = float(np.sqrt((step**2).sum(axis=1).mean()))
        if rms > SAME_FRAME:
            work = -0.5 * float(np.sum((force_a + force_b) * step))
            pairs.append(CloseStep(rms, work, raw.energies[group[b]] - raw.energies[group[a]], group[a], group[b]))
    return pairs


def _superpose(fixed: np.ndarray, moving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (acting from the right) that best lays `moving` on `fixed`, and the displacements left over, (N, 3)."""
    fixed, moving = fixed - fixed.mean(axis=0), moving - moving.mean(axis=0)
    left, _, right = np.linalg.svd(moving.T @ fixed)
    left[:, -1] *= np.sign(np.linalg.det(left @ right))
    rotation = left @ right
    return rotation, moving @ rotation - fixed
