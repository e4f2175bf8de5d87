"""The unit of forces: energy per length of the file unless somebody says otherwise, and never against two witnesses.

The witnesses are −F·dr between close frames over their energy difference (1 when forces are the slope of the energies)
and the stiffness of bonds over Badger's rule. Programs that print gradients in Hartree/Bohr beside positions in Å make
the most frequent mistake: a factor of 1.9, which one noisy witness alone does not see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import permutations

from toolkit.config import DataConfig
from toolkit.data.raw_frames import RawFrames
from toolkit.data.unit_decision import TRUSTED_CORRELATION, Settled, UnitProblem
from toolkit.data.unit_evidence import Measured
from toolkit.units import BOHR_A, ENERGY_UNITS_EV, FORCE_UNITS_EV_PER_A, HARTREE_EV, LENGTH_UNITS_A

TYPICAL_STIFFNESS = 1.15
"""Median DFT force constant over Badger's rule: 0.88 (water) … 1.40 (naphthalene) in the sets we looked at."""

COMMON_UNITS = ("Hartree", "eV", "kcal/mol", "kJ/mol")
"""Units of all-electron totals and of mixed-up files; in Rydberg, valence-only energies look all-electron by chance."""

WIDE, NARROW, DOUBTFUL = 2.5, 1.4, 1.3
"""How far from 1 −F·dr over the energy difference may be: alone, alone when pairs are very close, beside odd bonds."""

VERY_CLOSE = 0.95
"""Correlation of −F·dr with energy differences between frames that are very close."""

SELDOM_PRINTED = ("Hartree/Å", "Rydberg/Å")
"""Units that hardly any program prints forces in: where bonds contradict them and nobody said so, we ask."""

RYDBERG_BOHR = FORCE_UNITS_EV_PER_A["Rydberg/Bohr"] / FORCE_UNITS_EV_PER_A["Hartree/Å"]
"""0.94: bonds do not tell Quantum ESPRESSO's units from Hartree/Å, and energies in the one are half those in the other."""

PER_ATOM = "energies per atom"


@dataclass(frozen=True)
class _Mixture:
    """Units that do not go together: what they are called, by what they change −F·dr / ΔE, and the unit of forces then."""

    name: str
    factor: float
    energy_unit: str
    forces_unit: str

    @property
    def remedy(self) -> str:
        """What to do about it."""
        if self.name == PER_ATOM:
            return "multiply the energies by the number of atoms before reading"
        return (f"declare data.energy_unit: {self.energy_unit} and data.forces_unit: {self.forces_unit}, or convert one "
                "before reading")


def stated_forces_unit(raw: RawFrames, config: DataConfig) -> str | None:
    """The unit of forces that the configuration declares, else that the file names, else None."""
    return raw.statement.forces_unit if config.forces_unit == "auto" else config.forces_unit


def looks_like_bonds(ratio: float) -> bool:
    """Whether a stiffness over Badger's rule is one of covalent bonds: within a factor √2 of the typical one."""
    return abs(math.log(abs(ratio) / TYPICAL_STIFFNESS)) < 0.5 * math.log(2.0)


