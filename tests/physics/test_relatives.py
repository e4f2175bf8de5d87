"""AtomMLP and AtomGNN: what the battery of every architecture does not ask, and what each architecture costs."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import atomic_numbers, covalent_radii
from torch.utils.flop_counter import FlopCounterMode

from toolkit.config import ModelConfig, parse_config
from toolkit.errors import ConfigError
from toolkit.models.potential import Potential, build_potential

RELATIVES = ["atom_mlp", "atom_gnn"]


def _potential(architecture: str, **changes) -> Potential:
    species = ("H", "C", "O")
    return build_potential(ModelConfig(**{
        "architecture": architecture, "species": species, "num_features": 16, "avg_num_neighbors": 8.0, "seed": 3,
        "per_species_energy_scales": dict.fromkeys(species, 0.3), **changes}), dtype="float64")


@pytest.mark.parametrize("architecture", RELATIVES)
def test_two_far_molecules_are_the_sum(architecture):
    potential = _potential(architecture, per_species_energy_shifts={"H": -13.6, "C": -1029.9, "O": -2042.6})
    first, second = molecule("CH3CH2OH"), molecule("C6H6")
    second.translate([0.0, 0.0, 40.0])
    alone = [potential.predict(atoms)["energy"] for atoms in (first, second)]
    assert potential.predict(first + second)["energy"] == pytest.approx(sum(alone), rel=1e-14)
    second.translate([0.0, 0.0, -36.0])
    assert abs(potential.predict(first + second)["energy"] - sum(alone)) > 1e-6


@pytest.mark.parametrize("architecture", RELATIVES)
def test_every_backend_gives_the_same_numbers(architecture, triclinic):
    answers = []
    for backend in ("reference", "compiled"):
        config = _potential(architecture).config
        answers.append(build_potential(config, dtype="float64", backend=backend).predict(triclinic))
    assert np.abs(answers[0]["forces"]).max() > 1e-2
    for key in ("energies", "forces", "stress"):
        np.testing.assert_allclose(answers[0][key], answers[1][key], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("architecture", RELATIVES)
def test_tables_of_inference_answer_as_the_networks(architecture, ethanol):
    config = _potential(architecture).config
    single, double = (build_potential(config, dtype=dtype, backend="compiled") for dtype in ("float32", "float64"))
    assert next(m.tabulated for m in single._prepared.modules() if hasattr(m, "tabulated"))
    expected, found = double.predict(ethanol)["forces"], single.predict(ethanol)["forces"]
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("architecture", ["allegro", "nequip", *RELATIVES])
def test_the_cost_grows_as_the_number_of_atoms(architecture):
    potential = _potential(architecture, species=("Cu",), per_species_energy_scales={"Cu": 1.0}, r_max=4.0)
    operations = []
    for length in (2, 4, 8):
        crystal = bulk("Cu", cubic=True) * (length, 2, 2)
        crystal.rattle(0.05, seed=0)
        with FlopCounterMode(display=False) as counter:
            potential.evaluate(potential.graph(crystal), stress=True)
        operations.append(counter.get_total_flops())
    assert operations[0] > 1e5 and _is_linear(operations)
    assert not _is_linear([count + 1e-3 * operations[0] * size**2 for count, size in zip(operations, (1, 2, 4), strict=True)])


def _is_linear(costs: list[float]) -> bool:
    """Of systems each twice as large as the one before: the growth doubles, whatever is spent once."""
    return abs((costs[2] - costs[1]) / (costs[1] - costs[0]) - 2.0) < 1e-3


def test_angles_are_seen_from_l_1_on():
    """Of a central atom with four neighbours at fixed distances only angles differ."""
    directions = np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    bent = directions.copy()
    bent[1] = [0.0, -0.6, 0.8]
    for l_max in (0, 1):
        energies = []
        for arrangement in (directions, bent):
            atoms = Atoms("COOOO", np.vstack([np.zeros(3), 1.4 * arrangement]))
            energies.append(_potential("atom_mlp", l_max=l_max, r_max=1.6).predict(atoms)["energies"][0])
        assert (abs(energies[0] - energies[1]) < 1e-12) == (l_max == 0)


@pytest.mark.parametrize("architecture", RELATIVES)
def test_fields_of_nequip_are_refused(architecture):
    with pytest.raises(ConfigError, match=f"parity is not a field of the architecture '{architecture}'"):
        parse_config(ModelConfig, {"architecture": architecture, "parity": True})
    assert parse_config(ModelConfig, {"architecture": architecture}).zbl


def test_the_floor_ends_below_bonded_distances():
    config = _potential("atom_gnn").config
    without = config.model_copy(update={"zbl": False})
    for pair in ("CH", "CC", "OH", "HH"):
        end = 0.8 * sum(covalent_radii[atomic_numbers[symbol]] for symbol in pair)
        energies = {}
        for distance in (0.3 * end, 0.6 * end, 0.999 * end, 1.001 * end):
            atoms = Atoms(pair, [[0, 0, 0], [0, 0, distance]])
            energies[distance] = np.subtract(*(build_potential(c, dtype="float64").predict(atoms)["energy"]
                                               for c in (config, without)))
        close, half, near, beyond = energies.values()
        assert close > 3.0 * half > 0.0 and abs(near) < 1e-4 and abs(beyond) < 1e-12
