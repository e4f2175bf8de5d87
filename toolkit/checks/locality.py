"""How far an atom sees: nothing beyond the receptive field, nothing of a far molecule, and alone exactly its shift."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers as number_of

from toolkit.checks.probe import TINY, Probe, Response
from toolkit.checks.result import CheckResult, judge
from toolkit.checks.structures import companion
from toolkit.models.potential import Potential
from toolkit.models.species import SpeciesTable

MIN_SIGNAL_EV = 1e-5
MARGIN_A = 0.5
MAX_GAP_CUTOFFS = 12.0
"""How far apart far molecules are at most, where the receptive field is wider."""


def far_molecules(potential: Potential, atoms: Atoms) -> CheckResult:
    """E(A + B) = E(A) + E(B) and the same forces when no atom of A can see one of B."""
    probe = Probe(potential)
    other = companion(atoms)
    extent = sum(float(np.ptp(a.positions, axis=0).max()) for a in (atoms, other))
    gap = min(potential.model.receptive_field, MAX_GAP_CUTOFFS * potential.r_max)
    other.positions += (extent + gap) * np.array([1.0, 0.7, -0.4])
    first, second, together = (probe.response(a) for a in (atoms, other, atoms + other))
    energies = np.concatenate([first.energies, second.energies])
    parts = Response(energies, np.concatenate([first.forces, second.forces]), None, 0.0)
    errors = together.errors(parts)
    errors["energies"] = abs(together.energies.sum() - energies.sum()) / max(np.abs(energies).sum(), TINY)
    return judge(potential, "far_molecules", errors, problem=first.problem)


def isolated_atom(potential: Potential) -> CheckResult:
    """A lone atom of each element: its energy minus its shift, eV, and its force, eV/Å."""
    tables = [module for module in potential.model.modules() if isinstance(module, SpeciesTable)]
    errors = {}
    for row, symbol in enumerate(potential.species):
        answer = potential.predict(Atoms(symbol))
        shift = sum(float(table.shifts[row]) for table in tables)
        errors[f"{symbol}: energy"] = abs(answer["energy"] - shift)
        errors[f"{symbol}: force"] = float(np.abs(answer["forces"]).max())
    return judge(potential, "isolated_atom", errors)


def locality(potential: Potential) -> CheckResult:
    """The first atom of a chain keeps its energy when all atoms beyond its receptive field move, change or vanish."""
    reach = potential.model.receptive_field
    chain = _chain(potential, reach + 3.0 * MARGIN_A)
    far = np.flatnonzero(chain.get_distances(0, range(len(chain))) > reach + MARGIN_A)
    moved, exchanged, nearer = chain.copy(), chain.copy(), chain.copy()
    moved.positions[far] += np.random.default_rng(1).uniform(-0.25, 0.25, size=(len(far), 3))
    exchanged.numbers[far] = number_of[potential.species[-1]]
    nearer.positions[1, 2] += 0.2
    energy = _first_energy(potential, chain)
    errors = {"far atoms move": abs(_first_energy(potential, moved) - energy),
              "far atoms change": abs(_first_energy(potential, exchanged) - energy),
              "far atoms vanish": abs(_first_energy(potential, chain[:far[0]]) - energy)}
    signal = abs(_first_energy(potential, nearer) - energy)
    problem = "" if signal > MIN_SIGNAL_EV else f"nothing to test: moving the nearest atom changes {signal:.1e} eV"
    return judge(potential, "locality", errors, problem=problem, details={"nearest atom moves": signal})


def _first_energy(potential: Potential, atoms: Atoms) -> float:
    return float(potential.predict(atoms)["energies"][0])


def _chain(potential: Potential, length_A: float) -> Atoms:
    """A zigzag of all elements in turn, neighbours half a cutoff apart, longer than `length_A`."""
    step = 0.5 * potential.r_max
    count = int(length_A / (0.9 * step)) + 3
    k = np.arange(count)
    positions = step * np.stack([0.9 * k, 0.3 * np.cos(1.9 * k), 0.3 * np.sin(1.3 * k)], axis=1)
    return Atoms([potential.species[i % len(potential.species)] for i in k], positions)