def settle_forces(raw: RawFrames, config: DataConfig, energy_unit: str, length_unit: str, work: Measured | None,
                  stiffness: Measured | None) -> Settled:
    """The unit of forces, which is `energy_unit` per `length_unit` where nobody says otherwise, checked against physics.

    work : `work_over_energy` in the units of the file;  stiffness : `bond_stiffness` for the length unit
    Problems are forces of the wrong sign, or in another unit than the energies; a warning instead where the configuration
    declares their unit.
    """
    stated, implied = stated_forces_unit(raw, config), f"{energy_unit}/{length_unit}"
    unit = stated or implied
    work = _trusted(work, FORCE_UNITS_EV_PER_A[unit] / FORCE_UNITS_EV_PER_A[implied])
    stiffness = _trusted(stiffness, FORCE_UNITS_EV_PER_A[unit] * LENGTH_UNITS_A[length_unit])
    sign = _wrong_sign(work, stiffness)
    doubt = None if sign else _other_unit(_mixtures(energy_unit, length_unit, len(raw.structures[0])), unit, work, stiffness)
    warnings: tuple[str, ...] = ()
    odd = None if sign or doubt else _odd_bonds(unit, energy_unit, stated is not None, work, stiffness)
    if odd is not None and stated is None and unit in SELDOM_PRINTED:
        doubt = odd
    elif odd is not None:
        warnings = (f"{odd.message}; {odd.hint}",)
    if doubt is not None and config.forces_unit != "auto":
        warnings, doubt = (f"forces unit declared as {unit}, but {doubt.message}",), None
    said = "" if stated is None else f"forces in {unit}: {'the file' if config.forces_unit == 'auto' else 'declared'}"
    if said and stiffness is not None and looks_like_bonds(stiffness.value):
        said += f", bond stiffness is {stiffness.value:.2f} × Badger's rule in {unit}"
    return Settled(unit, said, warnings, sign if doubt is None else (doubt,))


def bonds_say_too_little(unit: str, stated: str | None, work: Measured | None) -> tuple[UnitProblem, ...]:
    """A problem where nothing but bonds says Hartree/Å: energies in Rydberg with forces in Rydberg/Bohr look the same.

    work : `work_over_energy` in the units of the file, which is 1 for the one and 0.53 for the other
    """
    if stated is not None or unit != "Hartree/Å":
        return ()
    work = _trusted(work, 1.0)
    if work is not None and work.correlation > VERY_CLOSE and 1.0 / DOUBTFUL < work.value < DOUBTFUL:
        return ()
    return (UnitProblem("energy_unit", "cannot tell energies in Hartree with forces in Hartree/Å from energies in Rydberg with "
                        f"forces in Rydberg/Bohr: the stiffness of bonds differs by {100.0 * (1.0 - RYDBERG_BOHR):.0f} % only",
                        "declare data.energy_unit and data.forces_unit, e.g. data.energy_unit: Rydberg with "
                        "data.forces_unit: Rydberg/Bohr"),)


def _trusted(measured: Measured | None, factor: float) -> Measured | None:
    """A measurement in other units, None when it is no better than chance."""
    if measured is None or abs(measured.correlation) <= TRUSTED_CORRELATION:
        return None
    return replace(measured, value=measured.value * factor)


def _wrong_sign(work: Measured | None, stiffness: Measured | None) -> tuple[UnitProblem, ...]:
    reasons = []
    if work is not None and work.correlation < 0.0:
        reasons.append(f"−F·dr between {work.samples} pairs of close frames is {work.value:.2f} × their energy "
                       "difference")
    if stiffness is not None and stiffness.correlation < 0.0:
        reasons.append(f"forces push {stiffness.samples} stretched bonds further apart")
    if not reasons:
        return ()
    return (UnitProblem("force_sign", f"forces have the wrong sign: {' and '.join(reasons)}, expected forces = −dE/dr",
                        "flip the sign of the forces (the file may hold gradients)"),)


