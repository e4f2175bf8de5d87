"""Symmetries and derivatives that every potential must have, each beside a broken model that the check must reject."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation

from toolkit.config import ModelConfig
from toolkit.data.graph import AtomicGraph
from toolkit.models.base import AtomisticModel
from toolkit.models.potential import Potential, build_potential

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
CONFIGS = {
    "l0": {"l_max": 0, "num_features": 8}, "l1": {"l_max": 1, "num_features": (6, 5)},
    "l2_parity": {"l_max": 2, "parity": True, "num_features": (6, 4, 3)}, "l3": {"l_max": 3, "num_features": 4, "num_layers": 2},
}


def _potential(small_config: ModelConfig, changes: dict, dtype: str = "float64") -> Potential:
    return build_potential(ModelConfig(**{**small_config.model_dump(), **changes}), dtype=dtype)


def _moved(atoms: Atoms, matrix: np.ndarray) -> Atoms:
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ matrix.T)
    moved.positions = atoms.positions @ matrix.T
    return moved


def _orthogonal_error(potential: Potential, atoms: Atoms, matrix: np.ndarray) -> float:
    """Largest violation of E(Qx) = E(x), F(Qx) = Q F(x), relative to the force RMS (forces) and per eV (energy)."""
    before, after = potential.predict(atoms), potential.predict(_moved(atoms, matrix))
    rms = np.sqrt(np.mean(before["forces"] ** 2))
    assert rms > 1e-3, "the model is too flat for the test to mean anything"
    network_energy = abs(before["energies"] - _shifts(potential, atoms)).sum()
    errors = [np.abs(after["forces"] - before["forces"] @ matrix.T).max() / rms,
              abs(after["energy"] - before["energy"]) / network_energy]
    if "stress" in before:
        stress = matrix @ before["stress"] @ matrix.T
        errors.append(np.abs(after["stress"] - stress).max() / np.abs(stress).max())
    return max(errors)


def _shifts(potential: Potential, atoms: Atoms) -> np.ndarray:
    table = potential.config.per_species_energy_shifts
    return np.array([table[s] for s in atoms.get_chemical_symbols()])


ROTATION = Rotation.random(random_state=4).as_matrix()
ORTHOGONAL = {"rotation": ROTATION, "inversion": -np.eye(3), "mirror": ROTATION @ np.diag([1.0, 1.0, -1.0])}


@pytest.mark.parametrize("operation", sorted(ORTHOGONAL))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_energy_is_invariant_and_forces_and_stress_rotate(small_config, structure, name, dtype, operation):
    potential = _potential(small_config, CONFIGS[name], dtype)
    assert _orthogonal_error(potential, structure, ORTHOGONAL[operation]) < TOLERANCE[dtype]


class _Broken(AtomisticModel):
    """Wraps a potential's model and spoils it on purpose."""

    def __init__(self, potential: Potential, spoil) -> None:
        super().__init__()
        self.inner, self.spoil = potential.model, spoil
        self.r_max, self.species = potential.r_max, potential.species

    def forward(self, graph: AtomicGraph, vectors: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"atomic_energies": self.spoil(self.inner(graph, vectors)["atomic_energies"], graph, vectors)}


def _broken(potential: Potential, spoil) -> Potential:
    return Potential(_Broken(potential, spoil), potential.config, potential.device, potential.backend)


def test_a_direction_dependent_energy_is_rejected(small_config, ethanol):
    def tilt(energies, graph, vectors):
        return energies.index_add(0, graph.edge_index[0], 1e-5 * vectors[:, 0] ** 2)
    broken = _broken(_potential(small_config, CONFIGS["l1"]), tilt)
    assert _orthogonal_error(broken, ethanol, ROTATION) > 100 * TOLERANCE["float64"]


def test_a_chiral_energy_is_rejected_by_inversion_but_not_by_rotation(small_config, ethanol):
    def chiral(energies, graph, vectors):
        triple = torch.linalg.det(vectors[:3]) * 1e-3
        return energies + triple / len(energies)
    broken = _broken(_potential(small_config, CONFIGS["l1"]), chiral)
    assert _orthogonal_error(broken, ethanol, ROTATION) < TOLERANCE["float64"]
    assert _orthogonal_error(broken, ethanol, -np.eye(3)) > 100 * TOLERANCE["float64"]


def test_translation_and_lattice_shifts_change_nothing(small_config, structure):
    potential = _potential(small_config, CONFIGS["l2_parity"])
    moved = structure.copy()
    moved.positions += [3.1, -2.7, 11.3]
    moved.positions[0] += structure.pbc @ structure.cell.array  # one atom into another cell
    before, after = potential.predict(structure), potential.predict(moved)
    assert abs(after["energy"] - before["energy"]) < 1e-9
    assert np.abs(after["forces"] - before["forces"]).max() < 1e-10


def test_permutation_permutes(small_config, structure):
    potential = _potential(small_config, CONFIGS["l2_parity"])
    order = np.random.default_rng(0).permutation(len(structure))
    before, after = potential.predict(structure), potential.predict(structure[order])
    assert np.ptp(before["energies"] - _shifts(potential, structure)) > 1e-3
    assert np.abs(after["energies"] - before["energies"][order]).max() < 1e-9
    assert np.abs(after["forces"] - before["forces"][order]).max() < 1e-10


