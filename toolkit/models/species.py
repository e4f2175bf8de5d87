"""From atomic numbers to table rows, and each species' energy scale and shift."""

from __future__ import annotations

import torch
from ase.data import atomic_numbers as number_of
from torch import Tensor

from toolkit.config import ModelConfig


class SpeciesTable(torch.nn.Module):
    """Row of each element in the model's tables; E_i = scale[s_i] · raw_i + shift[s_i] in float64.

    Shifts are isolated-atom energies (E0s), eV. They are added last and in double precision, so that total energies
    near 1e5 eV keep their differences.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        rows = torch.full((119,), -1, dtype=torch.int64)
        for row, symbol in enumerate(config.species):
            rows[number_of[symbol]] = row
        self.register_buffer("rows", rows, persistent=False)
        self.shifts = self._parameter(config, config.per_species_energy_shifts, 0.0,
                                      config.per_species_energy_shifts_trainable)
        self.scales = self._parameter(config, config.per_species_energy_scales, 1.0,
                                      config.per_species_energy_scales_trainable)

    @staticmethod
    def _parameter(config: ModelConfig, values: dict[str, float] | None, default: float, trainable: bool) -> torch.nn.Parameter:
        column = [default if values is None else values[symbol] for symbol in config.species]
        return torch.nn.Parameter(torch.tensor(column, dtype=torch.float64), requires_grad=trainable)

    def index(self, atomic_numbers: Tensor) -> Tensor:
        """Rows of the atoms, (N,) int64; −1 for elements the model does not know (`Potential` refuses those)."""
        return self.rows[atomic_numbers]

    def scale_shift(self, raw: Tensor, index: Tensor) -> Tensor:
        """raw : (N,) network outputs -> atomic energies (N,), eV, float64."""
        return self.scales.index_select(0, index) * raw.double() + self.shifts.index_select(0, index)
