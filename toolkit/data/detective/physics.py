"""Labels against physics: units, signs, forces that belong to other positions, stress against strain, drift."""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms

from toolkit.data.detective.data_file import DataFile, label
from toolkit.data.detective.findings import Finding, sentence
from toolkit.data.detective.strain import extra_pressures, stress_work
from toolkit.data.unit_evidence import Measured, close_steps
from toolkit.units import ENERGY_UNITS_EV, EV_PER_A3_GPA

UNRELATED = 0.3
"""Correlation with held-out forces below which they are unrelated: below 0.1 when shuffled, above 0.85 when not."""

RANDOM_TORQUE = 0.2
"""Net torque of a molecule over that of random forces; 1e-4 in a converged calculation."""

METAL_STIFFNESS_EV_PER_A2 = 2.0
MAX_METAL_STIFFNESS_EV_PER_A2 = 20.0
"""Pair stiffness of bonds with a metal atom: 0.4 (NaCl) … 3 (Mo), so that kcal/mol (× 23) is seen in hard metals."""

PULAY_GPA = 0.1
PULAY_EXPLAINED = 2.0
"""Pressure from which on a disagreement is worth a word, when it explains so much of it."""

TITLES = {"length_unit": "The length unit is not what the file says",
          "energy_unit": "The energy unit is not what the file says",
          "force_sign": "Forces have the wrong sign",
          "force_scale": "Forces and energies are in different units"}


def unit_problems(file: DataFile) -> list[Finding]:
    """Units and signs that contradict bond lengths, bond stiffness, total energies or −F·dr, or that nothing tells."""
    found = []
    for problem in file.decision.problems:
        title = TITLES[problem.kind]
        if problem.message.startswith(("cannot tell", "contradictory")):
            title = f"The {problem.kind.replace('_', ' ')} cannot be told"
        evidence = problem.message.partition(": ")[2]
        found.append(Finding(problem.kind, "error", title, evidence, advice=sentence(problem.hint) + "."))
    return found + ([] if found else _metal_stiffness(file))


def _metal_stiffness(file: DataFile) -> list[Finding]:
    """Bonds of metals that are stiffer than any, which is what forces in another unit look like."""
    stiffness = file.witness.metal_stiffness if file.witness is not None else None
    if stiffness is None or stiffness < MAX_METAL_STIFFNESS_EV_PER_A2:
        return []
    likely = min(ENERGY_UNITS_EV, key=lambda unit: abs(math.log(stiffness * ENERGY_UNITS_EV[unit]
                                                                / METAL_STIFFNESS_EV_PER_A2)))
    return [Finding("energy_unit", "error", TITLES["energy_unit"],
                    f"bonds of metal atoms have a stiffness of {stiffness:.0f} eV/Å², expected at most "
                    f"{MAX_METAL_STIFFNESS_EV_PER_A2:.0f}; in {likely} it would be "
                    f"{stiffness * ENERGY_UNITS_EV[likely]:.1f} eV/Å²", {"bond_stiffness_eV_per_A2": stiffness},
                    advice=f"Declare data.energy_unit, probably {likely}.")]


def forces_of_other_frames(file: DataFile) -> list[Finding]:
    """Forces that have nothing to do with the positions they stand beside."""
    torque = _relative_torque(file.frames)
    witness = file.witness
    unrelated = witness is not None and abs(witness.correlation) < UNRELATED
    if not unrelated and (witness is not None or torque is None or torque < RANDOM_TORQUE):
        return []
    evidence, numbers = [], {}
    if witness is not None:
        evidence.append(f"a pair potential fitted to half of the frames correlates by {witness.correlation:.2f} with "
                        f"the forces of {witness.frames} frames it has not seen, expected 0.85 or more")
        numbers["pair_potential_correlation"] = witness.correlation
    if torque is not None:
        evidence.append(f"forces twist the molecules {torque:.2g} times as strongly as random ones would, expected 0")
        numbers["relative_torque"] = torque
    magnitudes = np.concatenate([np.linalg.norm(f, axis=1) for f in map(_forces, file.frames) if f is not None])
    return [Finding("shuffled_forces", "error", "Forces belong to other frames or other atoms",
                    "; ".join(evidence) + f"; their magnitudes (median {np.median(magnitudes):.2f} eV/Å) are ordinary",
                    numbers, advice="Compare the order of frames and atoms in the source of forces and positions; both "
                                    "must also be in one coordinate frame.")]


