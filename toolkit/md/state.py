"""What a simulation is at one instant: the replicas still running, as tensors on the model's device.

Masses are held in eV·fs²/Å², so that a = F/m is in Å/fs² and ½mv² in eV without any further factor. Systems of
different size share one set of tensors: the smaller ones are padded with atoms whose mass and inverse mass are both zero,
so that they never move and carry no energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from ase import Atoms
from torch import Tensor

from toolkit.md.noise import NoiseBuffers
from toolkit.units import AMU_A2_PER_FS2_EV, KB_EV_PER_K

MOVING = ("positions", "velocities", "forces", "inner_forces", "potential_energies", "stress", "cell",
          "chain_velocities", "bath_energies")
"""The fields that a step changes, besides `step`."""


@dataclass(frozen=True)
class MDState:
    """R replicas of at most N atoms. Frozen: a step returns a new state (only the generator advances in place).

    positions : (R, N, 3), Å, never wrapped into the cell;  velocities : (R, N, 3), Å/fs;  forces : (R, N, 3), eV/Å
    inner_forces : (R, N, 3), eV/Å, of the potential of the inner steps (`integrators.respa_step`), else (R, 0, 3)
    potential_energies : (R,), eV;  stress : (R, 3, 3), eV/Å³, zero where nobody asks for it;  cell : (R, 3, 3), Å
    chain_velocities : (R, M), 1/fs, of a Nosé–Hoover chain, else M = 0
    bath_energies : (R,), eV, what the atoms have given to thermostat and barostat so far
    step : (), int64, steps done
    masses, inverse_masses : (R, N, 1), eV·fs²/Å² and its inverse, both zero for padding
    degrees_of_freedom : (R,);  bulk_modulus : (R,), eV/Å³, of the barostat
    start_K, heating_K : (R,), the thermostat's target at step 0 and its rise per step
    replica_ids : (R,) int64, ascending, which of the run's `num_replicas` these are
    generator : source of the thermal noise; same seed, same path
    noise : where a recorded step reads its noise; None: it is drawn from the generator
    All but the integers are float64.
    """

    positions: Tensor
    velocities: Tensor
    forces: Tensor
    inner_forces: Tensor
    potential_energies: Tensor
    stress: Tensor
    cell: Tensor
    chain_velocities: Tensor
    bath_energies: Tensor
    step: Tensor
    masses: Tensor
    inverse_masses: Tensor
    degrees_of_freedom: Tensor
    bulk_modulus: Tensor
    start_K: Tensor
    heating_K: Tensor
    replica_ids: Tensor
    num_replicas: int
    generator: torch.Generator
    noise: NoiseBuffers | None = None

    @property
    def kinetic_energies(self) -> Tensor:
        """½ Σ m v² of each replica, (R,), eV."""
        return 0.5 * (self.masses * self.velocities**2).sum(dim=(1, 2))

    @property
    def conserved_energies(self) -> Tensor:
        """What an exact integration would keep: potential + kinetic energy + that of the baths, (R,), eV."""
        return self.potential_energies + self.kinetic_energies + self.bath_energies

    @property
    def thermal_energies(self) -> Tensor:
        """kT of each replica's thermostat at this step, (R,), eV."""
        return KB_EV_PER_K * (self.start_K + self.step * self.heating_K)

    @property
    def volumes(self) -> Tensor:
        """|det h| of each replica's cell, (R,), Å³."""
        a, b, c = self.cell.unbind(dim=1)
        return (a * torch.linalg.cross(b, c)).sum(dim=1).abs()

    @property
    def pressures(self) -> Tensor:
        """(2/3 E_kin)/V − ⅓ tr σ of each replica, (R,), eV/Å³; without meaning where there is no cell or no stress."""
        virial = self.stress.diagonal(dim1=1, dim2=2).mean(dim=1)
        return 2.0 / 3.0 * self.kinetic_energies / self.volumes - virial

    def select(self, kept: Tensor) -> MDState:
        """Only the replicas where `kept` (R,) bool is true; the others are retired."""
        return replace(self, **{name: getattr(self, name)[kept] for name in tensor_names() if name != "step"})

    def with_replicas(self, where: Tensor, others: MDState) -> MDState:
        """The replicas where `where` (R,) bool is true as they are in `others`, which has only these."""
        return replace(self, **{name: getattr(self, name).index_put((where,), getattr(others, name)) for name in MOVING})

    def gaussian(self, *shape: int) -> Tensor:
        """Standard normal numbers (R, *shape), drawn for retired replicas too: nobody's noise depends on them."""
        size = (self.num_replicas, *shape)
        if self.noise is None:
            noise = torch.randn(size, generator=self.generator, dtype=torch.float64, device=self.positions.device)
        else:
            noise = self.noise.draw(size)
        return noise if len(self.replica_ids) == self.num_replicas else noise[self.replica_ids]


def tensor_names() -> list[str]:
    """The names of the tensors in an MDState."""
    return [field.name for field in fields(MDState) if field.name not in ("num_replicas", "generator", "noise")]


def inertial_masses(atoms: Atoms, device: torch.device) -> Tensor:
    """Masses of the atoms, (N, 1), eV·fs²/Å²."""
    return torch.as_tensor(atoms.get_masses()[:, None] * AMU_A2_PER_FS2_EV, dtype=torch.float64, device=device)


def pad_atoms(parts: Sequence[Tensor]) -> Tensor:
    """Tensors (R_s, N_s, C) of several systems as one (Σ R_s, max N_s, C), filled up with zeros."""
    longest = max(part.shape[1] for part in parts)
    return torch.cat([torch.nn.functional.pad(part, (0, 0, 0, longest - part.shape[1])) for part in parts])
