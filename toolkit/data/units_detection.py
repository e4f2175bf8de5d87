"""Settling the units of a data set: declared, else stated by the file, else detected; always checked against physics.

Nothing is guessed silently: the decision carries its evidence, and thin or contradictory evidence is a DataError that
asks for a declaration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

from toolkit.config import DataConfig
from toolkit.data.raw_frames import RawFrames
from toolkit.data.unit_evidence import Measured, bond_stiffness, energy_ratio, length_ratio, work_over_energy
from toolkit.errors import DataError
from toolkit.units import BOHR_A, ENERGY_UNITS_EV, HARTREE_EV, LENGTH_UNITS_A

TYPICAL_STIFFNESS = 1.15
"""Median DFT force constant over Badger's rule: 0.89 (water) … 1.30 (benzene) in the sets we looked at."""

COMMON_UNITS = ("Hartree", "eV", "kcal/mol", "kJ/mol")
"""Units of all-electron totals and of mixed-up files; in Rydberg, valence-only energies look all-electron by chance."""

TRUSTED_CORRELATION = 0.6
"""Correlation from which on a measurement counts; by chance 50 pairs stay below 0.45."""

DECLARE = "declare data.energy_unit and data.length_unit"


@dataclass(frozen=True)
class UnitProblem:
    """A contradiction, or nothing to decide by: what was found, what was expected, and what to do."""

    kind: Literal["length_unit", "energy_unit", "force_sign", "force_scale"]
    message: str
    hint: str


@dataclass(frozen=True)
class UnitDecision:
    """The units of a file, why they were chosen, what deserves a look, and what forbids to train on it."""

    energy_unit: str
    length_unit: str
    evidence: str
    warnings: tuple[str, ...] = ()
    problems: tuple[UnitProblem, ...] = ()


@dataclass(frozen=True)
class _Settled:
    unit: str
    evidence: str
    warnings: tuple[str, ...] = ()
    problems: tuple[UnitProblem, ...] = ()


def decide_units(raw: RawFrames, config: DataConfig) -> UnitDecision:
    """As `judge_units`, but raises the first problem as a DataError."""
    decision = judge_units(raw, config)
    for problem in decision.problems:
        raise DataError(problem.message, problem.hint)
    return decision


def judge_units(raw: RawFrames, config: DataConfig) -> UnitDecision:
    """Units of energy and length of a file, from the configuration, the file's statement or physics, in this order.

    Problems are: nothing decides, evidence contradicts itself or a statement, forces have the wrong sign, forces and
    energies are in different units. A declared unit that physics contradicts is a warning. With a problem the unit is
    the one that physics points to, else eV or Å.
    """
    length = _length_unit(raw, config)
    work, stiffness = work_over_energy(raw), bond_stiffness(raw, LENGTH_UNITS_A[length.unit])
    energy = _energy_unit(raw, config, _energy_votes(raw, stiffness))
    evidence = [energy.evidence, length.evidence]
    if work is not None and abs(work.correlation) > TRUSTED_CORRELATION:
        evidence.append(f"−F·dr between close frames is {work.value:.2f} × their energy difference "
                        f"(correlation {work.correlation:.2f})")
    problems = length.problems + _wrong_sign(work, stiffness) + _other_unit(raw, work) + energy.problems
    return UnitDecision(energy.unit, length.unit, "; ".join(evidence), length.warnings + energy.warnings, problems)


def _length_unit(raw: RawFrames, config: DataConfig) -> _Settled:
    ratio = length_ratio(raw)
    seen = None
    if ratio is not None:
        seen = next((unit for unit, value in LENGTH_UNITS_A.items() if 0.7 < ratio * value < 1.35), None)
    measured = "no distances to judge" if ratio is None else f"nearest distances are {ratio:.2f} × covalent radii in Å"
    return _settle("length", config.length_unit, raw.statement.length_unit, raw.statement.source,
                   {} if seen is None else {measured: seen}, measured)


def _energy_unit(raw: RawFrames, config: DataConfig, votes: dict[str, str]) -> _Settled:
    if all(energy is None for energy in raw.energies) and all(forces is None for forces in raw.forces):
        return _Settled("eV", "no energies or forces")
    return _settle("energy", config.energy_unit, raw.statement.energy_unit, raw.statement.source, votes,
                   "neither bond stiffness nor total energies fit a known unit")