def _other_unit(mixtures: list[_Mixture], unit: str, work: Measured | None, stiffness: Measured | None) -> UnitProblem | None:
    """Forces that are not the slope of the energies: −F·dr alone far from it, or a little and bonds odd as well."""
    if work is None:
        return None
    odd = stiffness is not None and not looks_like_bonds(stiffness.value) and (stiffness.value < 1.0) == (work.value < 1.0)
    tolerance = DOUBTFUL if odd else NARROW if work.correlation > VERY_CLOSE else WIDE
    if 1.0 / tolerance < work.value < tolerance:
        return None
    if stiffness is not None:
        in_eV_per_A = stiffness.value / FORCE_UNITS_EV_PER_A[unit]
        mixtures = [mixture for mixture in mixtures
                    if looks_like_bonds(in_eV_per_A * FORCE_UNITS_EV_PER_A[mixture.forces_unit])]
    within = 0.25 if work.correlation > VERY_CLOSE else 0.45
    likely = min((mixture for mixture in mixtures if abs(math.log(work.value / mixture.factor)) < within),
                 key=lambda mixture: abs(math.log(work.value / mixture.factor)), default=None)
    message = (f"forces and energies are not in the same unit: −F·dr between {work.samples} pairs of close frames "
               f"is {work.value:.3g} × their energy difference, expected 1"
               + (f", and bond stiffness is {stiffness.value:.2f} × Badger's rule, expected 0.8 … 1.6" if odd else "")
               + (f"; it looks like {likely.name}" if likely else ""))
    return UnitProblem("force_scale", message,
                       likely.remedy if likely else "declare data.forces_unit, or convert one of them before reading")


def _mixtures(energy_unit: str, length_unit: str, num_atoms: int) -> list[_Mixture]:
    """What may have been mixed up where −F·dr / ΔE is not 1."""
    mixtures = [_Mixture(f"forces in {of_forces}/Å with energies in {of_energies}",
                         ENERGY_UNITS_EV[of_energies] / ENERGY_UNITS_EV[of_forces], of_energies, f"{of_forces}/Å")
                for of_forces, of_energies in permutations(COMMON_UNITS, 2)]
    other = {"Å": "Bohr", "Bohr": "Å"}.get(length_unit)
    if other is not None:  # the energy may be undecided: bonds choose between its units
        mixtures += [_Mixture(f"forces per {other} with positions in {length_unit}",
                              LENGTH_UNITS_A[other] / LENGTH_UNITS_A[length_unit], energy, f"{energy}/{other}")
                     for energy in (energy_unit, *COMMON_UNITS, "Rydberg")]
    return [*mixtures,
            _Mixture("forces in Hartree/Bohr with energies in eV", BOHR_A / HARTREE_EV, "eV", "Hartree/Bohr"),
            _Mixture(PER_ATOM, float(num_atoms), energy_unit, f"{energy_unit}/{length_unit}")]


def _odd_bonds(unit: str, energy_unit: str, stated: bool, work: Measured | None,
               stiffness: Measured | None) -> UnitProblem | None:
    """Bonds alone speak against the unit, and no other unit of energy would explain them either."""
    if stiffness is None or looks_like_bonds(stiffness.value):
        return None
    if work is not None and work.correlation > VERY_CLOSE and 1.0 / DOUBTFUL < work.value < DOUBTFUL:
        return None  # unusual bonds
    in_eV_per_A = stiffness.value / FORCE_UNITS_EV_PER_A[unit]
    length = unit.rpartition("/")[2]
    likely = next((other for other in (f"{energy_unit}/Bohr", f"{energy_unit}/Å", *FORCE_UNITS_EV_PER_A)
                   if looks_like_bonds(in_eV_per_A * FORCE_UNITS_EV_PER_A[other])), None)
    seldom = unit in SELDOM_PRINTED and likely == f"{energy_unit}/Bohr"
    others = any(looks_like_bonds(in_eV_per_A * FORCE_UNITS_EV_PER_A[f"{energy}/{length}"]) for energy in ENERGY_UNITS_EV)
    if others and not stated and not seldom:
        return None  # said of the energy unit
    message = f"bond stiffness is {stiffness.value:.2f} × Badger's rule in {unit}, expected 0.8 … 1.6"
    if likely is None:
        return UnitProblem("force_scale", message, "look whether data.forces_unit is what the file holds")
    message += f"; in {likely} it would be {in_eV_per_A * FORCE_UNITS_EV_PER_A[likely]:.2f}"
    declare = f"declare data.energy_unit: {energy_unit} with data.forces_unit: {likely}"
    return UnitProblem("force_scale", message, declare + ("" if stated else f", or with {unit} if the forces are in that"))
