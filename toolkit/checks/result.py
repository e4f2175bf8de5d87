"""What a check returns, and the one table of what is asked of a potential: unit, thresholds, a sentence.

Why these thresholds. Float64 carries 16 digits, of which a network of some hundred operations keeps about 13:
symmetries hold to 1e-10, and central differences of sixth order reach 1e-9 eV/Å for forces, 1e-11 eV/Å² for curvatures. Float32
carries 7 digits and keeps about 6: symmetries hold to 1e-5; a finite difference loses two to three more, so that in
float32 it finds a wrong sign or a missing term, while the `precision` check ties the same forces and curvatures to
float64 much more tightly. "Relative" errors are RMS deviations over the RMS of the quantity in that structure; their
floor in float32 is 6e-8 (the rounding of a position) × stiffness · length / force, a few 1e-6 for a molecule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from toolkit.models.potential import Potential


@dataclass(frozen=True)
class Criterion:
    """What one check asks: largest value that passes in each precision, its unit, and the law in one sentence."""

    unit: str
    float64: float
    float32: float
    sentence: str


CRITERIA: dict[str, Criterion] = {
    "rotation": Criterion("relative", 1e-10, 1e-5, (
        "Turning the whole structure turns the forces and the stress with it and leaves every energy as it was.")),
    "inversion": Criterion("relative", 1e-10, 1e-5, (
        "A structure reflected through a point (its mirror image) has the same energies and reflected forces.")),
    "translation": Criterion("relative", 1e-10, 1e-5, (
        "Moving the whole structure, or one atom of a crystal by a lattice vector, changes nothing.")),
    "permutation": Criterion("relative", 1e-10, 1e-5, (
        "The order in which atoms are listed does not matter.")),
    "batch": Criterion("relative", 1e-10, 1e-5, (
        "A structure gets the same answer alone and beside others, whatever happens to those.")),
    "supercell": Criterion("relative", 1e-10, 1e-5, (
        "A crystal described by a cell of twice the size has the same atomic energies, forces and stress.")),
    "net_force": Criterion("relative", 1e-10, 1e-5, (
        "Inner forces cancel: they neither push nor (in a molecule) spin the structure as a whole.")),
    "charge": Criterion("e", 1e-10, 1e-10, (
        "The charges that a model predicts for its long range add up to the total charge of each structure.")),
    "forces": Criterion("eV/Å", 1e-7, 5e-3, (
        "Forces are minus the slope of the energy: moving an atom a little changes the energy as its force says.")),
    "hessian_symmetry": Criterion("eV/Å²", 1e-9, 2e-2, (
        "The force field has no curl: atom i answers to a move of j as j to one of i, so no energy comes from nothing.")),
    "second_derivatives": Criterion("eV/Å²", 1e-7, 2e-2, (
        "The analytic second derivatives, which give vibrations, are the slopes of the forces.")),
    "stress": Criterion("eV/Å³", 1e-8, 1e-3, (
        "The stress is the slope of the energy per volume when the crystal is stretched or sheared.")),
    "cutoff": Criterion("eV/Åⁿ, n = 0, 1, 2", 1e-7, 1e-3, (
        "Energy, force and curvature stay continuous when an atom crosses the cutoff, whatever the radial functions.")),
    "far_molecules": Criterion("relative", 1e-10, 1e-5, (
        "Two molecules far apart have the sum of their energies and feel nothing of each other.")),
    "isolated_atom": Criterion("eV or eV/Å", 1e-9, 1e-9, (
        "A lone atom has exactly its reference energy (shift) and no force.")),
    "locality": Criterion("eV", 1e-10, 1e-5, (
        "An atom's energy does not depend on anything beyond the receptive field that the architecture promises.")),
    "precision": Criterion("relative", 1e-10, 1e-5, (
        "Energies, forces, stress and curvatures agree with the reference code in float64.")),
    "nve": Criterion("kinetic RMS", 0.1, 0.1, (
        "A simulation left to itself keeps its total energy: the drift over the run, error bar included, stays far "
        "below the usual exchange between kinetic and potential energy.")),
}
"""Check -> what it asks, in the order of a passport."""

MIN_FORCE_RMS_EV_PER_A = 1e-3
"""Below this a potential is too flat on a structure for a comparison to mean anything."""


@dataclass(frozen=True)
class CheckResult:
    """One line of a passport: `value` is the largest error found and has to stay at or below `threshold`.

    details : what went into it, case by case;  worst_case : which of them gave the value, so that a failure says which
        symmetry or which derivative broke
    problem : why nothing could be judged (a flat potential, a simulation that broke); such a check has not passed
    """

    name: str
    value: float
    threshold: float
    unit: str
    sentence: str
    dtype: str
    backend: str
    details: dict[str, float] = field(default_factory=dict)
    worst_case: str = ""
    problem: str = ""

    @property
    def passed(self) -> bool:
        """True when the value is a number within the threshold and nothing stood in the way of judging."""
        return not self.problem and self.value <= self.threshold

    @property
    def key(self) -> str:
        """Name in a passport: check.dtype.backend."""
        return f"{self.name}.{self.dtype}.{self.backend}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; numbers that are not finite become None."""
        details = {name: _finite(value) for name, value in self.details.items()}
        return {"value": _finite(self.value), "threshold": self.threshold, "unit": self.unit, "passed": self.passed,
                "sentence": self.sentence, "problem": self.problem, "dtype": self.dtype, "backend": self.backend,
                "worst_case": self.worst_case, "details": details}


def judge(potential: Potential, name: str, errors: Mapping[str, float], *, problem: str = "",
          details: Mapping[str, float] | None = None) -> CheckResult:
    """The result of the check `name`: its value is the largest of `errors` (NaN when one is NaN).

    details : further numbers worth keeping;  problem : why the errors mean nothing, empty when they do
    """
    criterion = CRITERIA[name]
    dtype = dtype_name(potential)
    numbers = {case: float(value) for case, value in {**errors, **(details or {})}.items()}  # no NumPy scalars: JSON
    worst_case = max(errors, key=lambda case: _badness(numbers[case]), default="")
    return CheckResult(name, numbers.get(worst_case, math.nan), getattr(criterion, dtype), criterion.unit,
                       criterion.sentence, dtype, potential.backend, numbers, worst_case, problem)


def combine(results: Mapping[str, CheckResult]) -> CheckResult:
    """One result of the same check on several structures: the worst value, all details, the first problem."""
    where = max(results, key=lambda name: _badness(results[name].value))
    details = {f"{name}: {case}": value for name, result in results.items() for case, value in result.details.items()}
    problem = next((f"{name}: {result.problem}" for name, result in results.items() if result.problem), "")
    return replace(results[where], details=details, worst_case=f"{where}: {results[where].worst_case}", problem=problem)


def dtype_name(potential: Potential) -> str:
    """"float32" or "float64"."""
    return str(potential.dtype).removeprefix("torch.")


def _badness(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
