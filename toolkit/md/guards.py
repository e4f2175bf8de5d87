"""When a replica has left the physics: energies that are not numbers, runaway temperatures, broken bonds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import natural_cutoffs, neighbor_list
from torch import Tensor

from toolkit.config import MDConfig
from toolkit.data.neighbors import MAX_EXTENT_A
from toolkit.md.state import MDState
from toolkit.units import KB_EV_PER_K

MAX_VOLUME_CHANGE = 5.0
BOND_TOLERANCE = 1.15
"""Two atoms are bonded when closer than this times the sum of their covalent radii (`ase.data.covalent_radii`)."""


class Guards:
    """Judges a state; one (R,) bool per step, with a sentence for those that failed.

    - potential energy and forces are finite, and no atom is beyond the space where neighbours are looked for;
    - instantaneous temperature at most `max_temperature_K`, by default 10 000 K + 20 times the hottest target;
    - at variable cell, a volume between a fifth and five times that of the start;
    - molecules (nothing periodic): every bond of the starting structure within `max_bond_change_A` of its first length.

    rows : the starting structure of each of the run's replicas
    """

    def __init__(self, rows: Sequence[Atoms], config: MDConfig, device: torch.device) -> None:
        self.max_temperature_K = config.max_temperature_K or 10_000.0 + 20.0 * config.hottest_K
        self.max_bond_change_A = config.max_bond_change_A
        self._rows = rows
        volumes = [abs(np.linalg.det(atoms.cell.array)) for atoms in rows]
        self._volumes = torch.as_tensor(volumes, device=device) if config.ensemble == "npt" else None
        bonds = {id(atoms): find_bonds(atoms) for atoms in rows}
        most = 0 if self.max_bond_change_A is None else max(found.shape[1] for found in bonds.values())
        ends = np.zeros((len(rows), 2, most), dtype=np.int64)  # a bond of an atom with itself never changes
        for row, atoms in zip(ends, rows, strict=True):
            found = bonds[id(atoms)][:, :most]
            row[:, :found.shape[1]] = found
        lengths = [np.linalg.norm(atoms.positions[j] - atoms.positions[i], axis=1)
                   for atoms, (i, j) in zip(rows, ends, strict=True)]
        self._ends = torch.as_tensor(ends, device=device)
        self._lengths = torch.as_tensor(np.stack(lengths), device=device)

    def failed(self, state: MDState) -> Tensor:
        """Replicas to be retired, (R,) bool; decided on the device."""
        good = torch.isfinite(state.potential_energies + state.forces.sum(dim=(1, 2)))
        good = good & (state.positions.abs().amax(dim=(1, 2)) <= MAX_EXTENT_A)
        good = good & (_temperatures_K(state) <= self.max_temperature_K)
        if self._volumes is not None:
            change = state.volumes / self._volumes[state.replica_ids]
            good = good & (change * MAX_VOLUME_CHANGE >= 1.0) & (change <= MAX_VOLUME_CHANGE)
        if self._lengths.shape[1]:
            good = good & (self._bond_changes(state).abs().amax(dim=1) <= self.max_bond_change_A)
        return ~good

    def reason(self, state: MDState, row: int) -> str:
        """One sentence on why the replica in this row of the state failed."""
        numbers = (state.potential_energies[row], state.forces[row], state.positions[row])
        if not all(bool(torch.isfinite(values).all()) for values in numbers):
            return "energy, forces or positions are not finite numbers"
        temperature = float(_temperatures_K(state)[row])
        if not temperature <= self.max_temperature_K:
            return f"temperature {temperature:.5g} K above {self.max_temperature_K:.5g} K"
        if not float(state.positions[row].abs().max()) <= MAX_EXTENT_A:
            return f"an atom is farther than {MAX_EXTENT_A:.0e} Å from the origin"
        replica = int(state.replica_ids[row])
        if self._volumes is not None:
            return (f"volume {float(state.volumes[row]):.5g} Å³, at the start {float(self._volumes[replica]):.5g} Å³: a larger "
                    "bulk_modulus_GPa or barostat_fs changes the cell more gently, if it is not the pressure or the potential")
        change = self._bond_changes(state)[row]
        worst = int(change.abs().argmax())
        i, j = self._ends[replica, :, worst].tolist()
        start = float(self._lengths[replica, worst])
        symbols = self._rows[replica].get_chemical_symbols()
        now = start + float(change[worst])
        return f"bond {symbols[i]}{i}-{symbols[j]}{j} at {now:.2f} Å, at the start {start:.2f} Å"

    def _bond_changes(self, state: MDState) -> Tensor:
        """Current minus starting bond lengths, (R, B), Å."""
        i, j = self._ends[state.replica_ids].unbind(dim=1)
        here, there = (state.positions.gather(1, k[:, :, None].expand(-1, -1, 3)) for k in (i, j))
        return torch.linalg.vector_norm(there - here, dim=2) - self._lengths[state.replica_ids]


def _temperatures_K(state: MDState) -> Tensor:
    """Instantaneous temperatures 2 E_kin / (k · degrees of freedom), (R,)."""
    return 2.0 * state.kinetic_energies / (KB_EV_PER_K * state.degrees_of_freedom)


def find_bonds(atoms: Atoms) -> np.ndarray:
    """Covalent bonds of a molecule, (2, B) int64, i < j; none for periodic structures, where bonds may come and go."""
    if atoms.pbc.any():
        return np.zeros((2, 0), dtype=np.int64)
    i, j = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=BOND_TOLERANCE))
    return np.stack([i, j])[:, i < j].astype(np.int64)
