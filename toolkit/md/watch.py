"""How far the forces of a run can be trusted, looked at every so many steps.

Replicas that left what the potential knows are retired, and frames worth labelling are harvested. Nothing here touches
a state or the noise, so the path is the same without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from ase import Atoms
from torch import Tensor

from toolkit.config import MDConfig
from toolkit.data.graph import AtomicGraph, charge_info
from toolkit.errors import ConfigError
from toolkit.md.forces import ForceField, ReplicaForces
from toolkit.md.harvest import Harvest, harvest_path
from toolkit.md.state import MDState


@runtime_checkable
class UncertainForceField(Protocol):
    """A force field that knows how uncertain it is; `toolkit.models.potential.Potential` fulfils it."""

    @property
    def uncertainty(self) -> object:
        """What was fitted; raises ModelError when nothing was."""

    def evaluate_uncertainty(self, graph: AtomicGraph) -> dict[str, Tensor]:
        """`forces_std` (N,), eV/Å: standard deviation of a force component."""


class UncertaintyWatch:
    """Judges a state every `uncertainty_every` steps by its most uncertain force.

    pot : knows its uncertainty;  forces : of the run, for neighbour lists;  harvest : None keeps no frames
    """

    def __init__(self, pot: UncertainForceField, config: MDConfig, forces: ReplicaForces,
                 harvest: Harvest | None) -> None:
        self.harvest = harvest
        self._pot = pot
        self._config = config
        self._forces = forces
        self._worst: list[tuple[float, str]] = []

    def begin(self, step: int) -> None:
        """Take up the run at a step: what was harvested later, before an interruption, will be harvested again."""
        if self.harvest is not None:
            self.harvest.rewind(step)

    def commit(self) -> None:
        """Write the frames put aside. Raises StorageError."""
        if self.harvest is not None:
            self.harvest.commit()

    def next_step(self, step: int) -> int:
        """The first step after this one that is looked at."""
        return (step // self._config.uncertainty_every + 1) * self._config.uncertainty_every

    def failed(self, state: MDState, step: int, broken: Tensor) -> Tensor:
        """Replicas to be retired, (R,) bool; frames worth labelling are put aside, but none of those `broken` (R,)."""
        failed = torch.zeros(len(state.replica_ids), dtype=torch.bool, device=state.positions.device)
        if step % self._config.uncertainty_every or not len(failed):
            return failed
        graph = self._forces.graph(state.positions, state.cell)
        found = self._pot.evaluate_uncertainty(graph)["forces_std"].split(graph.atoms_per_structure().tolist())
        self._worst = [(float(std.max()), f"{atoms.symbols[int(std.argmax())]}{int(std.argmax())}")
                       for std, atoms in zip(found, self._forces.rows, strict=True)]
        largest = torch.tensor([std for std, _ in self._worst], dtype=torch.float64, device=failed.device)
        if self.harvest is not None:
            wanted = ~broken & (largest > self._config.harvest_above_eV_per_A)
            for row in torch.nonzero(wanted).flatten().tolist():
                self.harvest.offer(_frame(state, row, self._forces.rows[row]), int(state.replica_ids[row]), step,
                                   found[row].cpu().numpy())
        stop = self._config.uncertainty_stop_eV_per_A
        return failed if stop is None else largest > stop

    def reason(self, state: MDState, row: int) -> str:
        """One sentence on why the replica in this row was retired."""
        std, atom = self._worst[row]
        return f"force on {atom} uncertain by {std:.3g} eV/Å, above {self._config.uncertainty_stop_eV_per_A:.3g} eV/Å"


def make_watch(pot: ForceField, config: MDConfig, forces: ReplicaForces, path: Path | None) -> UncertaintyWatch | None:
    """The watch that a configuration asks for, None when it asks for none; nothing is written yet.

    path : of the trajectory
    Raises ConfigError when the force field has no uncertainty or there is no file to harvest beside, ModelError when
    nobody has fitted it.
    """
    if config.uncertainty_stop_eV_per_A is None and config.harvest_above_eV_per_A is None:
        return None
    if not isinstance(pot, UncertainForceField) or pot.uncertainty is None:
        raise ConfigError(f"found a {type(pot).__name__}, which knows no uncertainty to stop or harvest on",
                          "use a trained potential")
    if config.harvest_above_eV_per_A is None:
        return UncertaintyWatch(pot, config, forces, None)
    if path is None:
        raise ConfigError("found harvest_above_eV_per_A without a trajectory file", "name one: frames go beside it")
    return UncertaintyWatch(pot, config, forces, Harvest(harvest_path(path), config))


def _frame(state: MDState, row: int, atoms: Atoms) -> Atoms:
    """The atoms of one replica as they are now."""
    positions, cell = state.positions[row, :len(atoms)], state.cell[row]
    return Atoms(atoms.numbers, positions.cpu().numpy(), cell=cell.cpu().numpy(), pbc=atoms.pbc,
                 info=charge_info(atoms))
