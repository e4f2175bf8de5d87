"""A first look at a data set: what is in it, what is missing, what repeats, what looks wrong. All JSON-able."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from scipy.spatial.distance import cdist

from toolkit.data.formats import FrameSet
from toolkit.data.neighbors import neighbor_list
from toolkit.data.similarity import comparable_groups, frame_features, unwrapped_positions
from toolkit.data.statistics import energies_above, fit_energy_shifts, force_rms

MAX_LISTED = 50
MAX_FEATURE_ATOMS = 150
NEAR_DUPLICATE_A = 0.02
"""Frames whose interatomic distances differ by less than this (RMS, Å) count as the same conformation."""

CORRELATED = 0.3
SHORT_BOND = 0.6
"""Fraction of the sum of covalent radii below which two atoms are suspiciously close."""

LARGE_FORCE = 10.0
ENERGY_OUTLIER = 8.0
NET_FORCE_EV_PER_A = 0.5


def inspect_frames(frame_set: FrameSet) -> dict[str, Any]:
    """What `data inspect` and the Dataset page show about a data set."""
    frames, report = frame_set.frames, frame_set.report
    return {
        "source": report.path, "format": report.format, "n_frames": len(frames),
        **composition(frames),
        "keys": {"energy": report.energy_key, "forces": report.forces_key, "stress": report.stress_key},
        "units": {"energy": report.energy_unit, "length": report.length_unit, "evidence": report.evidence},
        "missing": dict(report.missing),
        "isolated_atom_energies_eV": dict(report.isolated_atom_energies),
        "energy": energy_summary(frames),
        "forces": force_summary(frames),
        "duplicates": duplicates(frames),
        "correlation": time_correlation(frames),
        "suspicious": suspicious_frames(frames),
        "warnings": list(report.warnings),
    }


def composition(frames: list[Atoms]) -> dict[str, Any]:
    """Atoms per frame, elements, formulas (the most frequent 50) and periodicity."""
    sizes = [len(atoms) for atoms in frames]
    formulas = Counter(atoms.get_chemical_formula() for atoms in frames)
    elements: Counter[str] = Counter()
    for atoms in frames:
        elements.update(atoms.get_chemical_symbols())
    return {
        "n_atoms": {"min": min(sizes), "max": max(sizes), "mean": float(np.mean(sizes))},
        "species": dict(sorted(elements.items())),
        "n_compositions": len(formulas),
        "compositions": dict(formulas.most_common(MAX_LISTED)),
        "n_periodic": sum(bool(atoms.pbc.any()) for atoms in frames),
    }


def energy_summary(frames: list[Atoms]) -> dict[str, float] | None:
    """Mean and spread of the energy per atom once the best energies per element are taken off, eV/atom."""
    values = _energy_above_fit(frames)
    if len(values) == 0:
        return None
    per_atom = np.array([atoms.calc.results["energy"] / len(atoms) for atoms in frames if _has(atoms, "energy")])
    spread = np.array(list(values.values()))
    return {"mean_eV_per_atom": float(per_atom.mean()), "min_eV_per_atom": float(per_atom.min()),
            "max_eV_per_atom": float(per_atom.max()), "spread_meV_per_atom": float(1e3 * spread.std())}


def force_summary(frames: list[Atoms]) -> dict[str, float] | None:
    """RMS of force components, the largest force and the largest net force, eV/Å."""
    forces = [atoms.calc.results["forces"] for atoms in frames if _has(atoms, "forces")]
    if not forces:
        return None
    return {"rms_eV_per_A": force_rms(frames),
            "max_eV_per_A": float(max(np.linalg.norm(f, axis=1).max() for f in forces)),
            "max_net_eV_per_A": float(max(np.linalg.norm(f.sum(axis=0)) for f in forces))}


def duplicates(frames: list[Atoms]) -> dict[str, Any]:
    """Frames with the same atoms, positions (to 1e-5 Å) and cell; `conflicting` counts groups whose energies differ."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for t, atoms in enumerate(frames):
        groups[_fingerprint(atoms)].append(t)
    repeated = [group for group in groups.values() if len(group) > 1]
    conflicting = 0
    for group in repeated:
        energies = [frames[t].calc.results["energy"] for t in group if _has(frames[t], "energy")]
        conflicting += bool(energies and np.ptp(energies) > 1e-4)
    return {"n_repeated": sum(len(group) - 1 for group in repeated), "n_conflicting": conflicting,
            "groups": repeated[:MAX_LISTED]}


