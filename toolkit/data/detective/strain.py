"""Stress against strain: the work of the stress over small strains must be the energy that strained cells gain."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from toolkit.data.unit_evidence import Measured

MAX_FRAMES = 60
"""Of one set of atoms: enough for hundreds of pairs."""

MAX_GROUPS = 60
STRAIN = (1e-4, 0.04)
MAX_ROTATION = 1e-3
MAX_DISPLACEMENT_A = 0.05
"""Between atoms of two frames beyond what the strain moves them, RMS."""


def stress_work(frames: list[Atoms]) -> Measured | None:
    """½(V_a σ_a + V_b σ_b):ε regressed on E_b − E_a + F̄·Δr over pairs of frames that differ by a small strain ε.

    frames : energy in eV, stress in eV/Å³ with σ = +(1/V) ∂E/∂ε (Nielsen and Martin, Phys. Rev. B 32, 3780, 1985)
    1 when stress is the strain derivative of the energy, −1 for the opposite sign; None with fewer than 8 pairs.
    """
    groups: dict[bytes, list[Atoms]] = defaultdict(list)
    for atoms in frames:
        if atoms.pbc.all() and {"energy", "stress"} <= atoms.calc.results.keys():
            groups[atoms.numbers.tobytes()].append(atoms)
    largest = sorted(groups.values(), key=len, reverse=True)[:MAX_GROUPS]
    pairs = [pair for group in largest for pair in _strained_pairs(group[:: -(-len(group) // MAX_FRAMES)])]
    if len(pairs) < 8:
        return None
    work, gained = np.array(pairs).T
    norm = np.sqrt((work @ work) * (gained @ gained))
    if norm == 0.0:
        return None
    return Measured(float(work @ gained / (gained @ gained)), float(work @ gained / norm), len(pairs))


def _strained_pairs(group: list[Atoms]) -> list[tuple[float, float]]:
    """(work of the stress, energy gained less that of internal displacements), eV, for pairs of frames of one set."""
    cells = np.array([atoms.cell.array for atoms in group])
    fractional = np.array([atoms.get_scaled_positions(wrap=False) for atoms in group])
    pull = np.array([atoms.get_volume() * voigt_6_to_full_3x3_stress(atoms.calc.results["stress"]) for atoms in group])
    pairs = []
    for a in range(len(group) - 1):
        later = np.arange(a + 1, len(group))
        gradient = np.linalg.solve(0.5 * (cells[a] + cells[later]), cells[later] - cells[a])
        strain = 0.5 * (gradient + np.swapaxes(gradient, 1, 2))
        size, rotation = np.abs(strain).max(axis=(1, 2)), np.abs(gradient - strain).max(axis=(1, 2))
        for k in np.flatnonzero((size > STRAIN[0]) & (size < STRAIN[1]) & (rotation < MAX_ROTATION)):
            b = later[k]
            moved = fractional[b] - fractional[a]
            moved = (moved - np.rint(moved)) @ (0.5 * (cells[a] + cells[b]))
            moved -= moved.mean(axis=0)
            if np.sqrt((moved**2).sum(axis=1).mean()) < MAX_DISPLACEMENT_A:
                first, second = group[a].calc.results, group[b].calc.results
                internal = sum(0.5 * float(np.sum(results.get("forces", 0.0) * moved)) for results in (first, second))
                pairs.append((0.5 * float(np.sum((pull[a] + pull[b]) * strain[k])),
                              second["energy"] - first["energy"] + internal))
    return pairs
