"""How sure a fraction is that was counted."""

from __future__ import annotations

from scipy.stats import binomtest

CONFIDENCE = 0.95


def wilson_interval(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Where the probability of success lies, from `successes` of independent `trials`.

    Wilson, J. Am. Stat. Assoc. 22, 209 (1927): sensible also when all or none succeeded.
    """
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
