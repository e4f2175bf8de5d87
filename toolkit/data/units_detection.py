"""Settling the units of a data set: declared, else stated by the file, else detected; always checked against physics.

Nothing is guessed silently: the decision carries its evidence, and thin or contradictory evidence is a DataError that
asks for a declaration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

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
class UnitDecision:
    """The units of a file, why they were chosen, and what deserves a look."""

    energy_unit: str
    length_unit: str
    evidence: str
    warnings: tuple[str, ...] = ()


def decide_units(raw: RawFrames, config: DataConfig) -> UnitDecision:
    """Units of energy and length of a file, from the configuration, the file's statement or physics, in this order.

    Raises DataError when nothing decides, when evidence contradicts itself or a statement, when forces have the wrong
    sign, and when forces and energies are in different units. A declared unit that physics contradicts is a warning.
    """
    length_unit, length_evidence, length_warnings = _length_unit(raw, config)
    work, stiffness = work_over_energy(raw), bond_stiffness(raw, LENGTH_UNITS_A[length_unit])
    _check_sign(work, stiffness)
    _check_same_unit(raw, work)
    energy_unit, energy_evidence, energy_warnings = _energy_unit(raw, config, _energy_votes(raw, stiffness))
    evidence = [energy_evidence, length_evidence]
    if work is not None and abs(work.correlation) > TRUSTED_CORRELATION:
        evidence.append(f"−F·dr between close frames is {work.value:.2f} × their energy difference "
                        f"(correlation {work.correlation:.2f})")
    return UnitDecision(energy_unit, length_unit, "; ".join(evidence), length_warnings + energy_warnings)


def _length_unit(raw: RawFrames, config: DataConfig) -> tuple[str, str, tuple[str, ...]]:
    ratio = length_ratio(raw)
    seen = None
    if ratio is not None:
        seen = next((unit for unit, value in LENGTH_UNITS_A.items() if 0.7 < ratio * value < 1.35), None)
    measured = "no distances to judge" if ratio is None else f"nearest distances are {ratio:.2f} × covalent radii in Å"
    return _settle("length", config.length_unit, raw.statement.length_unit, raw.statement.source,
                   {} if seen is None else {measured: seen}, measured)


def _energy_unit(raw: RawFrames, config: DataConfig, votes: dict[str, str]) -> tuple[str, str, tuple[str, ...]]:
    if all(energy is None for energy in raw.energies) and all(forces is None for forces in raw.forces):
        return "eV", "no energies or forces", ()
    return _settle("energy", config.energy_unit, raw.statement.energy_unit, raw.statement.source, votes,
                   "neither bond stiffness nor total energies fit a known unit")


def _settle(what: str, declared: str, stated: str | None, source: str, votes: dict[str, str],
            nothing: str) -> tuple[str, str, tuple[str, ...]]:
    """One unit, its evidence and warnings, from a declaration, a statement and the votes {evidence: unit} of physics.

    The first vote is the stronger one: with a statement only it can object, without one all must agree.
    """
    strongest = next(iter(votes.items()), None)
    chosen = stated if declared == "auto" else declared
    support = "".join(f", {reason}" for reason, unit in votes.items() if unit == chosen)
    objection = f"physics points to {strongest[1]} ({strongest[0]})" if strongest else ""
    if declared != "auto":
        wrong = strongest is not None and strongest[1] != declared
        return declared, f"{what} in {declared}: declared{support}", \
            ((f"{what} unit declared as {declared}, but {objection}",) if wrong else ())
    if stated is not None:
        if strongest is not None and strongest[1] != stated:
            raise DataError(f"{what} unit: {source} says {stated}, but {objection}", f"{DECLARE} to settle it")
        return stated, f"{what} in {stated}: {source}{support}", ()
    if not votes:
        raise DataError(f"cannot tell the {what} unit: the file does not state it and {nothing}", DECLARE)
    if len(set(votes.values())) > 1:
        found = ", ".join(f"{unit} ({reason})" for reason, unit in votes.items())
        raise DataError(f"contradictory evidence for the {what} unit: {found}", DECLARE)
    unit = next(iter(votes.values()))
    return unit, f"{what} in {unit}: detected, {', '.join(votes)}", ()


def _energy_votes(raw: RawFrames, stiffness: Measured | None) -> dict[str, str]:
    """Evidence -> energy unit, strongest first: bond stiffness, then all-electron total energies."""
    votes: dict[str, str] = {}
    if stiffness is not None and stiffness.correlation > TRUSTED_CORRELATION:
        for unit, value in ENERGY_UNITS_EV.items():
            ratio = stiffness.value * value
            if abs(math.log(ratio / TYPICAL_STIFFNESS)) < 0.5 * math.log(2.0):
                votes[f"bond stiffness is {ratio:.2f} × Badger's rule in {unit}/Å²"] = unit
    total = energy_ratio(raw)
    if total is not None:
        for unit in COMMON_UNITS:
            ratio = total.value * ENERGY_UNITS_EV[unit] / HARTREE_EV
            if abs(ratio - 1.0) < 0.04:
                votes[f"total energies are {ratio:.3f} × those of all-electron atoms in {unit}"] = unit
    return votes


def _check_sign(work: Measured | None, stiffness: Measured | None) -> None:
    reasons = []
    if work is not None and work.correlation < -TRUSTED_CORRELATION:
        reasons.append(f"−F·dr between {work.samples} pairs of close frames is {work.value:.2f} × their energy "
                       "difference")
    if stiffness is not None and stiffness.correlation < -TRUSTED_CORRELATION:
        reasons.append(f"forces push {stiffness.samples} stretched bonds further apart")
    if reasons:
        raise DataError(f"forces have the wrong sign: {' and '.join(reasons)}, expected forces = −dE/dr",
                        "flip the sign of the forces (the file may hold gradients)")


def _check_same_unit(raw: RawFrames, work: Measured | None) -> None:
    """Refuse forces that are not the slope of the energies; the tolerance is wide unless pairs are very close."""
    if work is None or work.correlation < TRUSTED_CORRELATION:
        return
    tolerance = 1.4 if work.correlation > 0.95 else 2.5
    if 1.0 / tolerance < work.value < tolerance:
        return
    factors = {f"forces in {of_forces}/Å with energies in {of_energies}":
               ENERGY_UNITS_EV[of_forces] / ENERGY_UNITS_EV[of_energies]
               for of_forces, of_energies in permutations(COMMON_UNITS, 2)}
    factors |= {"forces per Bohr with positions in Å": 1.0 / BOHR_A, "forces per Å with positions in Bohr": BOHR_A,
                "forces in Hartree/Bohr with energies in eV": HARTREE_EV / BOHR_A,
                "energies per atom": 1.0 / len(raw.structures[0])}
    likely = min(factors, key=lambda name: abs(math.log(work.value * factors[name])))
    close = abs(math.log(work.value * factors[likely])) < 0.25
    raise DataError(f"forces and energies are not in the same unit: −F·dr between {work.samples} pairs of close frames "
                    f"is {work.value:.3g} × their energy difference, expected 1"
                    + (f"; it looks like {likely}" if close else ""), "convert one of them before reading")
