"""The dataset detective: every detector on one file or several, and what one finding explains away in another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from toolkit.data.detective.copies import correlated_frames, leaked_frames, repeated_frames
from toolkit.data.detective.data_file import DataFile
from toolkit.data.detective.findings import Finding, by_severity, sentence
from toolkit.data.detective.labels import constant_energies, missing_labels, not_finite, what_was_read
from toolkit.data.detective.outliers import (
    energy_offset,
    energy_outliers,
    force_outliers,
    fragments,
    short_distances,
)
from toolkit.data.detective.physics import energy_drift, forces_of_other_frames, pulay_stress, stress_sign, unit_problems
from toolkit.data.detective.references import undetermined_references
from toolkit.data.detective.species import permuted_species

DETECTORS: tuple[Callable[[DataFile], list[Finding]], ...] = (
    what_was_read, not_finite, missing_labels, permuted_species, unit_problems, forces_of_other_frames, stress_sign,
    pulay_stress, constant_energies, energy_drift, repeated_frames, correlated_frames, energy_outliers, force_outliers,
    short_distances, fragments, undetermined_references)

COMPARISONS: tuple[Callable[[DataFile, DataFile], list[Finding]], ...] = (leaked_frames, energy_offset)

EXPLAINS = {
    "permuted_species": {"length_unit", "energy_unit", "shuffled_forces"},
    "shuffled_forces": {"energy_unit", "force_sign", "force_scale", "stress_sign", "stress_scale", "pulay_stress",
                        "energy_drift"},
    "stress_sign": {"pulay_stress"},
    "stress_scale": {"pulay_stress"},
    "constant_energy": {"energy_drift", "force_scale", "pulay_stress"},
    "conflicting_labels": {"energy_drift"},
}
"""Cause -> what follows from it: wrong elements have wrong bonds, forces of other frames fit nothing."""


def investigate(files: Sequence[DataFile]) -> list[Finding]:
    """All findings, worst first. Of several files the first is the training set, the others are compared with it.

    Consequences of another finding about the same file are left out.
    """
    findings: list[Finding] = []
    for file in files:
        found = [_about(file, finding) for detector in DETECTORS for finding in detector(file)]
        explained = {kind for finding in found for kind in EXPLAINS.get(finding.kind, ())}
        findings += [finding for finding in found if finding.kind not in explained]
    for test in files[1:]:
        findings += [_about(test, finding) for compare in COMPARISONS for finding in compare(files[0], test)]
    return by_severity(findings)


def _about(file: DataFile, finding: Finding) -> Finding:
    return replace(finding, file=file.name, evidence=sentence(finding.evidence))
