"""Systems with exact answers, and deliberately broken ones, for the MD tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from torch import Tensor

from toolkit.config import MDConfig
from toolkit.data.graph import AtomicGraph
from toolkit.md.integrators import ForceFunction, Step
from toolkit.md.start import initial_state
from toolkit.md.state import MDState
from toolkit.models.pair import LennardJones, pair_potential
from toolkit.models.potential import Potential
from toolkit.units import KB_EV_PER_K

CPU = torch.device("cpu")
Field = Callable[[Tensor], tuple[Tensor, Tensor]]


class ExternalField:
    """A force field that acts on each atom by its position alone.

    field : positions (N, 3) -> energies (N,), forces (N, 3)
    """

    device = CPU
    r_max = 1.0

    def __init__(self, field: Field) -> None:
        self._field = field

    def check_species(self, atomic_numbers: Tensor) -> None:
        """Knows every element."""

    def evaluate(self, graph: AtomicGraph, *, stress: bool = False) -> dict[str, Tensor]:
        """Energies (S,), forces (N, 3) and stresses (S, 3, 3), zero: the field does not know of cells."""
        energies, forces = self._field(graph.positions)
        zeros = torch.zeros(graph.num_structures, dtype=torch.float64)
        return {"energy": zeros.index_add(0, graph.batch, energies), "forces": forces,
                "stress": torch.zeros_like(graph.cell)}


def harmonic_field(stiffness: float) -> Field:
    """½ k x² around the origin; k in eV/Å²."""
    return lambda x: (0.5 * stiffness * (x * x).sum(dim=1), -stiffness * x)


def free_field(x: Tensor) -> tuple[Tensor, Tensor]:
    """Nothing acts."""
    return torch.zeros(len(x), dtype=torch.float64), torch.zeros_like(x)


def force_function(field: Field) -> ForceFunction:
    """The field as integrators want it, without graphs: (R, N, 3) -> (R,), (R, N, 3), no stress."""
    def compute(positions: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        energies, forces = field(positions.reshape(-1, 3))
        return energies.view(positions.shape[:2]).sum(dim=1), forces.view_as(positions), torch.zeros_like(cells)
    return compute


def ensemble_at_origin(atoms: Atoms, field: Field, config: MDConfig) -> MDState:
    """The replicas of a run, but with all atoms at the origin."""
    at_origin = atoms.copy()
    at_origin.positions[:] = 0.0
    return initial_state(ExternalField(field), [at_origin], config, force_function(field))


def advance(state: MDState, step: Step, steps: int) -> MDState:
    """The state after so many steps."""
    for _ in range(steps):
        state = step(state)
    return state


def argon(repeat: int = 2) -> Atoms:
    """A slightly disordered fcc crystal of argon, 4·repeat³ atoms."""
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True) * (repeat, repeat, repeat)
    atoms.rattle(0.05, seed=4)
    return atoms


def argon_potential(r_max: float = 7.5) -> Potential:
    """Lennard-Jones argon, ε 0.0104 eV, σ 3.4 Å."""
    return pair_potential(LennardJones(("Ar",), 0.0104, 3.4, r_max))


def sigmas_from(samples: np.ndarray, expected: float) -> float:
    """How many standard errors the mean of independent samples lies from the expected value."""
    samples = np.asarray(samples, dtype=np.float64).ravel()
    return float((samples.mean() - expected) / (samples.std(ddof=1) / np.sqrt(len(samples))))


def thermal_energy(temperature_K: float) -> float:
    """kT, eV."""
    return KB_EV_PER_K * temperature_K
