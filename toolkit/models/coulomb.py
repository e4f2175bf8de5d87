"""The Coulomb energy of Gaussian charges: an Ewald sum for crystals, all pairs for molecules.

Two charges interact by erf(r/√2σ)/r: 1/r from about 3σ on, finite at r = 0. Its Fourier transform 4π exp(−σ²k²/2)/k²
vanishes so fast that the reciprocal half of Ewald's sum (Ann. Phys. 369, 253 (1921)) is all of it: what point charges
have beyond that is short-ranged, which the network learns (Cheng, npj Comput. Mater. 11, 80 (2025), eqs. 2 to 4).
An atom does not interact with itself, only with its periodic images. The term k = 0 is left out: a uniform background
neutralises a charged cell.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from toolkit.data.graph import AtomicGraph
from toolkit.errors import DataError
from toolkit.units import BOHR_A, HARTREE_EV

COULOMB_EV_A = HARTREE_EV * BOHR_A
"""e²/4πε₀, eV Å."""


def coulomb_energies(graph: AtomicGraph, charges: Tensor, smearing_A: float, accuracy: float) -> Tensor:
    """½ q_i φ_i, the energy of each atom in the potential of all others and of all images, (N,) float64, eV.

    charges : (N,) float64, e;  smearing_A : σ, Å;  accuracy : exp(−σ²k²/2) of the first waves that are left out
    Raises DataError for structures that are periodic in some directions only.
    """
    periodic = graph.pbc.all(dim=1)
    _refuse_slabs(graph.pbc, periodic)
    # 1. one row of equal length per structure, filled up with charges of zero
    counts = graph.atoms_per_structure()
    width = int(counts.max())
    rank = torch.arange(graph.num_atoms, device=charges.device) - (counts.cumsum(0) - counts)[graph.batch]
    place = graph.batch * width + rank
    shape = (graph.num_structures, width)
    q = charges.new_zeros(shape[0] * width).index_copy(0, place, charges).view(shape)
    x = graph.positions.new_zeros(shape[0] * width, 3).index_copy(0, place, graph.positions).view(*shape, 3)
    # 2. potentials (S, width) of molecules and of crystals
    crystals, molecules = torch.nonzero(periodic).flatten(), torch.nonzero(~periodic).flatten()
    potentials = q.new_zeros(shape)
    if len(molecules):
        potentials = potentials.index_copy(0, molecules, _open_potentials(q[molecules], x[molecules], smearing_A))
    if len(crystals):
        sums = _ewald_potentials(q[crystals], x[crystals], graph.cell[crystals], smearing_A, accuracy)
        potentials = potentials.index_copy(0, crystals, sums)
    # 3. back to atoms
    return 0.5 * COULOMB_EV_A * charges * potentials.flatten().index_select(0, place)


def _open_potentials(charges: Tensor, positions: Tensor, smearing_A: float) -> Tensor:
    """Σ_{j≠i} q_j erf(r_ij/√2σ)/r_ij for charges (S, N) at positions (S, N, 3): (S, N), e/Å."""
    squared = (positions[:, :, None] - positions[:, None]).square().sum(dim=3)
    apart = squared > 0.0  # neither an atom and itself nor two that only fill up a row
    lengths = torch.where(apart, squared, 1.0).sqrt()
    kernel = torch.where(apart, torch.erf(lengths / (math.sqrt(2.0) * smearing_A)) / lengths, 0.0)
    return torch.einsum("sij,sj->si", kernel, charges)


def _ewald_potentials(charges: Tensor, positions: Tensor, cells: Tensor, smearing_A: float, accuracy: float) -> Tensor:
    """4π/V Σ_{k≠0} exp(−σ²k²/2)/k² Re[exp(−ik·x_i) Σ_j q_j exp(ik·x_j)] − q_i √(2/π)/σ, (S, N), e/Å."""
    # 1. waves: one of each pair ±k, (S, K, 3)
    k_max = math.sqrt(-2.0 * math.log(accuracy)) / smearing_A
    waves = _wave_numbers(cells.detach(), k_max) @ (2.0 * math.pi * torch.linalg.inv(cells).transpose(1, 2))
    # 2. their weights, (S, K)
    squared = waves.square().sum(dim=2)
    present = squared > 0.0
    squared = torch.where(present, squared, 1.0)
    decay = torch.where(present, torch.exp(-0.5 * smearing_A**2 * squared) / squared, 0.0)
    weights = 8.0 * math.pi * decay / torch.linalg.det(cells).abs()[:, None]
    # 3. structure factors and potentials
    phases = torch.einsum("ska,sia->ski", waves, positions)
    cosines, sines = phases.cos(), phases.sin()
    real = weights * torch.einsum("ski,si->sk", cosines, charges)
    imaginary = weights * torch.einsum("ski,si->sk", sines, charges)
    potentials = torch.einsum("ski,sk->si", cosines, real) + torch.einsum("ski,sk->si", sines, imaginary)
    # 4. without what a charge does to itself
    return potentials - charges * math.sqrt(2.0 / math.pi) / smearing_A


def _wave_numbers(cells: Tensor, k_max: float) -> Tensor:
    """Integers n of the waves with 0 < |k| ≤ k_max, one of each ±n, (S, K, 3) float64, rows filled up with zeros."""
    found = []
    for cell in cells:
        reach = (torch.linalg.vector_norm(cell, dim=1) * k_max / (2.0 * math.pi)).floor().tolist()
        grid = torch.cartesian_prod(*(torch.arange(-n, n + 1.0, dtype=cell.dtype, device=cell.device) for n in reach))
        half = grid[len(grid) // 2 + 1:]  # in lexicographic order −n mirrors n
        lengths = torch.linalg.vector_norm(half @ (2.0 * math.pi * torch.linalg.inv(cell).T), dim=1)
        found.append(half[lengths <= k_max])
    return pad_sequence(found, batch_first=True)


def _refuse_slabs(pbc: Tensor, periodic: Tensor) -> None:
    partly = pbc.any(dim=1) & ~periodic
    if bool(partly.any()):
        directions = int(pbc[partly][0].sum())
        raise DataError(f"found a structure periodic along {directions} of 3 directions, expected all or none: the "
                        "long-range Coulomb sum knows no slabs and wires",
                        "add vacuum and make it periodic in all directions, or use a model without long_range")
