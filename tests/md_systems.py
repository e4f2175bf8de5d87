"""Systems with exact answers, and deliberately broken ones, for the MD tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from torch import Tensor

from toolkit.data.graph import AtomicGraph
from toolkit.md.integrators import ForceFunction
from toolkit.md.state import MDState, inertial_masses, maxwell_boltzmann
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

    def evaluate(self, graph: AtomicGraph) -> dict[str, Tensor]:
        """Energies (S,) and forces (N, 3)."""
        energies, forces = self._field(graph.positions)
        zeros = torch.zeros(graph.num_structures, dtype=torch.float64)
        return {"energy": zeros.index_add(0, graph.batch, energies), "forces": forces}


def harmonic_field(stiffness: float) -> Field:
    """½ k x² around the origin; k in eV/Å²."""
    return lambda x: (0.5 * stiffness * (x * x).sum(dim=1), -stiffness * x)


def free_field(x: Tensor) -> tuple[Tensor, Tensor]:
    """Nothing acts."""
    return torch.zeros(len(x), dtype=torch.float64), torch.zeros_like(x)


def force_function(field: Field) -> ForceFunction:
    """The field as integrators want it, without graphs: (R, N, 3) -> (R,), (R, N, 3)."""
    def compute(positions: Tensor) -> tuple[Tensor, Tensor]:
        energies, forces = field(positions.reshape(-1, 3))
        return energies.view(positions.shape[:2]).sum(dim=1), forces.view_as(positions)
    return compute


def ensemble_at_origin(atoms: Atoms, field: Field, replicas: int, temperature_K: float, seed: int) -> MDState:
    """Replicas with all atoms at the origin and Maxwell–Boltzmann velocities."""
    generator = torch.Generator().manual_seed(seed)
    positions = torch.zeros(replicas, len(atoms), 3, dtype=torch.float64)
    masses = inertial_masses(atoms, CPU)
    velocities = maxwell_boltzmann(positions, masses, temperature_K, generator)
    energies, forces = force_function(field)(positions)
    return MDState(positions, velocities, forces, energies, masses, torch.arange(replicas), replicas, generator)


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
