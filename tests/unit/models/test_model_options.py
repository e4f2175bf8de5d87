"""Per-pair cutoffs, ZBL, presets and the Hessian, against closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from toolkit.config import ModelConfig, parse_config
from toolkit.config_model import MODEL_PRESETS
from toolkit.errors import ConfigError, DataError
from toolkit.interfaces.relaxation import cartesian_hessian
from toolkit.models.derivatives import hessian
from toolkit.models.potential import build_potential
from toolkit.models.registry import build_model

PAIR = {"species": ("H", "O"), "r_max": 4.0, "num_layers": 2, "l_max": 1, "num_features": 4, "avg_num_neighbors": 2.0}


def _energy(config: ModelConfig, symbols: str, distance: float) -> float:
    return build_potential(config, dtype="float64").predict(Atoms(symbols, [[0, 0, 0], [0, 0, distance]]))["energy"]


def test_a_pair_beyond_its_own_cutoff_does_not_interact():
    config = ModelConfig(**PAIR, per_pair_r_max={"H-H": 2.0})
    assert _energy(config, "HH", 2.01) == 0.0
    assert _energy(config, "HH", 1.9) != 0.0
    assert _energy(config, "OH", 2.01) != 0.0
    assert _energy(config, "HH", 1.999) == pytest.approx(0.0, abs=1e-6)  # and goes to zero smoothly
    one_sided = ModelConfig(**PAIR, per_pair_r_max={"O-H": 2.0, "H-O": 3.0})
    assert _energy(one_sided, "OH", 2.5) != 0.0


@pytest.mark.parametrize("wrong", [{"H-C": 2.0}, {"H": 2.0}, {"H-H": 5.0}, {"H-H": 0.0}])
def test_wrong_pair_cutoffs_are_refused(wrong):
    with pytest.raises(ConfigError, match="per_pair_r_max"):
        parse_config(ModelConfig, {**PAIR, "per_pair_r_max": wrong})


def test_zbl_is_the_published_repulsion():
    def zbl(symbols: str, distance: float) -> float:
        return _energy(ModelConfig(**PAIR, zbl=True), symbols, distance) - _energy(ModelConfig(**PAIR), symbols, distance)

    # O-O at 0.5 Å: 14.3996 · 64/0.5 · φ(0.5 · 2 · 8^0.23/0.4685), envelope at x = 1/8
    x = 0.5 * 2 * 8**0.23 / 0.46850
    phi = 0.02817 * np.exp(-0.20162 * x) + 0.28022 * np.exp(-0.4029 * x) + 0.50986 * np.exp(-0.94229 * x) + 0.18175 * np.exp(-3.1998 * x)
    envelope = 1 - 28 / 8**6 + 48 / 8**7 - 21 / 8**8
    assert zbl("OO", 0.5) == pytest.approx(14.399645 * 64 / 0.5 * phi * envelope, rel=1e-6)
    assert zbl("OH", 0.3) > zbl("HH", 0.3) > zbl("HH", 1.0) > 0.0
    assert zbl("HH", 4.001) == 0.0


@pytest.mark.parametrize("preset", sorted(MODEL_PRESETS))
def test_presets_fill_what_is_not_given(preset):
    config = ModelConfig(preset=preset, species=("H",), r_max=4.5)
    assert config.num_layers == MODEL_PRESETS[preset]["num_layers"]
    assert (config.r_max, config.radial_mlp_width) == (4.5, 128)
    assert ModelConfig(preset=preset, num_layers=1).num_layers == 1
    assert parse_config(ModelConfig, config.model_dump(mode="json")) == config


def test_trainable_bessel_roots_get_gradients():
    trainable = build_model(ModelConfig(**PAIR, bessel_trainable=True), torch.float64)
    fixed = build_model(ModelConfig(**PAIR), torch.float64)
    assert trainable.radial_basis.roots.requires_grad
    assert not fixed.radial_basis.roots.requires_grad


def _hessian_error(potential, atoms: Atoms, step_A: float = 1e-4) -> float:
    """Largest deviation of the analytic Hessian from central differences of forces, eV/Å²."""
    analytic = hessian(potential.model, potential.graph(atoms), chunk_size=7).numpy()
    assert np.abs(analytic).max() > 1e-2
    columns = []
    for k in range(3 * len(atoms)):
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions.flat[k] += sign * step_A
            forces.append(potential.predict(moved)["forces"].ravel())
        columns.append(-(forces[0] - forces[1]) / (2 * step_A))
    return float(np.abs(analytic - np.array(columns)).max())


def test_hessian_is_symmetric_obeys_the_sum_rule_and_the_differences(small_config, ethanol, triclinic):
    config = small_config.model_copy(update={"zbl": True})
    potential = build_potential(config, dtype="float64")
    for atoms in (ethanol, triclinic):
        matrix = hessian(potential.model, potential.graph(atoms)).numpy()
        assert np.abs(matrix - matrix.T).max() < 1e-9
        assert np.abs(matrix.reshape(-1, len(atoms), 3).sum(axis=1)).max() < 1e-9
        assert _hessian_error(potential, atoms) < 1e-5  # the repulsion has large third derivatives


def test_hessian_without_neighbours_is_zero(small_config):
    potential = build_potential(small_config, dtype="float64")
    assert torch.count_nonzero(hessian(potential.model, potential.graph(Atoms("H")))) == 0


def test_gradients_are_there_where_the_caller_wants_none():
    potential, atoms = build_potential(ModelConfig(**PAIR), dtype="float64"), Atoms("OH2", [[0, 0, 0], [0, 0, 1], [0, 1, 0]])
    expected, second = potential.predict(atoms)["forces"], cartesian_hessian(potential, atoms)
    with torch.inference_mode():
        assert np.array_equal(potential.predict(atoms)["forces"], expected) and np.abs(expected).max() > 1e-3
        assert np.array_equal(cartesian_hessian(potential, atoms), second)
        graph = potential.graph(atoms)
        assert np.array_equal(build_potential(ModelConfig(**PAIR), dtype="float64").predict(atoms)["forces"], expected)
    assert np.array_equal(potential.evaluate(graph)["forces"].numpy(), expected)


@pytest.mark.parametrize("changes", [{"zbl_reach": 0.8}, {"long_range": {"charges": False}}])
def test_options_without_an_effect_are_refused(changes):
    with pytest.raises(ConfigError, match="leave it out"):
        parse_config(ModelConfig, {**PAIR, **changes})


def test_a_repulsion_that_is_left_out_needs_no_reach():
    assert parse_config(ModelConfig, {"architecture": "atom_mlp", "species": ["H"], "zbl": False}).zbl_reach is None


def test_what_is_no_structure_is_refused():
    potential = build_potential(ModelConfig(**PAIR))
    for wrong in ("molecule.xyz", ["molecule.xyz"], [Atoms("H"), None]):
        with pytest.raises(DataError, match="expected ase.Atoms"):
            potential.predict(wrong)
    for wrong in (Atoms(), [Atoms("H"), Atoms("H")]):
        with pytest.raises(DataError, match="expected one molecule or crystal"):
            cartesian_hessian(potential, wrong)
