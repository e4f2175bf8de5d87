"""What Allegro promises beyond the battery of all potentials: pair energies, strict locality, all degrees and parities."""

from __future__ import annotations

import broken_potentials as broken
import numpy as np
import pytest
import torch
from ase import Atoms
from e3nn import o3

from toolkit.checks import locality, symmetry
from toolkit.checks.battery import run_battery
from toolkit.checks.features import hidden_features
from toolkit.checks.result import CheckResult
from toolkit.checks.structures import random_crystal, random_molecule
from toolkit.config import ModelConfig, parse_config
from toolkit.data.graph import edge_vectors
from toolkit.errors import ConfigError, ModelError
from toolkit.models.checkpoint import save_model
from toolkit.models.potential import Potential, build_potential, load_potential
from toolkit.nn.allegro import AllegroLayer, tensor_irreps

SMALL = {"architecture": "allegro", "species": ("H", "C", "O"), "r_max": 4.0, "num_layers": 3, "l_max": 2,
         "num_features": 3, "num_scalar_features": 7, "num_bessels": 5, "radial_mlp_width": 6, "latent_mlp_width": 9,
         "readout_mlp_width": 4, "avg_num_neighbors": 9.0, "per_species_energy_shifts": {"H": -13.0, "C": -1029.0, "O": -2043.0},
         "per_species_energy_scales": {"H": 1.5, "C": 2.0, "O": 0.7}, "seed": 5}


def _allegro(dtype: str = "float64", **changes) -> Potential:
    return build_potential(ModelConfig(**{**SMALL, **changes}), dtype=dtype)


def _assert_passed(result: CheckResult) -> None:
    assert result.passed, f"{result.key}: {result.problem or result.worst_case}: {result.value} > {result.threshold}"


@pytest.mark.parametrize("backend", ["reference", "compiled"])
def test_pair_energies_of_a_centre_are_its_energy(ethanol, backend):
    potential = build_potential(ModelConfig(**SMALL), dtype="float64", backend=backend)
    graph = potential.graph(ethanol)
    pairs = potential.model.edge_energies(graph, edge_vectors(graph, graph.positions, graph.cell))
    assert pairs.abs().min() > 0.0
    shifts = np.array([SMALL["per_species_energy_shifts"][symbol] for symbol in ethanol.symbols])
    sums = np.bincount(graph.edges.center.numpy(), pairs.numpy(), minlength=len(ethanol))
    answer = potential.predict(ethanol)
    np.testing.assert_allclose(answer["energies"] - shifts, sums, rtol=0, atol=1e-12)
    assert answer["energy"] == pytest.approx(shifts.sum() + sums.sum(), abs=1e-9)


def _first_energy(potential: Potential, distances_A: list[float]) -> float:
    """Energy of an oxygen with carbons at these distances, each 1.2 Å above the last, so that they see one another."""
    positions = [[0.0, 0.0, 0.0]]
    for k, distance in enumerate(distances_A):
        height = 1.2 * k
        positions.append([np.sqrt(distance**2 - height**2), 0.0, height])
    return potential.predict(Atoms(f"OC{len(distances_A)}", positions))["energies"][0]


def test_an_atom_beyond_the_cutoff_changes_nothing_though_a_neighbour_sees_it():
    potential = _allegro()
    assert potential.model.receptive_field == 4.0
    assert _first_energy(potential, [3.0, 4.001]) == _first_energy(potential, [3.0])
    assert _first_energy(potential, [3.0, 3.9]) != _first_energy(potential, [3.0])


def test_an_environment_that_hears_of_its_neighbours_is_found(monkeypatch):
    """Sums over neighbours of neighbours: two layers of these, and Allegro is a message-passing network."""
    healthy = AllegroLayer.environment

    def leaky(layer: AllegroLayer, latent: torch.Tensor, pairs) -> list[torch.Tensor]:
        center, neighbor = pairs.edges.center, pairs.edges.neighbor
        return [x.index_add(1, center, pairs.envelope * x.index_select(1, neighbor))
                for x in healthy(layer, latent, pairs)]

    potential = _allegro(num_layers=2, l_max=1)
    _assert_passed(locality.locality(potential))
    monkeypatch.setattr(AllegroLayer, "environment", leaky)
    result = locality.locality(potential)
    assert not result.passed
    assert result.value > 1e3 * result.threshold


STRUCTURES = {"molecule": random_molecule("HCO", 5), "crystal": random_crystal("HCO")}


