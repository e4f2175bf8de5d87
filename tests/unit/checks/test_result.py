"""Verdicts: NaN never passes, a problem never passes, the worst structure counts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from toolkit.checks.battery import MODEL_CHECKS, STRUCTURE_CHECKS
from toolkit.checks.probe import central_difference
from toolkit.checks.result import CRITERIA, combine, judge
from toolkit.models.potential import Potential, build_potential


@pytest.fixture
def potential(small_config) -> Potential:
    return build_potential(small_config, dtype="float64")


def test_the_largest_error_is_judged(potential):
    result = judge(potential, "rotation", {"energies": 1e-12, "forces": np.float64(2e-12)}, details={"note": 5.0})
    assert (result.value, result.worst_case, result.passed) == (2e-12, "forces", True)
    assert (result.threshold, result.unit) == (CRITERIA["rotation"].float64, "relative")
    assert result.key == "rotation.float64.compiled"
    assert json.loads(json.dumps(result.to_dict()))["details"] == {"energies": 1e-12, "forces": 2e-12, "note": 5.0}


@pytest.mark.parametrize("errors", [{}, {"a": 0.0, "b": math.nan}, {"a": math.inf}, {"a": 1e-9}])
def test_what_is_missing_infinite_or_too_large_does_not_pass(potential, errors):
    result = judge(potential, "rotation", errors)
    assert not result.passed
    assert result.to_dict()["value"] in (None, 1e-9)


def test_a_problem_does_not_pass(potential):
    assert not judge(potential, "rotation", {"a": 0.0}, problem="nothing to test").passed


def test_the_worst_structure_counts(potential):
    good, bad = (judge(potential, "forces", {"C0 x": value}) for value in (1e-9, math.nan))
    joined = combine({"molecule": good, "crystal": bad})
    assert not joined.passed
    assert joined.worst_case == "crystal: C0 x"
    assert set(joined.details) == {"molecule: C0 x", "crystal: C0 x"}
    flat = judge(potential, "forces", {"C0 x": 0.0}, problem="nothing to test")
    assert combine({"molecule": good, "crystal": flat}).problem == "crystal: nothing to test"


def test_every_check_has_a_criterion_and_a_sentence():
    assert set(CRITERIA) == {*STRUCTURE_CHECKS, *MODEL_CHECKS, "nve"}
    for criterion in CRITERIA.values():
        assert 0.0 < criterion.float64 <= criterion.float32
        assert criterion.sentence.endswith(".")


def test_the_stencil_is_of_sixth_order():
    errors = [abs(float(central_difference(np.exp, step)) - 1.0) for step in (0.2, 0.1)]
    assert errors[0] / errors[1] == pytest.approx(64.0, rel=0.05)
