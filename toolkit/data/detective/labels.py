"""What was read, what is missing, and numbers that are none."""

from __future__ import annotations

import numpy as np

from toolkit.data.detective.data_file import DataFile, label
from toolkit.data.detective.findings import Finding, count, some


def what_was_read(file: DataFile) -> list[Finding]:
    """Format, frames, the key of each label, and the units with the reasons for them."""
    report = file.frame_set.report
    keys = {"energy": report.energy_key, "forces": report.forces_key, "stress": report.stress_key}
    read = ", ".join(f"{what} from {key!r}" for what, key in keys.items() if key is not None) or "no labels"
    units = f"{report.energy_unit} and {report.length_unit}" + (f", forces in {report.forces_unit}" if report.forces_unit else "")
    found = [Finding("read", "info", f"{count(report.num_frames, 'frame')} read: {read}", f"format: {report.format}",
                     {"n_frames": report.num_frames}),
             Finding("units", "info", f"Units in the file: {units}",
                     report.evidence, advice="Frames are converted to eV and Å. Declare energy_unit, length_unit and "
                                             "forces_unit where this is wrong.")]
    found += [Finding("reading", "warning", warning) for warning in report.warnings]
    return found


def not_finite(file: DataFile) -> list[Finding]:
    """Labels or positions that are NaN or infinite."""
    return [Finding("nan", "error", f"{count(len(frames), 'frame')} with NaN or infinite {what}",
                    f"{some(frames)}; expected finite numbers", {"n_frames_not_finite": len(frames)}, tuple(frames),
                    "Remove these frames or compute them again: most are calculations that did not converge.")
            for what, frames in file.not_finite.items()]


def missing_labels(file: DataFile) -> list[Finding]:
    """Frames without energy, forces or (periodic) stress, and energies that are exactly zero among others."""
    found = []
    values = {"energy": file.raw.energies, "forces": file.raw.forces, "stress": file.raw.stresses}
    for what, series in values.items():
        relevant = [t for t, atoms in enumerate(file.frames) if what != "stress" or atoms.pbc.all()]
        absent = file.places([t for t in relevant if series[t] is None])
        if not absent or (what == "stress" and len(absent) == len(relevant)):
            continue
        found.append(Finding(
            f"missing_{what}", "warning", f"{len(absent)} of {count(len(relevant), 'frame')} without {what}",
            "" if len(absent) == len(relevant) else some(absent), {f"n_missing_{what}": len(absent)}, absent,
            f"Training uses the other labels of these frames. Where it is there under another name, set {what}_key."))
    energies = np.array([np.nan if energy is None else energy for energy in file.raw.energies])
    zero = file.places(np.flatnonzero(energies == 0.0))
    if 0 < len(zero) < np.count_nonzero(np.isfinite(energies)) / 2:
        found.append(Finding("missing_energy", "warning", f"{count(len(zero), 'frame')} with an energy of exactly zero",
                             f"{some(zero)}; the median is {np.nanmedian(energies):.4g} in the file's unit",
                             {"n_zero_energy": len(zero)}, zero, "A zero often stands for a missing value: remove it."))
    return found


def constant_energies(file: DataFile) -> list[Finding]:
    """One and the same energy for different frames of one composition whose forces say otherwise."""
    groups: dict[str, list[int]] = {}
    for t, atoms in enumerate(file.frames):
        if label(atoms, "energy") is not None and np.any(label(atoms, "forces")):
            groups.setdefault(atoms.get_chemical_formula(), []).append(t)
    constant = [t for group in groups.values() if len(group) > 2
                and np.ptp([label(file.frames[t], "energy") for t in group]) < 1e-9 for t in group]
    if not constant:
        return []
    value = label(file.frames[constant[0]], "energy")
    return [Finding("constant_energy", "error", f"{len(constant)} frames share one energy although their forces differ",
                    f"{value:.6g} eV, for instance in {some(file.places(constant))}", {"energy_eV": float(value)},
                    file.places(constant), "Read the energies again from the calculations, or train on forces alone.")]