def _linear_envelope(potential: Potential, monkeypatch: pytest.MonkeyPatch) -> Potential:
    """u = 1 − x enters twice, in the basis and beside it, so that only the curvature jumps at the cutoff."""
    for module in ("toolkit.nn.radial", "toolkit.models.allegro"):
        monkeypatch.setattr(f"{module}.polynomial_envelope", lambda x, p: (1.0 - x).clamp(min=0.0))
    return potential


@pytest.mark.parametrize(("bug", "red"), [(broken.flipped_parity_label, {"inversion"}), (_linear_envelope, {"cutoff"})])
def test_a_planted_bug_turns_exactly_its_entries_red(bug, red, monkeypatch):
    potential = bug(_allegro(num_layers=2, l_max=1), monkeypatch)
    assert {name for name, result in run_battery(potential, STRUCTURES).items() if not result.passed} == red


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize("l_max", range(4))
def test_every_degree_and_parity_is_equivariant(l_max, parity, dtype, triclinic):
    potential = _allegro(dtype, l_max=l_max, parity=parity)
    for check in (symmetry.rotation, symmetry.inversion, symmetry.permutation):
        _assert_passed(check(potential, triclinic))


def test_only_degrees_above_zero_see_angles():
    """Two neighbours at fixed distances from the centre: what changes is the angle between them."""
    def change(potential: Potential) -> float:
        bent = [Atoms("OHH", [[0, 0, 0], [1.0, 0, 0], [1.1 * np.cos(angle), 1.1 * np.sin(angle), 0]])
                for angle in (1.7, 2.4)]
        first, second = (answer["energies"][0] for answer in potential.predict(bent))
        return abs(first - second)

    assert change(_allegro(l_max=0)) < 1e-12
    assert change(_allegro(l_max=1)) > 1e-6


def test_what_cannot_reach_a_scalar_is_left_out():
    """Odd scalars and pseudovectors need two more products: one to arise, one to come back."""
    natural = o3.Irreps("4x0e+4x1o+4x2e")
    assert tensor_irreps(4, 2, False, 3) == [natural, natural, natural, o3.Irreps("4x0e")]
    assert tensor_irreps(4, 2, True, 2) == tensor_irreps(4, 2, False, 2)
    assert tensor_irreps(4, 2, True, 3)[1] == o3.Irreps("4x0e+4x1e+4x1o+4x2e+4x2o")
    assert _allegro(parity=True).num_parameters > _allegro().num_parameters
    assert _allegro(num_layers=2, parity=True).num_parameters == _allegro(num_layers=2).num_parameters


def test_the_number_of_parameters_is_the_one_counted_by_hand():
    scalars, channels, species = 7, 3, 3
    two_body = 5 + species * scalars + 5 * scalars + scalars * 6 + 6 * scalars  # roots, embeddings, basis, MLP
    to_tensors = to_environment = scalars * 3 * channels
    latent = (scalars + channels) * 9 + 9 * scalars
    mixing = (3 + 4 + 4) * channels**2  # paths to 0e, 1o and 2e
    layers = 3 * (to_environment + latent) + 2 * mixing + 3 * channels**2  # the last keeps the paths to 0e
    readout, tables = scalars * 4 + 4, 2 * species
    assert _allegro().num_parameters == two_body + to_tensors + layers + readout + tables


def test_round_trip_keeps_every_digit(tmp_path, ethanol):
    potential = _allegro(zbl=True)
    save_model(potential.model, potential.config, tmp_path)
    again = load_potential(tmp_path, device="cpu", dtype="float64")
    assert again.config == potential.config
    before, after = potential.predict(ethanol), again.predict(ethanol)
    assert before["energy"] == after["energy"]
    assert np.array_equal(before["forces"], after["forces"])


def test_a_configuration_of_an_absurd_size_is_refused(tmp_path):
    potential = _allegro()
    wide = potential.config.model_copy(update={"num_scalar_features": 1024, "l_max": 6, "num_features": 1024,
                                               "num_layers": 12, "parity": True})
    save_model(potential.model, wide, tmp_path)
    with pytest.raises(ModelError, match="expected at most"):
        load_potential(tmp_path, device="cpu")


def test_channels_that_differ_between_degrees_are_refused():
    with pytest.raises(ConfigError, match="expected one number"):
        parse_config(ModelConfig, {**SMALL, "num_features": [4, 3, 2]})


def test_a_look_inside_says_that_there_are_no_atomic_features(ethanol):
    with pytest.raises(ModelError, match="Allegro"):
        hidden_features(_allegro(), ethanol)
