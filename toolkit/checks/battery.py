"""All checks in one table, and how to run those that apply to a structure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ase import Atoms

from toolkit.checks import gradients, locality, precision, smoothness, symmetry
from toolkit.checks.result import CheckResult, combine
from toolkit.models.potential import Potential

StructureCheck = Callable[[Potential, Atoms], CheckResult]
ModelCheck = Callable[[Potential], CheckResult]

STRUCTURE_CHECKS: dict[str, StructureCheck] = {
    "rotation": symmetry.rotation,
    "inversion": symmetry.inversion,
    "translation": symmetry.translation,
    "permutation": symmetry.permutation,
    "batch": symmetry.batch,
    "supercell": symmetry.supercell,
    "net_force": symmetry.net_force,
    "charge": symmetry.charge,
    "forces": gradients.forces,
    "hessian_symmetry": gradients.hessian_symmetry,
    "second_derivatives": gradients.second_derivatives,
    "stress": gradients.stress,
    "far_molecules": locality.far_molecules,
    "precision": precision.precision,
}
"""Checks of a potential on one structure; see `applies` and `promises`."""

MODEL_CHECKS: dict[str, ModelCheck] = {
    "cutoff": smoothness.cutoff,
    "isolated_atom": locality.isolated_atom,
    "locality": locality.locality,
}
"""Checks that build their own structures. Of both kinds only those apply that the architecture `promises`."""


def applies(name: str, atoms: Atoms) -> bool:
    """Whether a check of STRUCTURE_CHECKS has a meaning (and a bearable cost) for this structure."""
    if name == "stress":
        return bool(atoms.pbc.all())
    if name == "supercell":
        return bool(atoms.pbc.any())
    if name == "far_molecules":
        return not atoms.pbc.any()
    if name in ("hessian_symmetry", "second_derivatives"):
        return len(atoms) <= gradients.MAX_HESSIAN_ATOMS
    return True


def promises(name: str, potential: Potential) -> bool:
    """Whether the architecture promises what a check asks: with a long range, atoms feel each other at any distance, and
    not every model has charges."""
    if name == "charge":
        return potential.config.predicts_charges
    return name not in ("locality", "far_molecules") or math.isfinite(potential.model.receptive_field)


def run_check(name: str, potential: Potential, structures: Mapping[str, Atoms]) -> CheckResult | None:
    """One check on all structures it applies to, as one result; None when it applies to none."""
    if not promises(name, potential):
        return None
    if name in MODEL_CHECKS:
        return MODEL_CHECKS[name](potential)
    results = {where: STRUCTURE_CHECKS[name](potential, atoms) for where, atoms in structures.items()
               if applies(name, atoms)}
    return combine(results) if results else None


def run_battery(potential: Potential, structures: Mapping[str, Atoms]) -> dict[str, CheckResult]:
    """Every check that applies, by name. structures : name -> structure, e.g. one molecule and one crystal"""
    results = {name: run_check(name, potential, structures) for name in (*STRUCTURE_CHECKS, *MODEL_CHECKS)}
    return {name: result for name, result in results.items() if result is not None}