def _force_error(potential: Potential, atoms: Atoms, step_A: float = 1e-4) -> float:
    """Largest |F + dE/dx| over five coordinates, by central differences of energies relative to the shifts, eV/Å."""
    forces, worst = potential.predict(atoms)["forces"], 0.0
    for atom, axis in ((0, 0), (1, 2), (3, 1), (len(atoms) - 1, 0), (2, 2)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step_A
            energies.append((potential.predict(moved)["energies"] - _shifts(potential, atoms)).sum())
        worst = max(worst, abs(forces[atom, axis] + (energies[0] - energies[1]) / (2 * step_A)))
    return worst


def test_forces_are_the_gradient(small_config, structure):
    potential = _potential(small_config, CONFIGS["l2_parity"])
    assert np.abs(potential.predict(structure)["forces"]).max() > 1e-2
    assert _force_error(potential, structure) < 1e-7


def test_forces_that_are_not_the_gradient_are_rejected(small_config, ethanol):
    class DetachedTerm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * (1 + 1e-4)

    broken = _broken(_potential(small_config, CONFIGS["l1"]), lambda e, graph, vectors: DetachedTerm.apply(e))
    assert _force_error(broken, ethanol) > 1e-6


def test_stress_is_the_strain_derivative(small_config, triclinic):
    potential = _potential(small_config, CONFIGS["l2_parity"])
    left_handed = triclinic.copy()
    left_handed.set_cell(triclinic.cell.array[[1, 0, 2]])
    for atoms in (triclinic, left_handed):
        stress = potential.predict(atoms)["stress"]
        assert np.abs(stress).max() > 1e-4
        for a, b in ((0, 0), (1, 2), (0, 1)):
            energies = []
            for sign in (1, -1):
                strain = np.zeros((3, 3))
                strain[a, b] += 0.5e-4 * sign
                strain[b, a] += 0.5e-4 * sign
                moved = atoms.copy()
                moved.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
                energies.append((potential.predict(moved)["energies"] - _shifts(potential, atoms)).sum())
            numerical = (energies[0] - energies[1]) / 2e-4 / atoms.get_volume()
            assert abs(numerical - stress[a, b]) < 1e-8


def test_a_batch_equals_its_members_and_leaks_no_gradient(small_config, ethanol, triclinic):
    potential = _potential(small_config, CONFIGS["l2_parity"])
    batch = potential.predict([ethanol, triclinic, ethanol])
    for together, atoms in zip(batch, (ethanol, triclinic, ethanol)):
        alone = potential.predict(atoms)
        assert abs(together["energy"] - alone["energy"]) < 1e-9
        assert np.abs(together["forces"] - alone["forces"]).max() < 1e-11
    graph = potential.graph([ethanol, ethanol])
    positions = graph.positions.clone()
    positions[len(ethanol):] += 0.05 * torch.randn(len(ethanol), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    changed = potential.evaluate(replace(graph, positions=positions))
    assert np.abs(changed["forces"][len(ethanol):].numpy() - batch[0]["forces"]).max() > 1e-3
    assert np.abs(changed["forces"][:len(ethanol)].numpy() - batch[0]["forces"]).max() < 1e-11


def test_far_molecules_add_up_and_an_isolated_atom_is_its_shift(small_config, ethanol):
    potential = _potential(small_config, CONFIGS["l2_parity"])
    far = ethanol.copy()
    far.positions += [50.0, 0.0, 0.0]
    both, one = potential.predict(ethanol + far), potential.predict(ethanol)
    assert abs(both["energy"] - 2 * one["energy"]) < 1e-9
    assert potential.predict(Atoms("O"))["energy"] == potential.config.per_species_energy_shifts["O"]
    assert np.all(potential.predict(Atoms("O"))["forces"] == 0.0)


def _jumps_at_cutoff(potential: Potential) -> list[float]:
    """Jumps of energy, force and force derivative when a third atom crosses r_max of a pair."""
    r_max = potential.r_max
    atoms = Atoms("OCH", positions=[[0.0, 0.0, 0.0], [1.2, 0.0, 0.0], [0.0, 0.0, 0.0]])

    def force(distance: float) -> tuple[float, float]:
        atoms.positions[2] = [0.0, distance, 0.0]
        result = potential.predict(atoms)
        return float((result["energies"] - _shifts(potential, atoms)).sum()), float(result["forces"][2, 1])

    h = 1e-4
    inside, outside, edge = force(r_max - h), force(r_max + h), force(r_max)
    slopes = [(edge[1] - inside[1]) / h, (outside[1] - edge[1]) / h]
    return [abs(outside[0] - inside[0]), abs(outside[1] - inside[1]), abs(slopes[1] - slopes[0])]


def test_energy_force_and_curvature_are_continuous_at_the_cutoff(small_config, monkeypatch):
    smooth = max(_jumps_at_cutoff(_potential(small_config, CONFIGS["l2_parity"])))
    # Bessel functions vanish at r_max themselves, so only an envelope worse than C1 leaves a jump in the curvature
    monkeypatch.setattr("toolkit.nn.radial.polynomial_envelope", lambda x, p: torch.where(x < 1, 1 - x, torch.zeros_like(x)))
    kinked = _jumps_at_cutoff(_potential(small_config, CONFIGS["l2_parity"]))[2]
    assert kinked > 1e-3
    assert smooth < 1e-3 * kinked
