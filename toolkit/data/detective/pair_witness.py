"""A witness for forces and stress: the pair potential that explains the forces of half of the frames best.

E = Σ_pairs Σ_k c_k φ_k(r), coefficients for each pair of elements, φ_k(r) = exp(−(ln(r/R) − u_k)²/2w²) (1 − r/r_max)²
with R the sum of covalent radii. Forces and virial are linear in c, so a ridge least-squares fit to the forces takes a
fraction of a second. It is no good potential, but it must explain the forces of the *other* half of the frames much
better than chance (correlation above 0.85 in every set we looked at, molecules, metals, water and salts alike), and the
shear stress it implies must follow that of the labels: Hellmann–Feynman forces and stress are derivatives of one energy
(Nielsen and Martin, Phys. Rev. B 32, 3780, 1985).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from toolkit.data.neighbors import neighbor_list
from toolkit.data.unit_evidence import NONMETALS, Measured

R_MAX_A = 5.0
WIDTH = 0.1
CENTRES = np.log(0.5) + WIDTH * np.arange(28)
"""Of the basis, in ln(r / sum of covalent radii): from half of a bond length to 7.4."""

MAX_ELEMENTS = 5
MAX_ATOMS = 4000
MAX_FRAMES = 400
RIDGE = 1e-4
FIRST_SHELL = 1.25
"""Closer than this times the sum of covalent radii counts as bonded."""

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
COMPONENTS_PER_PARAMETER = 4


@dataclass(frozen=True)
class PairWitness:
    """What the pair potential says about forces it has not seen.

    correlation : median over frames of the correlation between its forces and the labels, −1 … 1
    frames : how many it rests on
    metal_stiffness : mean second derivative at bonds with a metal atom, eV/Å², or None without such bonds
    stress : labelled over implied deviatoric stress (fluctuations within a composition), or None without stress labels
    """

    correlation: float
    frames: int
    metal_stiffness: float | None
    stress: Measured | None


@dataclass(frozen=True)
class _Frame:
    """Linear maps from coefficients (P,) of one frame, and what they should give.

    forces : (3N, P);  virial : (6, P), eV;  bonds : r, sum of radii and pair type of bonds with a metal atom, (B, 3)
    """

    forces: np.ndarray
    virial: np.ndarray
    bonds: np.ndarray
    labels: np.ndarray
    stress: np.ndarray | None
    volume: float
    composition: bytes


def pair_witness(frames: list[Atoms], seed: int = 0) -> PairWitness | None:
    """Fit to each half of (a sample of) the frames and ask about the other half.

    frames : with forces in eV/Å and stress in eV/Å³
    None with more than five elements, or when the frames are too few to fix the fit.
    """
    types = _pair_types(frames)
    chosen = _sample(frames, seed) if types else []
    if len(chosen) < 4:
        return None
    rows = [_linear_maps(frames[t], types) for t in chosen]
    populated = sum(np.count_nonzero(np.abs(row.forces).max(axis=0) > 1e-3) for row in rows) / len(rows)
    if sum(len(row.labels) for row in rows) < 2 * COMPONENTS_PER_PARAMETER * populated:
        return None
    halves = [_fit(rows[0::2]), _fit(rows[1::2])]
    unseen = [halves[1 - k % 2] for k in range(len(rows))]
    correlations = [_correlation(row.forces @ c, row.labels) for row, c in zip(rows, unseen, strict=True)]
    stiffness = [_stiffness(row.bonds, c) for row, c in zip(rows, unseen, strict=True) if len(row.bonds)]
    return PairWitness(float(np.median(correlations)), len(rows),
                       float(np.mean(np.concatenate(stiffness))) if stiffness else None, _stress(rows, unseen))


def _pair_types(frames: list[Atoms]) -> dict[tuple[int, int], int]:
    """Pair of atomic numbers -> its place among the coefficients; empty when there are too many elements."""
    numbers = sorted({int(z) for atoms in frames for z in np.unique(atoms.numbers)})
    if len(numbers) > MAX_ELEMENTS:
        return {}
    pairs = [(a, b) for a in numbers for b in numbers if a <= b]
    return {pair: place for place, pair in enumerate(pairs)}


def _sample(frames: list[Atoms], seed: int) -> list[int]:
    """A random choice of frames whose forces are neither absent (perfect crystals) nor extreme."""
    rms = {t: float(np.sqrt(np.mean(atoms.calc.results["forces"] ** 2))) for t, atoms in enumerate(frames)
           if len(atoms) > 1 and "forces" in atoms.calc.results}
    informative = [value for value in rms.values() if value > 1e-4]
    if not informative:
        return []
    typical = float(np.median(informative))
    usual = [t for t, value in rms.items() if 0.2 * typical < value < 5.0 * typical]
    order = np.random.default_rng(seed).permutation(usual)[:MAX_FRAMES]
    total = np.cumsum([len(frames[t]) for t in order])
    return order[:max(10, int(np.searchsorted(total, MAX_ATOMS)))].tolist()


def _linear_maps(atoms: Atoms, types: dict[tuple[int, int], int]) -> _Frame:
    (i, j), shifts = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, R_MAX_A)
    vectors = atoms.positions[j] - atoms.positions[i] + shifts @ atoms.cell.array
    lengths = np.linalg.norm(vectors, axis=1)
    z = atoms.numbers
    radii = covalent_radii[z[i]] + covalent_radii[z[j]]
    kind = np.array([types[a, b] for a, b in zip(np.minimum(z[i], z[j]).tolist(), np.maximum(z[i], z[j]).tolist(),
                                                strict=True)], dtype=int)
    slopes, directions = _slopes(lengths, radii), vectors / lengths[:, None]
    forces = np.zeros((len(atoms), 3, len(types), len(CENTRES)))
    virial = np.zeros((6, len(types), len(CENTRES)))
    for place in np.unique(kind):
        e = np.flatnonzero(kind == place)
        pulls = np.zeros((len(atoms), 3, len(CENTRES)))
        np.add.at(pulls, i[e], slopes[e, None, :] * directions[e, :, None])
        forces[:, :, place] = pulls
        for v, (a, b) in enumerate(VOIGT):
            virial[v, place] = 0.5 * (slopes[e] * (vectors[e, a] * directions[e, b])[:, None]).sum(axis=0)
    metallic = ~(np.isin(z[i], list(NONMETALS)) & np.isin(z[j], list(NONMETALS)))
    bonded = (lengths < FIRST_SHELL * radii) & metallic & (i < j)
    return _Frame(forces.reshape(3 * len(atoms), -1), virial.reshape(6, -1),
                  np.stack([lengths, radii, kind], axis=1)[bonded], atoms.calc.results["forces"].ravel(),
                  atoms.calc.results.get("stress"), atoms.get_volume() if atoms.pbc.all() else 0.0,
                  np.sort(z).tobytes())


def _basis(lengths: np.ndarray, radii: np.ndarray) -> np.ndarray:
    u = np.log(lengths / radii)[:, None]
    return np.exp(-0.5 * ((u - CENTRES) / WIDTH) ** 2) * np.clip(1.0 - lengths / R_MAX_A, 0.0, None)[:, None] ** 2


def _slopes(lengths: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """dφ_k/dr, (E, K), 1/Å."""
    r = lengths[:, None]
    u = np.log(r / radii[:, None]) - CENTRES
    return _basis(lengths, radii) * (-u / WIDTH**2 / r - 2.0 / np.clip(R_MAX_A - r, 1e-9, None))


def _fit(rows: list[_Frame]) -> np.ndarray:
    """Ridge least squares of forces, each frame weighted by the inverse square of its RMS force."""
    weights = [1.0 / np.mean(row.labels**2) for row in rows]
    normal = sum(w * row.forces.T @ row.forces for w, row in zip(weights, rows, strict=True))
    right = sum(w * row.forces.T @ row.labels for w, row in zip(weights, rows, strict=True))
    return np.linalg.solve(normal + RIDGE * np.trace(normal) / len(normal) * np.eye(len(normal)), right)


def _stiffness(bonds: np.ndarray, coefficients: np.ndarray, step_A: float = 0.02) -> np.ndarray:
    """Second derivative of the pair potential at each bond, eV/Å², by finite differences."""
    lengths, radii, kind = bonds[:, 0], bonds[:, 1], bonds[:, 2].astype(int)
    rows = coefficients.reshape(-1, len(CENTRES))[kind]
    below, here, above = ((_basis(lengths + d, radii) * rows).sum(axis=1) for d in (-step_A, 0.0, step_A))
    return (above - 2.0 * here + below) / step_A**2


def _stress(rows: list[_Frame], unseen: list[np.ndarray]) -> Measured | None:
    """Labelled against implied stress: without its trace, which a pair potential gets wrong in metals (Cauchy pressure,
    embedding), and about its mean in each composition."""
    labelled = [k for k, row in enumerate(rows) if row.stress is not None and row.volume > 0.0]
    implied = np.array([rows[k].virial @ unseen[k] / rows[k].volume for k in labelled]).reshape(-1, 6)
    found = np.array([rows[k].stress for k in labelled]).reshape(-1, 6)
    for values in (implied, found):
        values[:, :3] -= values[:, :3].mean(axis=1, keepdims=True)
        for composition in {rows[k].composition for k in labelled}:
            same = [n for n, k in enumerate(labelled) if rows[k].composition == composition]
            values[same] -= values[same].mean(axis=0)
    sizes = np.linalg.norm(implied, axis=1) * np.linalg.norm(found, axis=1)
    told = sizes > 0.0
    if np.count_nonzero(told) < 8:
        return None
    cosines = np.sum(implied * found, axis=1)[told] / sizes[told]
    ratios = np.linalg.norm(found, axis=1)[told] / np.linalg.norm(implied, axis=1)[told]
    return Measured(float(np.median(ratios)), float(np.median(cosines)), int(np.count_nonzero(told)))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of two vectors, without taking off their means: forces and fluctuations have none."""
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0.0 else 0.0
