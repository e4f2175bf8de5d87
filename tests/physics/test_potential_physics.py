"""The battery of `toolkit.checks` on small instances of every registered model: the code behind the `passport` command.

That each check can fail is shown in test_passport_bugs.py.
"""

from __future__ import annotations

import pytest
from ase import Atoms

from toolkit.checks import gradients, symmetry
from toolkit.checks.battery import MODEL_CHECKS, STRUCTURE_CHECKS, applies
from toolkit.checks.result import CheckResult
from toolkit.config import ModelConfig
from toolkit.models.potential import build_potential
from toolkit.models.registry import ARCHITECTURES

CONFIGS = {
    "l0": {"l_max": 0, "num_features": 8}, "l1": {"l_max": 1, "num_features": (6, 5)},
    "l2_parity": {"l_max": 2, "parity": True, "num_features": (6, 4, 3)},
    "l3": {"l_max": 3, "num_features": 4, "num_layers": 2},
}
MODELS = [(name, zbl) for name in sorted(ARCHITECTURES) for zbl in (False, True)]


@pytest.fixture(params=MODELS, ids=lambda model: f"{model[0]}{'+zbl' if model[1] else ''}")
def config(request: pytest.FixtureRequest, small_config: ModelConfig) -> ModelConfig:
    """A small instance of every registered architecture, also with core repulsion."""
    architecture, zbl = request.param
    return small_config.model_copy(update={"architecture": architecture, "zbl": zbl})


def _assert_passed(result: CheckResult) -> None:
    assert result.passed, f"{result.key}: {result.problem or result.worst_case}: {result.value} > {result.threshold}"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("check", sorted(STRUCTURE_CHECKS.keys() - {"charge"}))
def test_structure_checks(config, structure, check, dtype):
    if applies(check, structure):
        _assert_passed(STRUCTURE_CHECKS[check](build_potential(config, dtype=dtype), structure))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("check", sorted(MODEL_CHECKS))
def test_model_checks(config, check, dtype):
    _assert_passed(MODEL_CHECKS[check](build_potential(config, dtype=dtype)))


@pytest.mark.parametrize("check", [symmetry.rotation, symmetry.inversion], ids=["rotation", "inversion"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_degree_and_parity_is_equivariant(small_config, structure, name, dtype, check):
    config = ModelConfig(**{**small_config.model_dump(), **CONFIGS[name]})
    _assert_passed(check(build_potential(config, dtype=dtype), structure))


def test_stress_of_a_left_handed_cell(small_config, triclinic):
    triclinic.set_cell(triclinic.cell.array[[1, 0, 2]])
    assert triclinic.cell.handedness == -1
    _assert_passed(gradients.stress(build_potential(small_config, dtype="float64"), triclinic))


def test_smooth_at_the_cutoff_of_each_pair(small_config):
    config = ModelConfig(**{**small_config.model_dump(), "per_pair_r_max": {"H-H": 2.0, "O-H": 3.0, "H-O": 2.5}})
    _assert_passed(MODEL_CHECKS["cutoff"](build_potential(config, dtype="float64")))


def test_an_isolated_atom_is_its_shift_to_the_last_digit(config):
    potential = build_potential(config, dtype="float64")
    assert potential.predict(Atoms("O"))["energy"] == config.per_species_energy_shifts["O"]
