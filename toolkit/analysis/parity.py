"""Predictions beside labels: errors frame by frame, by element and by the size of the force.

S frames, N atoms of all frames in a row. Labels that are absent are NaN and do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from toolkit.units import MEV_PER_EV

FORCE_BINS = 10


@dataclass(frozen=True)
class Parity:
    """What a potential says of labelled frames, and what their labels say.

    num_atoms : (S,);  atomic_numbers : (N,)
    energy_eV, label_energy_eV : (S,);  forces_eV_per_A, label_forces_eV_per_A : (N, 3)
    """

    num_atoms: np.ndarray
    atomic_numbers: np.ndarray
    energy_eV: np.ndarray
    label_energy_eV: np.ndarray
    forces_eV_per_A: np.ndarray
    label_forces_eV_per_A: np.ndarray

    @property
    def frame_of_atom(self) -> np.ndarray:
        """Number of each atom's frame, (N,)."""
        return np.repeat(np.arange(len(self.num_atoms)), self.num_atoms)

    @property
    def energy_error_meV_per_atom(self) -> np.ndarray:
        """Prediction minus label, (S,)."""
        return MEV_PER_EV * (self.energy_eV - self.label_energy_eV) / self.num_atoms

    @property
    def forces_error_meV_per_A(self) -> np.ndarray:
        """Prediction minus label, (N, 3)."""
        return MEV_PER_EV * (self.forces_eV_per_A - self.label_forces_eV_per_A)

    def forces_error_of_frame(self, frame: int) -> np.ndarray:
        """Prediction minus label on the atoms of one frame, (n, 3), eV/Å."""
        return self.forces_error_meV_per_A[self.frame_of_atom == frame] / MEV_PER_EV


def frame_errors(parity: Parity) -> dict[str, np.ndarray]:
    """A table with one row a frame, (S,) each: energies, their error, mean and largest error of the forces.

    The largest is the length of the error vector on `worst_atom`, counted from 0 in its frame (-1: no labels).
    """
    error = parity.forces_error_meV_per_A
    first = np.cumsum(parity.num_atoms) - parity.num_atoms
    lengths = np.nan_to_num(np.linalg.norm(error, axis=1), nan=-1.0)
    pieces = np.split(lengths, first[1:])
    worst = np.array([int(piece.argmax()) for piece in pieces], dtype=int)
    largest = lengths[first + worst]
    labelled = np.isfinite(error).all(axis=1)
    counts = np.maximum(np.add.reduceat(labelled, first, dtype=float), 1.0)
    sums = np.add.reduceat(np.where(labelled, np.abs(np.nan_to_num(error)).mean(axis=1), 0.0), first)
    known = largest >= 0.0
    return {"frame": np.arange(len(first)), "atoms": parity.num_atoms,
            "label_energy_eV": parity.label_energy_eV, "energy_eV": parity.energy_eV,
            "energy_error_meV_per_atom": parity.energy_error_meV_per_atom,
            "forces_mae_meV_per_A": np.where(known, sums / counts, np.nan),
            "largest_force_error_meV_per_A": np.where(known, largest, np.nan),
            "worst_atom": np.where(known, worst, -1)}


def worst_frames(table: dict[str, np.ndarray], column: str, count: int) -> np.ndarray:
    """The frames with the largest absolute values in a column of `frame_errors`, largest first; NaN are left out."""
    values = np.abs(table[column].astype(float))
    order = np.argsort(-np.nan_to_num(values, nan=-1.0), kind="stable")
    return order[np.isfinite(values[order])][:count]


def element_errors(parity: Parity) -> list[dict[str, float | str]]:
    """One row an element: atoms with labels, force MAE and RMSE of components, and the RMSE in % of the label's RMS."""
    rows: list[dict[str, float | str]] = []
    error = parity.forces_error_meV_per_A
    known = np.isfinite(error).all(axis=1)
    for z in np.unique(parity.atomic_numbers[known]):
        chosen = known & (parity.atomic_numbers == z)
        rmse = _rms(error[chosen])
        label_rms = MEV_PER_EV * _rms(parity.label_forces_eV_per_A[chosen])
        rows.append({"element": chemical_symbols[z], "n_atoms": int(chosen.sum()),
                     "forces_mae_meV_per_A": float(np.abs(error[chosen]).mean()), "forces_rmse_meV_per_A": rmse,
                     "relative_rmse_percent": 100.0 * rmse / label_rms if label_rms else float("nan")})
    return rows


@dataclass(frozen=True)
class MagnitudeErrors:
    """Force errors of atoms sorted by the length of their label, in bins of equally many atoms, (B,) each."""

    force_eV_per_A: np.ndarray
    mae_meV_per_A: np.ndarray
    stderr_meV_per_A: np.ndarray


def magnitude_errors(parity: Parity, bins: int = FORCE_BINS) -> MagnitudeErrors:
    """Force MAE of components against the mean length of the labels in each bin; fewer bins for few atoms."""
    error = parity.forces_error_meV_per_A
    known = np.isfinite(error).all(axis=1)
    size = np.linalg.norm(parity.label_forces_eV_per_A[known], axis=1)
    per_atom = np.abs(error[known]).mean(axis=1)
    order = np.argsort(size, kind="stable")
    parts = np.array_split(order, min(bins, len(order))) if len(order) else []
    return MagnitudeErrors(np.array([size[part].mean() for part in parts]),
                           np.array([per_atom[part].mean() for part in parts]),
                           np.array([per_atom[part].std() / np.sqrt(len(part)) for part in parts]))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
