"""London dispersion D3 with Becke-Johnson damping, by the library of its authors (simple-dftd3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from ase.geometry import complete_cell
from torch import Tensor

from toolkit.config import ModelConfig
from toolkit.data.graph import AtomicGraph
from toolkit.errors import ConfigError
from toolkit.models.base import AtomisticModel, ModelOutput
from toolkit.units import BOHR_A, HARTREE_EV

CUTOFFS_BOHR = {"disp2": 60.0, "disp3": 40.0, "cn": 40.0, "width2": 10.0}
"""The library's own, but that the last 10 bohr of the pairs fade out: energies must not jump in MD."""
MARGIN_A = 1.0
"""Between the atoms and the faces of the box along open directions, so that none is wrapped."""
STEP_A = 1e-4
STENCIL = ((-2, 1.0 / 12.0), (-1, -8.0 / 12.0), (1, 8.0 / 12.0), (2, -1.0 / 12.0))
"""Steps and weights of the central first derivative of fourth order, applied to gradients."""


class Dispersion(AtomisticModel):
    """Grimme's D3 (J. Chem. Phys. 132, 154104 (2010)) with rational damping (J. Comput. Chem. 32, 1456 (2011)).

    Pairs only, the form that most programs call D3(BJ). Nothing is trained. The energy of a structure is shared by its
    atoms alike. Raises ConfigError when the library is not installed.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if find_spec("dftd3") is None:
            raise ConfigError("found no package dftd3, which long_range.dispersion needs", "pip install dftd3==1.7.0")
        self.r_max = config.r_max
        self.species = config.species
        self.functional = config.long_range.dispersion.removeprefix("d3bj-")

    @property
    def receptive_field(self) -> float:
        """It reaches farther than any list of neighbours, and the energy is not given to single atoms."""
        return math.inf

    def forward(self, graph: AtomicGraph, vectors: Tensor) -> ModelOutput:
        """Atomic energies, (N,) float64, eV."""
        counts = graph.atoms_per_structure()
        positions, numbers = (x.split(counts.tolist()) for x in (graph.positions, graph.atomic_numbers))
        energies = [_Energy.apply(positions[s], graph.cell[s],
                                  _Library(numbers[s].cpu().numpy(), graph.pbc[s].cpu().numpy(), self.functional))
                    for s in range(graph.num_structures)]
        return {"atomic_energies": (torch.stack(energies) / counts).index_select(0, graph.batch)}


@dataclass(frozen=True)
class _Library:
    """D3 of one structure: atomic numbers (N,), periodic directions (3,), functional."""

    numbers: np.ndarray
    pbc: np.ndarray
    functional: str

    def __call__(self, positions: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy (), eV, and its derivatives with respect to positions (N, 3) and cell (3, 3), eV/Å.

        The library differentiates with respect to a strain of both, W = xᵀ dE/dx + hᵀ dE/dh.
        """
        from dftd3.interface import DispersionModel, RationalDampingParam  # optional

        x, h = (tensor.detach().cpu().numpy() for tensor in (positions, cell))
        if self.pbc.any():
            x, h = _boxed(x, h, self.pbc)
        model = DispersionModel(self.numbers, x / BOHR_A, h / BOHR_A, self.pbc)
        model.set_realspace_cutoff(**CUTOFFS_BOHR)
        found = model.get_dispersion(RationalDampingParam(method=self.functional, atm=False), grad=True)
        gradient = found["gradient"] * (HARTREE_EV / BOHR_A)
        of_cell = np.zeros((3, 3))
        if self.pbc.any():
            of_cell = np.linalg.inv(h).T @ (found["virial"] * HARTREE_EV - x.T @ gradient)
        values = (found["energy"] * HARTREE_EV, gradient, of_cell)
        return tuple(torch.as_tensor(value, dtype=torch.float64, device=positions.device) for value in values)


def _boxed(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moved positions (N, 3) and a cell (3, 3) around them whose vectors along open directions are normals, Å.

    The library inverts the cell and wraps atoms into it along all three vectors, whatever is periodic.
    """
    box = complete_cell(np.where(pbc[:, None], cell, 0.0))
    along = positions @ np.linalg.inv(box)  # open directions: Å, as these vectors have length 1
    origin = np.where(pbc, 0.0, along.min(axis=0) - MARGIN_A) @ box
    lengths = np.where(pbc, 1.0, np.ptp(along, axis=0) + 2.0 * MARGIN_A)
    return positions - origin, box * lengths[:, None]


class _Energy(torch.autograd.Function):
    """Energy of one structure; differentiable twice."""

    @staticmethod
    def forward(ctx: Any, positions: Tensor, cell: Tensor, library: _Library) -> Tensor:
        energy, *gradient = library(positions, cell)
        ctx.save_for_backward(positions, cell, *gradient)
        ctx.library = library
        return energy

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None]:
        gradient = _Gradient.apply(*ctx.saved_tensors, ctx.library)
        return slope * gradient[0], slope * gradient[1], None


class _Gradient(torch.autograd.Function):
    """The gradient that was computed with the energy; its own derivative along a direction is a finite difference."""

    @staticmethod
    def forward(ctx: Any, positions: Tensor, cell: Tensor, of_positions: Tensor, of_cell: Tensor,
                library: _Library) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(positions, cell)
        ctx.library = library
        return of_positions.clone(), of_cell.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, along_positions: Tensor, along_cell: Tensor) -> tuple[Tensor | None, ...]:
        positions, cell = ctx.saved_tensors
        size = max(float(along_positions.abs().max()), float(along_cell.abs().max()))
        if size == 0.0:
            return torch.zeros_like(positions), torch.zeros_like(cell), None, None, None
        step = STEP_A / size
        product_positions, product_cell = torch.zeros_like(positions), torch.zeros_like(cell)
        for steps, weight in STENCIL:
            moved = steps * step
            _, of_positions, of_cell = ctx.library(positions + moved * along_positions, cell + moved * along_cell)
            product_positions += weight / step * of_positions
            product_cell += weight / step * of_cell
        return product_positions, product_cell, None, None, None