def _settle(what: Literal["length", "energy"], declared: str, stated: str | None, source: str, votes: dict[str, str],
            nothing: str) -> _Settled:
    """One unit from a declaration, a statement and the votes {evidence: unit} of physics.

    The first vote is the stronger one: with a statement only it can object, without one all must agree.
    """
    strongest = next(iter(votes.items()), None)
    chosen = stated if declared == "auto" else declared
    support = "".join(f", {reason}" for reason, unit in votes.items() if unit == chosen)
    objection = f"physics points to {strongest[1]} ({strongest[0]})" if strongest else ""
    objects = strongest is not None and strongest[1] != chosen
    if declared != "auto":
        warnings = (f"{what} unit declared as {declared}, but {objection}",) if objects else ()
        return _Settled(declared, f"{what} in {declared}: declared{support}", warnings)
    if stated is not None and not objects:
        return _Settled(stated, f"{what} in {stated}: {source}{support}")
    kind, unit = f"{what}_unit", strongest[1] if strongest else {"length": "Å", "energy": "eV"}[what]
    if stated is not None:
        problem = UnitProblem(kind, f"{what} unit: {source} says {stated}, but {objection}", f"{DECLARE} to settle it")
    elif not votes:
        problem = UnitProblem(kind, f"cannot tell the {what} unit: the file does not state it and {nothing}", DECLARE)
    elif len(set(votes.values())) > 1:
        found = ", ".join(f"{unit} ({reason})" for reason, unit in votes.items())
        problem = UnitProblem(kind, f"contradictory evidence for the {what} unit: {found}", DECLARE)
    else:
        return _Settled(unit, f"{what} in {unit}: detected, {', '.join(votes)}")
    return _Settled(unit, f"{what} taken for {unit}", problems=(problem,))


def _energy_votes(raw: RawFrames, stiffness: Measured | None) -> dict[str, str]:
    """Evidence -> energy unit, strongest first: bond stiffness, then all-electron total energies."""
    votes: dict[str, str] = {}
    if stiffness is not None and abs(stiffness.correlation) > TRUSTED_CORRELATION:
        for unit, value in ENERGY_UNITS_EV.items():
            ratio = abs(stiffness.value) * value
            if abs(math.log(ratio / TYPICAL_STIFFNESS)) < 0.5 * math.log(2.0):
                votes[f"bond stiffness is {ratio:.2f} × Badger's rule in {unit}/Å²"] = unit
    total = energy_ratio(raw)
    if total is not None:
        for unit in COMMON_UNITS:
            ratio = total.value * ENERGY_UNITS_EV[unit] / HARTREE_EV
            if abs(ratio - 1.0) < 0.04:
                votes[f"total energies are {ratio:.3f} × those of all-electron atoms in {unit}"] = unit
    return votes


def _wrong_sign(work: Measured | None, stiffness: Measured | None) -> tuple[UnitProblem, ...]:
    reasons = []
    if work is not None and work.correlation < -TRUSTED_CORRELATION:
        reasons.append(f"−F·dr between {work.samples} pairs of close frames is {work.value:.2f} × their energy "
                       "difference")
    if stiffness is not None and stiffness.correlation < -TRUSTED_CORRELATION:
        reasons.append(f"forces push {stiffness.samples} stretched bonds further apart")
    if not reasons:
        return ()
    return (UnitProblem("force_sign", f"forces have the wrong sign: {' and '.join(reasons)}, expected forces = −dE/dr",
                        "flip the sign of the forces (the file may hold gradients)"),)


def _other_unit(raw: RawFrames, work: Measured | None) -> tuple[UnitProblem, ...]:
    """Forces that are not the slope of the energies; the tolerance is wide unless pairs are very close."""
    if work is None or work.correlation < TRUSTED_CORRELATION:
        return ()
    tolerance = 1.4 if work.correlation > 0.95 else 2.5
    if 1.0 / tolerance < work.value < tolerance:
        return ()
    factors = {f"forces in {of_forces}/Å with energies in {of_energies}":
               ENERGY_UNITS_EV[of_forces] / ENERGY_UNITS_EV[of_energies]
               for of_forces, of_energies in permutations(COMMON_UNITS, 2)}
    factors |= {"forces per Bohr with positions in Å": 1.0 / BOHR_A, "forces per Å with positions in Bohr": BOHR_A,
                "forces in Hartree/Bohr with energies in eV": HARTREE_EV / BOHR_A,
                "energies per atom": 1.0 / len(raw.structures[0])}
    likely = min(factors, key=lambda name: abs(math.log(work.value * factors[name])))
    close = abs(math.log(work.value * factors[likely])) < 0.25
    message = (f"forces and energies are not in the same unit: −F·dr between {work.samples} pairs of close frames "
               f"is {work.value:.3g} × their energy difference, expected 1"
               + (f"; it looks like {likely}" if close else ""))
    return (UnitProblem("force_scale", message, "convert one of them before reading"),)
