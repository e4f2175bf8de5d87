"""Symmetries of space, of identical particles and of batches: each function moves the question, not the answer."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from toolkit.checks.probe import TINY, Probe, Response, rms
from toolkit.checks.result import CheckResult, judge
from toolkit.checks.structures import companion, transformed
from toolkit.data.graph import charge_info, total_charge
from toolkit.models.potential import Potential

NUM_ROTATIONS = 3
SHIFT_A = (3.1, -2.7, 11.3)


def rotation(potential: Potential, atoms: Atoms) -> CheckResult:
    """E_i(Rx) = E_i(x), F(Rx) = R F(x), σ(Rx) = R σ Rᵀ for random proper rotations R."""
    return _orthogonal(potential, atoms, "rotation", Rotation.random(NUM_ROTATIONS, random_state=4).as_matrix())


def inversion(potential: Potential, atoms: Atoms) -> CheckResult:
    """The same for R = −1. Every mirror is a rotation followed by the inversion, so it needs no check of its own."""
    return _orthogonal(potential, atoms, "inversion", -np.eye(3)[None])


def _orthogonal(potential: Potential, atoms: Atoms, name: str, matrices: np.ndarray) -> CheckResult:
    probe = Probe(potential)
    before = probe.response(atoms)
    errors: dict[str, float] = {}
    for matrix in matrices:
        stress = None if before.stress is None else matrix @ before.stress @ matrix.T
        expected = Response(before.energies, before.forces @ matrix.T, stress, before.volume)
        found = probe.response(transformed(atoms, matrix)).errors(expected)
        errors = {key: float(np.maximum(error, errors.get(key, 0.0))) for key, error in found.items()}
    return judge(potential, name, errors, problem=before.problem)


def translation(potential: Potential, atoms: Atoms) -> CheckResult:
    """Nothing changes when all atoms move together, nor when single atoms move by lattice vectors."""
    probe = Probe(potential)
    before = probe.response(atoms)
    together = atoms.copy()
    together.positions += SHIFT_A
    errors = probe.response(together).errors(before, "together: ")
    if atoms.pbc.any():
        hops = np.random.default_rng(0).integers(-2, 3, size=(len(atoms), 3)) * atoms.pbc
        hops[0] = atoms.pbc
        scattered = atoms.copy()
        scattered.positions += hops @ atoms.cell.array
        errors |= probe.response(scattered).errors(before, "by lattice vectors: ")
    return judge(potential, "translation", errors, problem=before.problem)


def permutation(potential: Potential, atoms: Atoms) -> CheckResult:
    """Listing the atoms in another order permutes the answers and changes none."""
    probe = Probe(potential)
    before = probe.response(atoms)
    order = np.random.default_rng(0).permutation(len(atoms))
    expected = Response(before.energies[order], before.forces[order], before.stress, before.volume)
    return judge(potential, "permutation", probe.response(atoms[order]).errors(expected), problem=before.problem)


def batch(potential: Potential, atoms: Atoms) -> CheckResult:
    """First, last and middle of a batch give what they give alone, and do not notice when another structure moves."""
    probe = Probe(potential)
    alone = probe.response(atoms)
    other, lone = companion(atoms), Atoms(atoms.symbols[:1])
    first, middle, _, last = probe.responses([atoms, other, lone, atoms])
    errors = first.errors(alone, "first: ") | last.errors(alone, "last: ")
    errors |= middle.errors(probe.response(other), "middle: ")
    errors |= probe.responses([atoms, companion(atoms, seed=1), lone])[0].errors(alone, "while another moves: ")
    return judge(potential, "batch", errors, problem=alone.problem)


def supercell(potential: Potential, atoms: Atoms) -> CheckResult:
    """Twice the cell along the first periodic vector, with twice the charge: each atom answers as before."""
    probe = Probe(potential)
    before = probe.response(atoms)
    repeats = [1, 1, 1]
    repeats[int(np.argmax(atoms.pbc))] = 2
    doubled = atoms.repeat(repeats)
    doubled.info.update({name: 2.0 * charge for name, charge in charge_info(atoms).items()})
    expected = Response(np.tile(before.energies, 2), np.tile(before.forces, (2, 1)), before.stress, 2.0 * before.volume)
    return judge(potential, "supercell", probe.response(doubled).errors(expected), problem=before.problem)


def charge(potential: Potential, atoms: Atoms) -> CheckResult:
    """Σ q is the total charge, also beside structures with other ones; of a potential that predicts charges."""
    totals = np.array([total_charge(atoms), 0.0, 1.0, -2.0])
    structures = [atoms.copy() for _ in totals]
    for copy, total in zip(structures, totals, strict=True):
        copy.info["charge"] = total
    graph = potential.graph(structures)
    charges = potential.evaluate(graph, forces=False)["charges"].cpu().numpy()
    sums = np.bincount(graph.batch.cpu().numpy(), weights=charges)
    return judge(potential, "charge", {f"charge {total:g}": abs(found - total)
                                       for found, total in zip(sums, totals, strict=True)})


def net_force(potential: Potential, atoms: Atoms) -> CheckResult:
    """Σ F = 0 always, Σ x × F = 0 without periodicity; in units of the force RMS (and of the RMS radius)."""
    answer = Probe(potential).response(atoms)
    size = max(answer.force_rms, TINY)
    errors = {"net force": rms(answer.forces.sum(axis=0)) / size}
    if not atoms.pbc.any():
        arms = atoms.positions - atoms.positions.mean(axis=0)
        errors["net torque"] = rms(np.cross(arms, answer.forces).sum(axis=0)) / (size * max(rms(arms), TINY))
    return judge(potential, "net_force", errors, problem=answer.problem)
