"""What is decided about the units of a file, and what speaks against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TRUSTED_CORRELATION = 0.6
"""Correlation from which on a measurement counts; by chance 50 pairs stay below 0.45."""


@dataclass(frozen=True)
class UnitProblem:
    """A contradiction, or nothing to decide by: what was found, what was expected, and what to do."""

    kind: Literal["length_unit", "energy_unit", "force_sign", "force_scale"]
    message: str
    hint: str


@dataclass(frozen=True)
class Settled:
    """One unit, why it was chosen, what deserves a look, and what forbids to use it."""

    unit: str
    evidence: str
    warnings: tuple[str, ...] = ()
    problems: tuple[UnitProblem, ...] = ()


@dataclass(frozen=True)
class UnitDecision:
    """The units of a file, why they were chosen, what deserves a look, and what forbids to train on it."""

    energy_unit: str
    length_unit: str
    forces_unit: str
    evidence: str
    warnings: tuple[str, ...] = ()
    problems: tuple[UnitProblem, ...] = ()
