"""A first look at data files: what is in them, what is missing, what repeats, what looks wrong. All JSON-able."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from toolkit.config import DataConfig
from toolkit.data.detective.copies import duplicates, leakage
from toolkit.data.detective.data_file import DataFile, label, open_data
from toolkit.data.detective.detective import investigate
from toolkit.data.detective.findings import MAX_LISTED, Finding
from toolkit.data.detective.references import reference_energies
from toolkit.data.statistics import energies_above, fit_energy_shifts, force_rms

SUSPICIOUS = {"energy_outlier": "energy far from the others", "force_outlier": "extreme force",
              "zero_forces": "all forces are exactly zero", "net_force": "forces do not add up to zero",
              "short_distance": "atoms nearly on top of each other", "fragments": "flown apart"}
"""Kind of finding -> why a single frame deserves a look."""


@dataclass(frozen=True)
class Inspection:
    """Files and everything the detective found, worst first. The first file is the training set of the others."""

    files: tuple[DataFile, ...]
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        """Whether anything was found that forbids to train on the data."""
        return any(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: summary and findings of one file; of several, name -> the same, then leakage and all findings."""
        files = {file.name: {**summarize(file), **self._found_in(file.name)} for file in self.files}
        if len(self.files) == 1:
            return files[self.files[0].name]
        first, others = self.files[0], self.files[1:]
        return {**files, "leakage": {file.name: leakage(first.frames, file.frames) for file in others},
                "findings": [finding.to_dict() for finding in self.findings]}

    def _found_in(self, name: str) -> dict[str, Any]:
        found = [finding for finding in self.findings if finding.file == name]
        odd = sorted((t, SUSPICIOUS[f.kind]) for f in found if f.kind in SUSPICIOUS for t in f.frames)
        return {"suspicious": [{"frame": t, "reason": reason} for t, reason in odd[:MAX_LISTED]],
                "findings": [finding.to_dict() for finding in found]}


def inspect_sources(sources: Sequence[str], config: DataConfig | None = None) -> Inspection:
    """Open files (paths, `embedded:NAME`, `catalog:NAME`) with the keys and units of a DataConfig and investigate them.

    Raises DataError when a file cannot be read at all; contradictions within one are findings.
    """
    files = tuple(open_data(source, config) for source in sources)
    return Inspection(files, tuple(investigate(files)))


def summarize(file: DataFile) -> dict[str, Any]:
    """What is in a file: frames, atoms, elements, keys, units and why, missing labels, energies, forces, copies."""
    frames, report = file.frames, file.frame_set.report
    references = reference_energies(frames, report.isolated_atom_energies)
    return {
        "source": report.path, "format": report.format,
        "n_frames": len(frames) + len({t for broken in file.not_finite.values() for t in broken}),
        "n_usable_frames": len(frames),
        **composition(frames),
        "keys": {"energy": report.energy_key, "forces": report.forces_key, "stress": report.stress_key},
        "units": {"energy": report.energy_unit, "length": report.length_unit,
                  "forces": report.forces_unit or f"{report.energy_unit}/{report.length_unit}", "evidence": report.evidence},
        "missing": dict(report.missing),
        "isolated_atom_energies_eV": dict(report.isolated_atom_energies),
        "energy": energy_summary(frames),
        "forces": force_summary(frames),
        "reference_energies": None if references is None else references.to_dict(),
        "duplicates": duplicates(frames),
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
    above = np.array(list(energies_above(frames, fit_energy_shifts(frames)[0]).values()))
    if len(above) == 0:
        return None
    energies = [(label(atoms, "energy"), len(atoms)) for atoms in frames]
    per_atom = np.array([energy / number for energy, number in energies if energy is not None])
    return {"mean_eV_per_atom": float(per_atom.mean()), "min_eV_per_atom": float(per_atom.min()),
            "max_eV_per_atom": float(per_atom.max()), "spread_meV_per_atom": float(1e3 * above.std())}


def force_summary(frames: list[Atoms]) -> dict[str, float] | None:
    """RMS of force components, the largest force and the largest net force, eV/Å."""
    forces = [f for f in (label(atoms, "forces") for atoms in frames) if f is not None]
    if not forces:
        return None
    return {"rms_eV_per_A": force_rms(frames),
            "max_eV_per_A": float(max(np.linalg.norm(f, axis=1).max() for f in forces)),
            "max_net_eV_per_A": float(max(np.linalg.norm(f.sum(axis=0)) for f in forces))}


def frame_table(file: DataFile, train: DataFile) -> dict[str, np.ndarray]:
    """One value a frame in columns (T,) named with their units; NaN where a label is missing.

    train : the file whose best element energies are taken off, so that two files can be compared
    """
    frames = file.frames
    shifts = {**fit_energy_shifts(frames)[0], **fit_energy_shifts(train.frames)[0]}
    above = energies_above(frames, shifts)
    forces = [label(atoms, "forces") for atoms in frames]
    energies = [label(atoms, "energy") for atoms in frames]
    nan = float("nan")
    return {
        "frame": file.indices,
        "formula": np.array([atoms.get_chemical_formula() for atoms in frames]),
        "n_atoms": np.array([len(atoms) for atoms in frames]),
        "energy_eV": np.array([nan if energy is None else energy for energy in energies]),
        "energy_above_fit_meV_per_atom": np.array([1e3 * above.get(t, nan) for t in range(len(frames))]),
        "force_rms_eV_per_A": np.array([nan if f is None else float(np.sqrt(np.mean(f**2))) for f in forces]),
        "force_max_eV_per_A": np.array([nan if f is None else float(np.linalg.norm(f, axis=1).max()) for f in forces]),
    }
