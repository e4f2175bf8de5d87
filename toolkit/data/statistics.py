"""Numbers a model takes from its training data: energy per isolated atom, force RMS, average number of neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from toolkit.data.neighbors import neighbor_list
from toolkit.errors import DataError

T = TypeVar("T")
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


def compute_statistics(frames: Sequence[Atoms], r_max: float,
                       isolated_atom_energies: dict[str, float] | None = None) -> Statistics:
    """Statistics of frames in eV and Å, for a cutoff r_max (Å).

    Shifts are the isolated-atom energies (eV) when given, else ridge least squares of total energies on compositions.
    Raises DataError without frames or when an isolated-atom energy is missing.
    """
    if not frames:
        raise DataError("found no training frames, expected at least one")
    warnings: tuple[str, ...] = ()
    if isolated_atom_energies is None:
        shifts, warnings = fit_energy_shifts(frames)
    else:
        shifts = _isolated_shifts(frames, isolated_atom_energies)
    residuals = np.array(list(energies_above(frames, shifts).values()))
    if residuals.size and abs(np.median(residuals)) > IMPLAUSIBLE_EV_PER_ATOM:
        warnings += (f"energies differ from the isolated atoms by {np.median(residuals):.1f} eV/atom: "
                     "these isolated-atom energies belong to another method or unit",)
    return Statistics(shifts, force_rms(frames), average_neighbors(frames, r_max),
                      float(np.sqrt(np.mean(residuals**2))) if residuals.size else float("nan"), warnings)


def fit_energy_shifts(frames: Sequence[Atoms]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Ridge least squares of total energies on compositions: element -> eV, and a warning when these do not fix it.

    Solved by singular values in float64. Directions without information stay at zero: the smallest shifts that fit.
    """
    symbols, counts = composition_counts(frames)
    energies = np.array([_results(atoms).get("energy", np.nan) for atoms in frames], dtype=np.float64)
    labelled = np.isfinite(energies)
    if not labelled.any():
        return dict.fromkeys(symbols, 0.0), ()
    shifts, rank = fit_to_compositions(counts[labelled], energies[labelled])
    warnings: tuple[str, ...] = ()
    if rank < len(symbols):
        warnings = (f"compositions fix only {rank} of {len(symbols)} energy shifts ({', '.join(symbols)}): the "
                    "smallest that fit are used, so atomisation energies mean nothing; "
                    "give isolated_atom_energies to mend this",)
    return dict(zip(symbols, shifts.tolist(), strict=True)), warnings


def fit_to_compositions(counts: np.ndarray, energies: np.ndarray) -> tuple[np.ndarray, int]:
    """Energies of the elements (Z,), eV, that fit energies (T,) of frames with `counts` (T, Z) atoms, and how many of
    them the compositions fix."""
    left, singular, right = np.linalg.svd(counts, full_matrices=False)
    damped = singular / (singular**2 + (RIDGE * singular[0]) ** 2)
    return right.T @ (damped * (left.T @ energies)), rank_of(singular)


def spread_out(frames: Sequence[T], most: int) -> list[T]:
    """At most so many of the frames (or whatever it is), evenly spaced."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), most)).astype(int))
    return [frames[t] for t in chosen]


def elements(frames: Sequence[Atoms]) -> list[str]:
    """Elements that occur, by atomic number."""
    return [chemical_symbols[z] for z in sorted({z for atoms in frames for z in atoms.numbers.tolist()})]


def composition_counts(frames: Sequence[Atoms], symbols: list[str] | None = None) -> tuple[list[str], np.ndarray]:
    """Elements (of the frames, by atomic number, unless given) and how many atoms of each every frame has, (T, Z)."""
    symbols = symbols or elements(frames)
    tallies = (Counter(atoms.get_chemical_symbols()) for atoms in frames)
    return symbols, np.array([[tally[symbol] for symbol in symbols] for tally in tallies], dtype=np.float64)


def rank_of(singular: np.ndarray) -> int:
    """How many singular values, largest first, of a composition matrix are not noise."""
    return int(np.count_nonzero(singular > 1e-3 * singular[0]))


def energies_above(frames: Sequence[Atoms], shifts: dict[str, float]) -> dict[int, float]:
    """Index of each frame with an energy -> (E − Σ shifts)/N, eV/atom."""
    return {t: (_results(atoms)["energy"] - sum(shifts[symbol] for symbol in atoms.get_chemical_symbols())) / len(atoms)
            for t, atoms in enumerate(frames) if "energy" in _results(atoms)}


def _results(atoms: Atoms) -> dict:
    return atoms.calc.results if atoms.calc is not None else {}


def _isolated_shifts(frames: Sequence[Atoms], energies: dict[str, float]) -> dict[str, float]:
    symbols = elements(frames)
    missing = [symbol for symbol in symbols if symbol not in energies]
    if missing:
        raise DataError(f"found no isolated-atom energy for {missing}, expected one for each of {symbols}",
                        "complete data.isolated_atom_energies, or leave it out to fit all of them")
    return {symbol: energies[symbol] for symbol in symbols}


def force_rms(frames: Sequence[Atoms]) -> float:
    """Root mean square of all force components, eV/Å; NaN without forces."""
    components = [np.asarray(_results(atoms)["forces"]).ravel() for atoms in frames if "forces" in _results(atoms)]
    return float(np.sqrt(np.mean(np.concatenate(components) ** 2))) if components else float("nan")


def average_neighbors(frames: Sequence[Atoms], r_max: float) -> float:
    """Mean number of neighbours per atom within r_max (Å), over at most 300 evenly spaced frames."""
    sample = spread_out(frames, MAX_NEIGHBOR_FRAMES)
    edges = sum(neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, r_max)[0].shape[1] for atoms in sample)
    return edges / sum(len(atoms) for atoms in sample)