def stress_sign(file: DataFile) -> list[Finding]:
    """Stress of the wrong sign or unit: from the energy of strained cells, else from the forces of a pair potential."""
    strained = stress_work(file.frames)
    implied = file.witness.stress if file.witness is not None else None
    if strained is not None and abs(strained.correlation) > 0.8:
        told, threshold = strained, 1.5
        evidence = (f"V σ:ε between {strained.samples} pairs of strained cells is {strained.value:.2f} × the energy "
                    f"they gain (correlation {strained.correlation:.2f}), expected 1")
    elif implied is not None and abs(implied.correlation) > 0.6 and abs(file.witness.correlation) > 0.8:
        told, threshold = Measured(math.copysign(implied.value, implied.correlation), implied.correlation,
                                   implied.samples), 3.0
        evidence = (f"the shear stress of {implied.samples} frames is {told.value:.2f} × the one their forces imply "
                    f"(correlation {implied.correlation:.2f}), expected 1")
    else:
        return []
    numbers = {"stress_ratio": told.value, "correlation": told.correlation}
    if told.value < 0.0 and "force_sign" not in [problem.kind for problem in file.decision.problems]:
        return [Finding("stress_sign", "error", "Stress has the wrong sign", evidence, numbers,
                        advice="Multiply it by −1: here stress = +(1/V) dE/dε, positive under tension (VASP and others "
                               "print the pressure, or −V·stress as virial).")]
    if 1.0 / threshold < abs(told.value) < threshold:
        return []
    factors = {"GPa": EV_PER_A3_GPA, "kbar": 10.0 * EV_PER_A3_GPA}
    likely = next((unit for unit, factor in factors.items() if abs(math.log(abs(told.value) / factor)) < 0.7), None)
    return [Finding("stress_scale", "error", "Stress is in another unit than energy and length",
                    evidence + (f"; it looks like {likely}" if likely else ""), numbers,
                    advice="Convert the stress to the file's energy per cubic length before reading.")]


def pulay_stress(file: DataFile) -> list[Finding]:
    """Stress that differs from the slope of the energies by a pressure: a model that learns both learns neither."""
    pressures = [(found, EV_PER_A3_GPA * found.pressure_eV_per_A3) for found in extra_pressures(file.frames)]
    pressures = [(found, pressure) for found, pressure in pressures
                 if found.explained > PULAY_EXPLAINED and abs(pressure) > PULAY_GPA]
    if not pressures:
        return []
    worst, pressure = max(pressures, key=lambda pair: abs(pair[1]))
    each = ", ".join(f"{found.formula} {value:+.2f}" for found, value in pressures[:6])
    return [Finding("pulay_stress", "warning", f"Stress and energies disagree by {abs(pressure):.1f} GPa",
                    f"the energies of {worst.samples} pairs of strained cells of {worst.formula} follow V (σ + p):ε with p = "
                    f"{pressure:+.2f} GPa, and {worst.explained:.0f} times better than with p = 0 (squared deviations); "
                    f"p in GPa: {each}", {"pressure_GPa": pressure},
                    advice="Plane waves up to a fixed energy give such a Pulay stress. Add it (data.stress_offset_GPa: "
                           f"{pressure:.2f}), train on energies and forces alone (loss.stress_weight: 0), or compute again "
                           "with a higher cutoff.")]


def energy_drift(file: DataFile) -> list[Finding]:
    """Energies that wander along the file without forces to account for it: E_b − E_a = α(−F·dr) + β(b − a)."""
    steps = close_steps(file.raw)
    if len(steps) < 20:
        return []
    design = np.array([(step.work, step.later - step.earlier) for step in steps], dtype=float)
    gained = np.array([step.energy for step in steps])
    if np.linalg.matrix_rank(design) < 2:
        return []
    slopes, _, _, _ = np.linalg.lstsq(design, gained, rcond=None)
    noise = float(np.std(gained - design @ slopes))
    error = noise * math.sqrt(np.linalg.inv(design.T @ design)[1, 1])
    unit_eV = ENERGY_UNITS_EV[file.decision.energy_unit]
    total = float(slopes[1]) * len(file.raw) * unit_eV
    if abs(slopes[1]) < 8.0 * error or abs(total) < 3.0 * noise * unit_eV:
        return []
    return [Finding("energy_drift", "warning", f"Energies drift by {total:+.3g} eV along the file",
                    f"energy differences of {len(steps)} pairs of close frames, less −F·dr, grow by "
                    f"{1e3 * total / len(file.raw):.3g} meV per frame, {abs(slopes[1]) / max(error, 1e-300):.0f} times "
                    "the standard error, expected 0", {"drift_eV": total},
                    advice="Look for energies of another run, a changing setting, or an energy other than the "
                           "potential one.")]


def _relative_torque(frames: list[Atoms]) -> float | None:
    """Median over molecules of |Σ r×F| over what forces in random directions give, √(⅔ Σ r²F²); None without any."""
    ratios = []
    for atoms in frames[:: max(1, len(frames) // 200)]:
        forces = _forces(atoms)
        if atoms.pbc.any() or forces is None or len(atoms) < 3 or not forces.any():
            continue
        arms = atoms.positions - atoms.positions.mean(axis=0)
        random = math.sqrt(2.0 / 3.0 * float(np.sum((arms**2).sum(axis=1) * (forces**2).sum(axis=1))))
        ratios.append(float(np.linalg.norm(np.cross(arms, forces).sum(axis=0))) / random)
    return float(np.median(ratios)) if ratios else None


def _forces(atoms: Atoms) -> np.ndarray | None:
    return label(atoms, "forces")
