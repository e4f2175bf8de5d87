"""Derivatives against finite differences: forces, stress, second derivatives, and the curl of the force field."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms

from toolkit.checks.probe import STENCIL, Probe, central_difference
from toolkit.checks.result import CheckResult, dtype_name, judge
from toolkit.checks.structures import displaced
from toolkit.data.neighbors import neighbor_list
from toolkit.models.derivatives import evaluate, hessian
from toolkit.models.potential import Potential
from toolkit.models.species import SpeciesIndex

ENERGY_STEP_A = {"float64": 1e-3, "float32": 1e-2}
FORCE_STEP_A = {"float64": 5e-4, "float32": 8e-3}
STRAIN_STEP = {"float64": 3e-4, "float32": 3e-3}
"""Steps of the stencils: wide enough for round-off, narrow enough for the sixth-order error on the stiffest bonds, and
for the third derivative of the energy, which may jump where a pair reaches the cutoff."""

NUM_FORCES = 12
NUM_CURVATURES = 6
MAX_HESSIAN_ATOMS = 64
GAP_SEEN_A = 0.2


def forces(potential: Potential, atoms: Atoms) -> CheckResult:
    """F = −dE/dx for up to twelve coordinates chosen at random."""
    probe, step = Probe(potential), ENERGY_STEP_A[dtype_name(potential)]
    answer = probe.response(atoms)
    errors = {}
    for coordinate in _some(np.arange(3 * len(atoms)), NUM_FORCES):
        slope = central_difference(lambda d, c=coordinate: probe.energy(displaced(atoms, c, d)), step)
        errors[_label(atoms, coordinate)] = abs(float(answer.forces.flat[coordinate] + slope))
    return judge(potential, "forces", errors, problem=answer.problem)


def stress(potential: Potential, atoms: Atoms) -> CheckResult:
    """σ = (1/V) dE/dε for the six symmetric strains x → x(1 + ε); only for structures periodic in all directions."""
    probe, step = Probe(potential), STRAIN_STEP[dtype_name(potential)]
    answer = probe.response(atoms)
    errors = {}
    for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        direction = np.zeros((3, 3))
        direction[a, b] += 0.5
        direction[b, a] += 0.5
        slope = central_difference(lambda s, e=direction: probe.energy(_strained(atoms, s * e)), step)
        found = answer.stress[[a, b], [b, a]]
        errors["xyz"[a] + "xyz"[b]] = float(np.abs(found - slope / answer.volume).max())
    return judge(potential, "stress", errors, problem=answer.problem)


def hessian_symmetry(potential: Potential, atoms: Atoms) -> CheckResult:
    """d²E/dx_i dx_j = d²E/dx_j dx_i, both in the analytic Hessian and in the finite differences of the forces."""
    probe = Probe(potential)
    analytic = hessian(potential.model, potential.graph(atoms), chunk_size=1).cpu().numpy()
    coordinates = _quiet_coordinates(potential, atoms)
    numerical = np.array([_curvature(probe, atoms, c)[coordinates] for c in coordinates])
    errors = {"analytic": float(np.abs(analytic - analytic.T).max()),
              "differences of forces": float(np.abs(numerical - numerical.T).max())}
    return judge(potential, "hessian_symmetry", errors, problem=probe.response(atoms).problem)


def second_derivatives(potential: Potential, atoms: Atoms) -> CheckResult:
    """Rows of the analytic Hessian against finite differences of the forces."""
    probe = Probe(potential)
    errors = {}
    for coordinate in _quiet_coordinates(potential, atoms):
        direction = np.zeros((len(atoms), 3))
        direction.flat[coordinate] = 1.0
        analytic = hessian_vector_product(potential, atoms, direction).ravel()
        errors[_label(atoms, coordinate)] = float(np.abs(analytic - _curvature(probe, atoms, coordinate)).max())
    return judge(potential, "second_derivatives", errors, problem=probe.response(atoms).problem)


def hessian_vector_product(potential: Potential, atoms: Atoms, direction: np.ndarray) -> np.ndarray:
    """Σ_j d²E/dx_i dx_j v_j by automatic differentiation, (N, 3), eV/Å² times the unit of v. direction : v (N, 3)"""
    graph = potential.graph(atoms)
    positions = graph.positions.clone().requires_grad_(True)
    force = evaluate(potential.model, graph.with_positions(positions), create_graph=True)["forces"]
    if not force.requires_grad:
        return np.zeros(direction.shape)
    product = (force * torch.as_tensor(direction, device=force.device)).sum()
    return -torch.autograd.grad(product, positions, materialize_grads=True)[0].cpu().numpy()


def _curvature(probe: Probe, atoms: Atoms, coordinate: int) -> np.ndarray:
    """One row of the Hessian as differences of forces, (3N,), eV/Å²."""
    step = FORCE_STEP_A[dtype_name(probe.potential)]
    return -central_difference(lambda d: probe.response(displaced(atoms, coordinate, d)).forces.ravel(), step)


def _strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return moved


def _quiet_coordinates(potential: Potential, atoms: Atoms) -> np.ndarray:
    """Some of the 3N coordinates whose stencil carries no pair across its cutoff, where F'' may jump (images of
    one atom keep their distance).

    When every atom has such a pair, coordinates of the atom whose pairs are farthest from their cutoffs.
    """
    seen = potential.r_max + GAP_SEEN_A
    (center, neighbor), shifts = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, seen)
    lengths = np.linalg.norm(atoms.positions[neighbor] - atoms.positions[center] + shifts @ atoms.cell.array, axis=1)
    table = SpeciesIndex(potential.config).cutoffs
    cutoffs = np.array([potential.r_max] if table is None else table.flatten().tolist())
    pair_gaps = np.where(center == neighbor, GAP_SEEN_A, np.abs(lengths[:, None] - cutoffs).min(axis=1))
    gaps = np.full(len(atoms), GAP_SEEN_A)
    np.minimum.at(gaps, center, pair_gaps)
    reach = STENCIL[-1][0] * FORCE_STEP_A[dtype_name(potential)]
    atoms_kept = np.flatnonzero(gaps >= min(1.1 * reach, gaps.max()))
    return _some((3 * atoms_kept[:, None] + np.arange(3)).ravel(), NUM_CURVATURES)


def _some(coordinates: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of them, chosen once and for all, ascending."""
    return np.sort(np.random.default_rng(0).permutation(coordinates)[:count])


def _label(atoms: Atoms, coordinate: int) -> str:
    return f"{atoms.symbols[coordinate // 3]}{coordinate // 3} {'xyz'[coordinate % 3]}"
