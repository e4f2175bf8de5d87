"""When a replica has left the physics: energies that are not numbers, runaway temperatures, broken bonds."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import natural_cutoffs, neighbor_list
from torch import Tensor

from toolkit.md.state import MDState
from toolkit.units import KB_EV_PER_K

MAX_BOND_CHANGE_A = 0.5
BOND_TOLERANCE = 1.15
"""Two atoms are bonded when closer than this times the sum of their covalent radii (`ase.data.covalent_radii`)."""


class Guards:
    """Judges a state; one (R,) bool per step, with a sentence for those that failed.

    - potential energy and forces are finite;
    - instantaneous temperature at most 10 000 K + 20 T, T the larger of the initial and the target temperature;
    - molecules (nothing periodic): every bond of the starting structure within 0.5 Å of its starting length.
    """

    def __init__(self, atoms: Atoms, degrees_of_freedom: int, temperature_K: float, device: torch.device) -> None:
        self.max_temperature_K = 10_000.0 + 20.0 * temperature_K
        self._kinetic_energy_per_K = 0.5 * degrees_of_freedom * KB_EV_PER_K
        bonds = find_bonds(atoms)
        lengths = np.linalg.norm(atoms.positions[bonds[1]] - atoms.positions[bonds[0]], axis=1)
        self._symbols = atoms.get_chemical_symbols()
        self._bonds = torch.as_tensor(bonds, device=device)
        self._lengths = torch.as_tensor(lengths, device=device)

    def failed(self, state: MDState) -> Tensor:
        """Replicas to be retired, (R,) bool."""
        bad = ~torch.isfinite(state.potential_energies + state.forces.sum(dim=(1, 2)))
        bad |= ~(state.kinetic_energies <= self._kinetic_energy_per_K * self.max_temperature_K)
        if self._bonds.shape[1]:
            bad |= self._bond_changes(state.positions).abs().amax(dim=1) > MAX_BOND_CHANGE_A
        return bad

    def reason(self, state: MDState, row: int) -> str:
        """One sentence on why the replica in this row of the state failed."""
        if not bool(torch.isfinite(state.potential_energies[row])) or not bool(torch.isfinite(state.forces[row]).all()):
            return "energy or forces are not finite numbers"
        temperature = float(state.kinetic_energies[row]) / self._kinetic_energy_per_K
        if not temperature <= self.max_temperature_K:
            return f"temperature {temperature:.5g} K above {self.max_temperature_K:.5g} K"
        change = self._bond_changes(state.positions[row][None])[0]
        worst = int(change.abs().argmax())
        i, j = self._bonds[:, worst].tolist()
        start = float(self._lengths[worst])
        return (f"bond {self._symbols[i]}{i}-{self._symbols[j]}{j} at {start + float(change[worst]):.2f} Å, "
                f"at the start {start:.2f} Å")

    def _bond_changes(self, positions: Tensor) -> Tensor:
        """Current minus starting bond lengths, (R, B), Å."""
        vectors = positions[:, self._bonds[1]] - positions[:, self._bonds[0]]
        return torch.linalg.vector_norm(vectors, dim=2) - self._lengths


def find_bonds(atoms: Atoms) -> np.ndarray:
    """Covalent bonds of a molecule, (2, B) int64, i < j; none for periodic structures, where bonds may come and go."""
    if atoms.pbc.any():
        return np.zeros((2, 0), dtype=np.int64)
    i, j = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=BOND_TOLERANCE))
    return np.stack([i, j])[:, i < j].astype(np.int64)
