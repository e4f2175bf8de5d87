"""Numbers a model takes from its training data: energy per isolated atom, force RMS, average number of neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from toolkit.data.neighbors import neighbor_list
from toolkit.errors import DataError

RIDGE = 1e-6
"""Relative size of singular values of the composition matrix below which least squares is damped away."""

MAX_NEIGHBOR_FRAMES = 300
IMPLAUSIBLE_EV_PER_ATOM = 15.0


@dataclass(frozen=True)
class Statistics:
    """Statistics of a training set.

    per_species_energy_shifts : element -> eV, isolated atoms or a fit;  force_rms_eV_per_A : over all components
    avg_num_neighbors : mean number of neighbours within r_max
    energy_residual_rms_eV_per_atom : RMS of (E − Σ shifts)/N; NaN where nothing is labelled
    """

    per_species_energy_shifts: dict[str, float]
    force_rms_eV_per_A: float
    avg_num_neighbors: float
    energy_residual_rms_eV_per_atom: float
    warnings: tuple[str, ...] = ()


def compute_statistics(frames: list[Atoms], r_max: float, isolated_atom_energies: dict[str, float] | None = None) -> Statistics:
    """Statistics of frames in eV and Å, for a cutoff r_max (Å).

    Shifts are the isolated-atom energies (eV) when given, else ridge least squares of total energies on compositions.
    Raises DataError without frames or when an isolated-atom energy is missing.
    """
    if not frames:
        raise DataError("found no training frames, expected at least one")
    labelled = [atoms for atoms in frames if "energy" in _results(atoms)]
    numbers = np.unique(np.concatenate([atoms.numbers for atoms in frames]))
    counts = np.array([[np.count_nonzero(atoms.numbers == z) for z in numbers] for atoms in labelled], dtype=np.float64)
    energies = np.array([_results(atoms)["energy"] for atoms in labelled], dtype=np.float64)
    symbols = [chemical_symbols[z] for z in numbers]
    warnings: list[str] = []
    if isolated_atom_energies is not None:
        shifts = _isolated_shifts(symbols, isolated_atom_energies)
    elif labelled:
        shifts = _fitted_shifts(counts, energies, symbols, warnings)
    else:
        shifts = np.zeros(len(symbols))
    residual = np.nan
    if labelled:
        per_atom = (energies - counts @ shifts) / counts.sum(axis=1)
        residual = float(np.sqrt(np.mean(per_atom**2)))
        if abs(np.median(per_atom)) > IMPLAUSIBLE_EV_PER_ATOM:
            warnings.append(f"energies differ from the isolated atoms by {np.median(per_atom):.1f} eV/atom: "
                            "these isolated-atom energies belong to another method or unit")
    return Statistics(dict(zip(symbols, shifts.tolist(), strict=True)), force_rms(frames),
                      average_neighbors(frames, r_max), residual, tuple(warnings))


def _results(atoms: Atoms) -> dict:
    return atoms.calc.results if atoms.calc is not None else {}


def _isolated_shifts(symbols: list[str], energies: dict[str, float]) -> np.ndarray:
    missing = [symbol for symbol in symbols if symbol not in energies]
    if missing:
        raise DataError(f"found no isolated-atom energy for {missing}, expected one for each of {symbols}",
                        "complete data.isolated_atom_energies, or leave it out to fit all of them")
    return np.array([energies[symbol] for symbol in symbols])


def _fitted_shifts(counts: np.ndarray, energies: np.ndarray, symbols: list[str], warnings: list[str]) -> np.ndarray:
    """Ridge least squares E ≈ counts @ shifts by singular values; directions without information stay at zero."""
    left, singular, right = np.linalg.svd(counts, full_matrices=False)
    rank = int(np.count_nonzero(singular > 1e-3 * singular[0]))
    if rank < len(symbols):
        warnings.append(f"compositions fix only {rank} of {len(symbols)} energy shifts ({', '.join(symbols)}): the smallest ones "
                        "that fit are used, and atomisation energies mean nothing; give isolated_atom_energies to mend this")
    damped = singular / (singular**2 + (RIDGE * singular[0]) ** 2)
    return right.T @ (damped * (left.T @ energies))


def force_rms(frames: list[Atoms]) -> float:
    """Root mean square of all force components, eV/Å; NaN without forces."""
    components = [np.asarray(_results(atoms)["forces"]).ravel() for atoms in frames if "forces" in _results(atoms)]
    return float(np.sqrt(np.mean(np.concatenate(components) ** 2))) if components else float("nan")


def average_neighbors(frames: list[Atoms], r_max: float) -> float:
    """Mean number of neighbours per atom within r_max (Å), over at most 300 evenly spaced frames."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MAX_NEIGHBOR_FRAMES)).astype(int))
    edges = sum(neighbor_list(frames[t].positions, frames[t].cell.array, frames[t].pbc, r_max)[0].shape[1] for t in chosen)
    return edges / sum(len(frames[t]) for t in chosen)