def time_correlation(frames: list[Atoms]) -> dict[str, Any]:
    """Whether neighbouring frames resemble each other: energy autocorrelation at a distance of one frame."""
    values = np.array(list(_energy_above_fit(frames).values()))
    if len(values) < 20 or values.std() == 0.0:
        return {"energy_autocorrelation": None, "advice": ""}
    fluctuation = values - values.mean()
    correlation = float(np.mean(fluctuation[1:] * fluctuation[:-1]) / values.var())
    advice = "neighbouring frames are correlated: split by blocks, with a gap" if correlation > CORRELATED else ""
    return {"energy_autocorrelation": correlation, "advice": advice}


def suspicious_frames(frames: list[Atoms]) -> list[dict[str, Any]]:
    """Frames that deserve a look, each with its index and a reason: forces, energies, distances out of the ordinary."""
    found: list[dict[str, Any]] = []
    rms = force_rms(frames)
    for t, atoms in enumerate(frames):
        found.extend({"frame": t, "reason": reason} for reason in _oddities(atoms, rms))
    energies = _energy_above_fit(frames)
    values = np.array(list(energies.values()))
    width = 1.4826 * np.median(np.abs(values - np.median(values))) if len(values) > 10 else 0.0
    for t, value in energies.items():
        if width > 0 and abs(value - np.median(values)) > ENERGY_OUTLIER * width:
            deviation = (value - np.median(values)) / width
            found.append({"frame": t, "reason": f"energy {deviation:+.0f} standard deviations from the median"})
    return sorted(found, key=lambda entry: entry["frame"])[:MAX_LISTED]


def leakage(train: list[Atoms], test: list[Atoms]) -> dict[str, Any]:
    """Test frames that the training set knows already: exact copies, and conformations within 0.02 Å (RMS) of one.

    Near copies are sought among frames with the same atoms in the same order (and cell).
    """
    known = {_fingerprint(atoms) for atoms in train}
    copies = [t for t, atoms in enumerate(test) if _fingerprint(atoms) in known]
    near = sorted(set(_near_copies(train, test)) - set(copies))
    return {"n_test": len(test), "n_copies": len(copies), "n_near_copies": len(near),
            "copies": copies[:MAX_LISTED], "near_copies": near[:MAX_LISTED]}


def _has(atoms: Atoms, label: str) -> bool:
    return atoms.calc is not None and label in atoms.calc.results


def _fingerprint(atoms: Atoms) -> bytes:
    digest = hashlib.sha256(atoms.numbers.tobytes())
    digest.update(np.rint(atoms.positions * 1e5).astype(np.int64).tobytes())
    if atoms.pbc.any():
        digest.update(np.rint(atoms.cell.array * 1e5).astype(np.int64).tobytes())
    return digest.digest()


def _energy_above_fit(frames: list[Atoms]) -> dict[int, float]:
    """Frame -> energy per atom above the best sum of element energies, eV/atom."""
    return energies_above(frames, fit_energy_shifts(frames)[0])


def _oddities(atoms: Atoms, rms: float) -> list[str]:
    reasons = []
    if _has(atoms, "forces"):
        forces = atoms.calc.results["forces"]
        largest, net = np.linalg.norm(forces, axis=1).max(), np.linalg.norm(forces.sum(axis=0))
        if largest > LARGE_FORCE * rms:
            reasons.append(f"force of {largest:.1f} eV/Å, {largest / rms:.0f} times the RMS")
        if not forces.any() and len(atoms) > 1 and rms > 0:
            reasons.append("all forces are exactly zero")
        if net > NET_FORCE_EV_PER_A:
            reasons.append(f"net force of {net:.2f} eV/Å, expected zero")
    (i, j), shifts = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 2.0)
    if len(i):
        lengths = np.linalg.norm(atoms.positions[j] - atoms.positions[i] + shifts @ atoms.cell.array, axis=1)
        ratio = lengths / (covalent_radii[atoms.numbers[i]] + covalent_radii[atoms.numbers[j]])
        e = int(np.argmin(ratio))
        if ratio[e] < SHORT_BOND:
            pair = f"{atoms.symbols[i[e]]}{i[e]} and {atoms.symbols[j[e]]}{j[e]}"
            reasons.append(f"{pair} are {lengths[e]:.2f} Å apart")
    return reasons


def _near_copies(train: list[Atoms], test: list[Atoms]) -> list[int]:
    frames = [*train, *test]
    near: list[int] = []
    for group in comparable_groups(frames, range(len(frames))):
        known, asked = [t for t in group if t < len(train)], [t for t in group if t >= len(train)]
        if not known or not asked or len(frames[group[0]]) < 2:
            continue
        structures = [frames[t] for t in known + asked]
        features = frame_features(structures, unwrapped_positions(structures), MAX_FEATURE_ATOMS)
        tolerance = NEAR_DUPLICATE_A * np.sqrt(features.shape[1])
        near.extend(t - len(train) for t, row in zip(asked, features[len(known):], strict=True)
                    if cdist(row[None], features[:len(known)]).min() < tolerance)
    return near
