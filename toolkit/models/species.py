"""From atomic numbers to table rows, cutoffs by pair of species, and each species' energy scale and shift."""

from __future__ import annotations

import torch
from ase.data import atomic_numbers as number_of
from torch import Tensor

from toolkit.config import ModelConfig


class SpeciesIndex(torch.nn.Module):
    """Row of each element in the model's tables, and the cutoff of each pair of elements. Tables stay float64."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        rows = torch.full((119,), -1, dtype=torch.int64)
        for row, symbol in enumerate(config.species):
            rows[number_of[symbol]] = row
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("cutoffs", _cutoff_table(config), persistent=False)

    def index(self, atomic_numbers: Tensor) -> Tensor:
        """Rows of the atoms, (N,) int64; −1 for elements the model does not know (`Potential` refuses those)."""
        return self.rows[atomic_numbers]

    def pair_cutoffs(self, index: Tensor, edge_index: Tensor) -> Tensor | None:
        """Cutoff of each edge by its two species, (E,), Å, float64; None when all are r_max."""
        if self.cutoffs is None:
            return None
        center, neighbor = index.index_select(0, edge_index[0]), index.index_select(0, edge_index[1])
        return self.cutoffs.flatten().index_select(0, center * len(self.cutoffs) + neighbor)


class SpeciesTable(SpeciesIndex):
    """E_i = scale[s_i] · raw_i + shift[s_i] in float64.

    Shifts are isolated-atom energies (E0s), eV. They are added last and in double precision, so that total energies
    near 1e5 eV keep their differences.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.shifts = _column(config.per_species_energy_shifts, 0.0, config.species,
                              config.per_species_energy_shifts_trainable)
        self.scales = _column(config.per_species_energy_scales, 1.0, config.species,
                              config.per_species_energy_scales_trainable)

    def scale_shift(self, raw: Tensor, index: Tensor) -> Tensor:
        """raw : (N,) network outputs -> atomic energies (N,), eV, float64."""
        return self.scales.index_select(0, index) * raw.double() + self.shifts.index_select(0, index)


def _column(values: dict[str, float] | None, default: float, species: tuple[str, ...], trainable: bool) -> torch.nn.Parameter:
    column = [default if values is None else values[symbol] for symbol in species]
    return torch.nn.Parameter(torch.tensor(column, dtype=torch.float64), requires_grad=trainable)


def pair_cutoffs(config: ModelConfig) -> dict[tuple[str, str], float]:
    """Cutoff of every (centre, neighbour), Å: as given, else that of the pair the other way round, else r_max."""
    given = config.per_pair_r_max or {}
    return {(a, b): given.get(f"{a}-{b}", given.get(f"{b}-{a}", config.r_max))
            for a in config.species for b in config.species}


def _cutoff_table(config: ModelConfig) -> Tensor | None:
    """(num_species, num_species), Å: row the centre, column the neighbour; None without per-pair cutoffs."""
    if config.per_pair_r_max is None:
        return None
    cutoffs = torch.tensor(list(pair_cutoffs(config).values()), dtype=torch.float64)
    return cutoffs.view(len(config.species), len(config.species))
