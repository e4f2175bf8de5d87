"""Each check can fail: a planted bug turns exactly the right entries of the battery red and leaves the others green."""

from __future__ import annotations

import broken_potentials as broken
import numpy as np
import pytest
import torch
from ase import Atoms

from toolkit.checks.battery import run_battery
from toolkit.checks.dynamics import nve
from toolkit.checks.passport import passport
from toolkit.checks.smoothness import cutoff
from toolkit.checks.structures import random_crystal, random_molecule
from toolkit.checks.symmetry import rotation
from toolkit.config import ModelConfig
from toolkit.kernels.dispatch import BACKENDS, Backend
from toolkit.models.pair import HarmonicSprings, pair_potential
from toolkit.models.potential import Potential, build_potential

RED = {
    broken.flipped_parity_label: {"inversion"},
    broken.force_sign: {"forces", "second_derivatives"},
    broken.x_dependent_energy: {"rotation", "net_force"},
    broken.order_dependent_sum: {"permutation", "supercell"},
    broken.truncated_backward: {"forces", "hessian_symmetry", "second_derivatives", "stress", "net_force"},
    broken.c1_envelope: {"cutoff"},
    broken.stress_sign: {"stress"},
    broken.batch_leak: {"batch"},
    broken.wrong_second_derivative: {"second_derivatives"},
    broken.non_central_forces: {"forces", "hessian_symmetry", "second_derivatives", "net_force"},
    broken.energy_bias: {"isolated_atom"},
    broken.not_size_extensive: {"far_molecules", "locality", "supercell"},
    broken.promised_too_much_locality: {"locality"},
    broken.absolute_positions: {"rotation", "translation", "supercell", "forces", "stress", "isolated_atom"},
}
STRUCTURES = {"molecule": random_molecule("HCO", 5), "crystal": random_crystal("HCO")}
DEGREE_3 = {"l_max": 3, "num_features": (3, 2, 2, 2)}


def _healthy(**changes) -> Potential:
    config = {"species": ("H", "C", "O"), "r_max": 3.5, "num_layers": 3, "l_max": 1, "num_features": (4, 3), "seed": 3,
              "num_bessels": 4, "radial_mlp_width": 8, "avg_num_neighbors": 6.0,
              "per_species_energy_shifts": {"H": -13.0, "C": -1029.0, "O": -2043.0}}
    return build_potential(ModelConfig(**{**config, **changes}), dtype="float64")


def _red(potential: Potential) -> set[str]:
    return {name for name, result in run_battery(potential, STRUCTURES).items() if not result.passed}


@pytest.mark.parametrize("bug", RED, ids=lambda bug: bug.__name__)
def test_a_planted_bug_turns_exactly_its_entries_red(bug, monkeypatch):
    healthy = _healthy(**DEGREE_3) if bug is broken.truncated_backward else _healthy()
    assert _red(bug(healthy, monkeypatch)) == RED[bug]


def test_a_c1_envelope_of_the_repulsion_is_found(monkeypatch):
    """ZBL has no Bessel function that vanishes at the cutoff."""
    potential = _healthy(zbl=True)
    assert cutoff(potential).passed
    jumps = cutoff(broken.c1_envelope(potential, monkeypatch))
    assert jumps.details["curvature"] > 1e3 * jumps.threshold
    assert max(jumps.details["energy"], jumps.details["slope"]) < jumps.threshold


def test_a_step_at_the_end_of_the_repulsion_is_found(monkeypatch):
    """It ends far inside the cutoff, at its own reach for each pair of elements."""
    potential = build_potential(ModelConfig(architecture="atom_mlp", species=("O", "H"), r_max=4.0, num_features=8,
                                            avg_num_neighbors=10.0), dtype="float64", backend="reference")
    assert potential.config.zbl and cutoff(potential).passed
    monkeypatch.setattr("toolkit.models.zbl.polynomial_envelope", lambda x, p: (x < 1.0).to(x.dtype))
    assert cutoff(potential).details["energy"] > 1.0


@pytest.mark.parametrize("check", ["rotation", "cutoff"])
def test_an_answer_that_is_no_number_is_found_wherever_it_occurs(check, monkeypatch):
    """In the first of several cases, followed by good ones."""
    seen = []

    def once(output, graph):
        seen.append(graph)
        spoil = float("nan") if len(seen) == (2 if check == "rotation" else 1) else 1.0
        return {name: spoil * value for name, value in output.items()}
    if check == "rotation":
        result = rotation(broken.answering(_healthy(), once), STRUCTURES["molecule"])
    else:
        jumps = iter([np.full(3, np.nan), *[np.zeros(3)] * 50])
        monkeypatch.setattr("toolkit.checks.smoothness._jumps", lambda *arguments: (next(jumps), 1.0))
        result = cutoff(_healthy())
    assert not result.passed and np.isnan(result.value)


def test_a_backend_with_a_truncated_backward_pass_is_found(monkeypatch):
    """Its energies agree with the reference to the last digit and its forces turn with the structure."""
    monkeypatch.setitem(BACKENDS, "fused", Backend(broken.TruncatedConvolution, lambda device_type: None))
    made = passport(_healthy(**DEGREE_3), [STRUCTURES["molecule"]], nve_ps=0.0)
    red = {(result.name, result.backend) for result in made.results if not result.passed}
    assert red == {(name, "fused") for name in RED[broken.truncated_backward] | {"precision"}}
    energies = [result.details["data: energies"] for result in made.results if result.name == "precision"]
    assert max(energies) < 1e-6
    assert not made.passed


def _triangle() -> tuple[Potential, Atoms]:
    """Three atoms on springs: a potential with an exact answer that vibrates for ever."""
    atoms = Atoms("HOC", positions=[[0.0, 0.0, 0.0], [1.2, 0.0, 0.0], [0.6, 1.04, 0.0]])
    return pair_potential(HarmonicSprings(("H", "C", "O"), 20.0, 1.2, 3.0)), atoms


def test_energy_is_conserved_on_springs():
    result = nve(*_triangle(), length_ps=0.5)
    assert result.passed
    assert result.details["length_ps"] == pytest.approx(0.5)
    assert result.details["kinetic_rms_meV_per_atom"] > 1.0


def _swirl(output, graph):
    """Pushes every atom around the centre of its molecule."""
    arms = graph.positions - graph.positions.mean(dim=0)
    swirl = torch.stack([-arms[:, 1], arms[:, 0], torch.zeros(len(arms))], dim=1)
    return {**output, "forces": output["forces"] + 0.05 * swirl}


def test_forces_that_are_not_a_gradient_pump_energy():
    potential, atoms = _triangle()
    result = nve(broken.answering(potential, _swirl), atoms, length_ps=0.5)
    assert not result.passed
    assert result.value > 2.0 * result.threshold


def test_a_simulation_that_breaks_is_a_problem():
    potential, atoms = _triangle()
    result = nve(broken.force_sign(potential, None), atoms, length_ps=0.5)
    assert not result.passed
    assert "the run broke after" in result.problem
