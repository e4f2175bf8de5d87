"""What the detective reports: one finding is one fact about a data set, with its evidence and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""Worst first. An error makes a model trained on the data wrong, a warning deserves a look, info is good to know."""

MAX_LISTED = 50


@dataclass(frozen=True)
class Finding:
    """One fact about a data set.

    kind : name for programs, such as "force_sign";  title : the fact in one line
    evidence : what was measured, what was expected;  numbers : the same for programs, units in the names
    frames : indices in the file, counted from 0;  advice : what to do;  file : which file it is about
    """

    kind: str
    severity: Severity
    title: str
    evidence: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    frames: tuple[int, ...] = ()
    advice: str = ""
    file: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with the first 50 frames and the number of all."""
        return {"kind": self.kind, "severity": self.severity, "file": self.file, "title": self.title,
                "evidence": self.evidence, "numbers": dict(self.numbers), "n_frames": len(self.frames),
                "frames": list(self.frames[:MAX_LISTED]), "advice": self.advice}


def by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """Worst first, otherwise in the order found."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 frame", "1,200 frames", "2 energies"."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def sentence(text: str) -> str:
    """With a capital first letter; formulas such as σ:ε or −F·dr stay as they are."""
    return text[:1].upper() + text[1:] if text[:1].isascii() else text


def some(frames: Sequence[int], limit: int = 6) -> str:
    """A few frame numbers for a sentence."""
    shown = ", ".join(str(t) for t in frames[:limit])
    return f"{'frame' if len(frames) == 1 else 'frames'} {shown}{', …' if len(frames) > limit else ''}"
