"""Settling the units of a data set: declared, else stated by the file, else detected; always checked against physics.

Nothing is guessed silently: the decision carries its evidence, and thin or contradictory evidence is a DataError that
asks for a declaration.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from toolkit.config import DataConfig
from toolkit.data.force_units import (
    COMMON_UNITS,
    DOUBTFUL,
    bonds_say_too_little,
    looks_like_bonds,
    settle_forces,
    stated_forces_unit,
)
from toolkit.data.raw_frames import RawFrames
from toolkit.data.unit_decision import TRUSTED_CORRELATION, Settled, UnitDecision, UnitProblem
from toolkit.data.unit_evidence import Measured, bond_stiffness, energy_ratio, length_ratio, work_over_energy
from toolkit.errors import DataError
from toolkit.units import ENERGY_UNITS_EV, FORCE_UNITS_EV_PER_A, HARTREE_EV, LENGTH_UNITS_A

DECLARE = "declare data.energy_unit and data.length_unit"


def decide_units(raw: RawFrames, config: DataConfig) -> UnitDecision:
    """As `judge_units`, but raises the first problem as a DataError."""
    decision = judge_units(raw, config)
    for problem in decision.problems:
        raise DataError(problem.message, problem.hint)
    return decision


def judge_units(raw: RawFrames, config: DataConfig) -> UnitDecision:
    """Units of energy, length and forces of a file, from the configuration, the file's statement or physics, in this order.

    Problems are: nothing decides, evidence contradicts itself or a statement, forces have the wrong sign, forces and
    energies are in different units. A declared unit that physics contradicts is a warning. With a problem the unit is
    the one that physics points to, else eV or Å.
    """
    length = _length_unit(raw, config)
    length_A = LENGTH_UNITS_A[length.unit]
    work, stiffness = work_over_energy(raw), bond_stiffness(raw, length_A)
    stated = stated_forces_unit(raw, config)
    votes = _votes_by_forces(stiffness) if stated is None else _votes_by_work(work, stated, length_A)
    totals = _votes_by_totals(raw)
    energy = _energy_unit(raw, config, {**votes, **totals})
    forces = settle_forces(raw, config, energy.unit, length.unit, work, stiffness)
    if config.energy_unit == "auto" and raw.statement.energy_unit is None and not totals:
        energy = replace(energy, problems=energy.problems or bonds_say_too_little(forces.unit, stated, work))
    evidence = [settled.evidence for settled in (energy, length, forces) if settled.evidence]
    if work is not None and abs(work.correlation) > TRUSTED_CORRELATION:
        ratio = work.value * FORCE_UNITS_EV_PER_A[forces.unit] * length_A / ENERGY_UNITS_EV[energy.unit]
        evidence.append(f"−F·dr between close frames is {ratio:.2f} × their energy difference "
                        f"(correlation {work.correlation:.2f})")
    return UnitDecision(energy.unit, length.unit, forces.unit, "; ".join(evidence),
                        length.warnings + energy.warnings + forces.warnings,
                        length.problems + forces.problems + energy.problems)


def _length_unit(raw: RawFrames, config: DataConfig) -> Settled:
    ratio = length_ratio(raw)
    seen = None
    if ratio is not None:
        seen = next((unit for unit, value in LENGTH_UNITS_A.items() if 0.7 < ratio * value < 1.35), None)
    measured = "no distances to judge" if ratio is None else f"nearest distances are {ratio:.2f} × covalent radii in Å"
    return _settle("length", config.length_unit, raw.statement.length_unit, raw.statement.source,
                   {} if seen is None else {measured: seen}, measured)


def _energy_unit(raw: RawFrames, config: DataConfig, votes: dict[str, str]) -> Settled:
    if all(energy is None for energy in raw.energies) and all(forces is None for forces in raw.forces):
        return Settled("eV", "no energies or forces")
    return _settle("energy", config.energy_unit, raw.statement.energy_unit, raw.statement.source, votes,
                   "neither bond stiffness nor total energies fit a known unit")


def _settle(what: Literal["length", "energy"], declared: str, stated: str | None, source: str, votes: dict[str, str],
            nothing: str) -> Settled:
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
        return Settled(declared, f"{what} in {declared}: declared{support}", warnings)
    if stated is not None and not objects:
        return Settled(stated, f"{what} in {stated}: {source}{support}")
    kind, unit = f"{what}_unit", strongest[1] if strongest else {"length": "Å", "energy": "eV"}[what]
    if stated is not None:
        problem = UnitProblem(kind, f"{what} unit: {source} says {stated}, but {objection}", f"{DECLARE} to settle it")
    elif not votes:
        problem = UnitProblem(kind, f"cannot tell the {what} unit: the file does not state it and {nothing}", DECLARE)
    elif len(set(votes.values())) > 1:
        found = ", ".join(f"{unit} ({reason})" for reason, unit in votes.items())
        problem = UnitProblem(kind, f"contradictory evidence for the {what} unit: {found}", DECLARE)
    else:
        return Settled(unit, f"{what} in {unit}: detected, {', '.join(votes)}")
    return Settled(unit, f"{what} taken for {unit}", problems=(problem,))


def _votes_by_forces(stiffness: Measured | None) -> dict[str, str]:
    """Evidence -> energy unit by the stiffness of bonds, for forces in that unit per length."""
    if stiffness is None or abs(stiffness.correlation) <= TRUSTED_CORRELATION:
        return {}
    ratios = {unit: abs(stiffness.value) * value for unit, value in ENERGY_UNITS_EV.items()}
    return {f"bond stiffness is {ratio:.2f} × Badger's rule in {unit}/Å²": unit
            for unit, ratio in ratios.items() if looks_like_bonds(ratio)}


def _votes_by_work(work: Measured | None, forces_unit: str, length_A: float) -> dict[str, str]:
    """Evidence -> energy unit by −F·dr between close frames, for forces in a known unit."""
    if work is None or work.correlation <= TRUSTED_CORRELATION:
        return {}
    ratios = {unit: work.value * FORCE_UNITS_EV_PER_A[forces_unit] * length_A / value
              for unit, value in ENERGY_UNITS_EV.items()}
    return {f"−F·dr between close frames is {ratio:.2f} × their energy difference in {unit}": unit
            for unit, ratio in ratios.items() if 1.0 / DOUBTFUL < ratio < DOUBTFUL}


def _votes_by_totals(raw: RawFrames) -> dict[str, str]:
    """Evidence -> energy unit by all-electron total energies."""
    total = energy_ratio(raw)
    if total is None:
        return {}
    ratios = {unit: total.value * ENERGY_UNITS_EV[unit] / HARTREE_EV for unit in COMMON_UNITS}
    return {f"total energies are {ratio:.3f} × those of all-electron atoms in {unit}": unit
            for unit, ratio in ratios.items() if abs(ratio - 1.0) < 0.04}
