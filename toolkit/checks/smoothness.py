"""Continuity at the cutoff, from one-sided limits of energy, slope and curvature."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers as number_of
from ase.data import covalent_radii

from toolkit.checks.probe import Probe, modified
from toolkit.checks.result import CheckResult, judge
from toolkit.models.base import AtomisticModel
from toolkit.models.derivatives import evaluate
from toolkit.models.potential import Potential
from toolkit.models.species import SpeciesIndex
from toolkit.nn.radial import BesselBasis

LIMIT = np.array([6.0, -15.0, 20.0, -15.0, 6.0, -1.0])
"""Weights that extrapolate from the points h, 2h, … 6h to 0, exact for polynomials of degree 5."""

SPACING = 1e-3
"""h in units of the cutoff."""

DETUNING = 0.25
MAX_PAIRS = 10
MIN_SIGNAL_EV = 1e-4


def cutoff(potential: Potential) -> CheckResult:
    """Energy, slope and curvature have equal limits from both sides when a pair of atoms reaches its cutoff.

    Pairs of elements (10 of them, spread evenly, where there are more) are drawn apart, with their own cutoffs and the
    end of the core repulsion, each atom bonded to a further one. Bessel functions vanish at the cutoff and so hide one
    missing order of smoothness of the envelope; trained roots (or another basis) would not. So a copy of the potential
    with detuned roots has to be as smooth.
    """
    errors: dict[str, float] = {}
    signal = 0.0
    plain = Probe(potential).potential
    subjects = {"": plain, ", detuned": modified(plain, _detune)}
    for pair, distance in _pair_cutoffs(potential):
        for copy_name, subject in subjects.items():
            jumps, change = _jumps(subject, pair, distance)
            signal = max(signal, change)
            for name, jump in zip(("energy", "slope", "curvature"), jumps, strict=True):
                errors[f"{name}{copy_name}"] = float(np.maximum(jump, errors.get(f"{name}{copy_name}", 0.0)))
    problem = f"nothing to test: no pair changes the energy by {MIN_SIGNAL_EV} eV" if signal < MIN_SIGNAL_EV else ""
    return judge(potential, "cutoff", errors, problem=problem)


def _pair_cutoffs(potential: Potential) -> Iterator[tuple[tuple[str, str], float]]:
    """Pairs of elements with each distance at which one of them leaves the other's neighbourhood, or its core, Å."""
    species = potential.species
    tables = [module.cutoffs for module in potential.model.modules() if isinstance(module, SpeciesIndex)] or [None]
    pairs = list(combinations_with_replacement(range(len(species)), 2))
    for k in np.unique(np.linspace(0, len(pairs) - 1, MAX_PAIRS, dtype=int)):
        a, b = pairs[k]
        ends = [potential.r_max if table is None else float(table[pair]) for table in tables for pair in ((a, b), (b, a))]
        for distance in sorted(set(ends)):
            yield (species[a], species[b]), distance


def _jumps(potential: Potential, pair: tuple[str, str], distance: float) -> tuple[np.ndarray, float]:
    """Jumps of energy, slope and curvature, (3,), and how much the energy changes on the way to the cutoff, eV."""
    steps = SPACING * distance * np.arange(1, len(LIMIT) + 1)
    inside, outside = (_along(potential, pair, distance + sign * steps) for sign in (-1.0, 1.0))
    nearer = _along(potential, pair, np.array([0.7 * distance]))
    return np.abs((inside - outside) @ LIMIT), float(abs(nearer[0, 0] - outside[0, 0]))


def _along(potential: Potential, pair: tuple[str, str], distances: np.ndarray) -> np.ndarray:
    """Energy, slope and curvature as functions of the distance of the pair, (3, len(distances)); eV, Å."""
    structures = [_bonded_pair(potential.species, pair, distance) for distance in distances]
    graph = potential.graph(structures)
    positions = graph.positions.clone().requires_grad_(True)
    output = evaluate(potential.model, graph.with_positions(positions), create_graph=True)
    moving = torch.tensor([False, False, True, True], device=graph.positions.device).repeat(len(structures))
    slopes = -_sum_by_structure(output["forces"][:, 0] * moving, graph.batch)
    curvatures = torch.zeros_like(slopes)
    if slopes.requires_grad:
        gradient = torch.autograd.grad(slopes.sum(), positions, materialize_grads=True)[0]
        curvatures = _sum_by_structure(gradient[:, 0] * moving, graph.batch)
    return torch.stack([output["energy"], slopes, curvatures]).detach().cpu().numpy()


def _sum_by_structure(values: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
    return values.new_zeros(int(batch[-1]) + 1).index_add(0, batch, values)


def _bonded_pair(species: tuple[str, ...], pair: tuple[str, str], distance: float) -> Atoms:
    """A–a … b–B with |ab| = distance along x; the partners A and B lie behind, farther from the opposite side."""
    first, second = pair
    partners = [next((s for s in species if s != symbol), symbol) for symbol in pair]
    behind, ahead = np.array([-0.48, 0.80, 0.36]), np.array([0.36, -0.48, 0.80])
    b = np.array([distance, 0.0, 0.0])
    return Atoms([partners[0], first, second, partners[1]],
                 [_bond(first, partners[0]) * behind, np.zeros(3), b, b + _bond(second, partners[1]) * ahead])


def _bond(first: str, second: str) -> float:
    return 1.1 * float(covalent_radii[number_of[first]] + covalent_radii[number_of[second]])


def _detune(model: AtomisticModel) -> None:
    """Make the radial functions not vanish at the cutoff by themselves."""
    for module in model.modules():
        if isinstance(module, BesselBasis):
            module.roots.data += DETUNING
