"""Stress against strain: the work of the stress over small strains must be the energy that strained cells gain."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from toolkit.data.statistics import spread_out
from toolkit.data.unit_evidence import Measured

MAX_FRAMES = 60
"""Of one set of atoms: enough for hundreds of pairs."""

MAX_GROUPS = 60
STRAIN = (1e-4, 0.04)
MAX_ROTATION = 1e-3
MIN_PAIRS = 8
STILL = 0.05
TRUSTED = 0.98
"""Correlation of both sides in a composition whose strained cells are worth a second number."""

MAX_DISPLACEMENT_A = 0.05
"""Between atoms of two frames beyond what the strain moves them, RMS."""


@dataclass(frozen=True)
class ExtraPressure:
    """What has to be added to the stress of frames of one composition, eV/Å³, to agree with their energies, from so many
    pairs; explained : squared deviations without it over those with it."""

    formula: str
    pressure_eV_per_A3: float
    explained: float
    samples: int


def stress_work(frames: list[Atoms]) -> Measured | None:
    """½(V_a σ_a + V_b σ_b):ε regressed on E_b − E_a + F̄·Δr over pairs of frames that differ by a small strain ε.

    frames : energy in eV, stress in eV/Å³ with σ = +(1/V) ∂E/∂ε (Nielsen and Martin, Phys. Rev. B 32, 3780, 1985)
    1 when stress is the strain derivative of the energy, −1 for the opposite sign; None with fewer than 8 pairs.
    """
    pairs = [pair for group in _groups(frames) for pair in _strained_pairs(group)]
    if len(pairs) < MIN_PAIRS:
        return None
    work, gained = np.array([pair[:2] for pair in pairs]).T
    norm = np.sqrt((work @ work) * (gained @ gained))
    if norm == 0.0:
        return None
    return Measured(float(work @ gained / (gained @ gained)), float(work @ gained / norm), len(pairs))


def extra_pressures(frames: list[Atoms]) -> list[ExtraPressure]:
    """The pressure p of E_b − E_a + F̄·Δr = V σ:ε + p V tr ε + O(ε³), of each composition whose strained cells tell it.
    The cubic terms, which a mean of two stresses gets wrong, are fitted too.

    Calculations with too few plane waves have one: their stress is the slope for a fixed set of waves, a poorer basis in
    a larger cell, their energies are for all waves up to one energy (Pulay stress; Francis and Payne, J. Phys. Condens.
    Matter 2, 4395 (1990)).
    """
    found = []
    for group in _groups([atoms for atoms in frames if _is_still(atoms)]):
        pairs = _strained_pairs(group)
        if len(pairs) < MIN_PAIRS:
            continue
        gained, sides = np.array([pair[1] for pair in pairs]), np.array([(pair[0], *pair[2]) for pair in pairs])
        pressure = np.linalg.lstsq(sides, gained, rcond=None)[0][-1]
        with_it, without = (_left(part, gained) for part in (sides, sides[:, :-1]))
        if with_it < (1.0 - TRUSTED**2) * float(gained @ gained):
            found.append(ExtraPressure(group[0].get_chemical_formula(), float(pressure),
                                       without / max(with_it, 1e-12 * float(gained @ gained)), len(pairs)))
    return found


def _left(sides: np.ndarray, gained: np.ndarray) -> float:
    """Squared deviations that a fit by these columns leaves."""
    return float(np.sum((gained - sides @ np.linalg.lstsq(sides, gained, rcond=None)[0]) ** 2))


def _groups(frames: list[Atoms]) -> list[list[Atoms]]:
    """Frames of the same atoms with energy and stress, thinned, largest group first."""
    groups: dict[bytes, list[Atoms]] = defaultdict(list)
    for atoms in frames:
        if atoms.pbc.all() and {"energy", "stress"} <= atoms.calc.results.keys():
            groups[atoms.numbers.tobytes()].append(atoms)
    largest = sorted(groups.values(), key=len, reverse=True)[:MAX_GROUPS]
    return [spread_out(group, MAX_FRAMES) for group in largest]


def _is_still(atoms: Atoms) -> bool:
    """Whether the forces on the atoms are small beside the stress on a face of their volume, as symmetry has it in most
    sets of strained crystals: else what atoms do is mixed up with what the cell does."""
    results = atoms.calc.results
    if not {"forces", "stress"} <= results.keys() or not len(results["forces"]) or not atoms.pbc.all():
        return False
    face = (atoms.get_volume() / len(atoms)) ** (2 / 3)
    return bool(np.abs(results["forces"]).max() < STILL * np.abs(results["stress"]).max() * face)


def _strained_pairs(group: list[Atoms]) -> list[tuple[float, float, tuple[float, ...]]]:
    """(work of the stress, energy gained less that of internal displacements), eV, and V times the
    invariants of ε of third and first order, Å³, for pairs of frames of one set."""
    cells = np.array([atoms.cell.array for atoms in group])
    fractional = np.array([atoms.get_scaled_positions(wrap=False) for atoms in group])
    volumes = [atoms.get_volume() for atoms in group]
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
                              second["energy"] - first["energy"] + internal,
                              _invariants(0.5 * (volumes[a] + volumes[b]), strain[k])))
    return pairs


def _invariants(volume: float, strain: np.ndarray) -> tuple[float, ...]:
    """V (tr ε)³, V tr ε tr ε², V tr ε³ and V tr ε."""
    first, second, third = (float(np.trace(power)) for power in (strain, strain @ strain, strain @ strain @ strain))
    return volume * first**3, volume * first * second, volume * third, volume * first
