"""The analytic references themselves: against ASE, against finite differences, and smooth at the cutoff."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.cluster import Icosahedron

from md_systems import argon, argon_potential
from toolkit.interfaces.ase_calculator import Calculator
from toolkit.models.pair import HarmonicSprings, LennardJones, pair_potential, smooth_switch


def cluster() -> Atoms:
    """13 argon atoms, rattled."""
    atoms = Icosahedron("Ar", 2, latticeconstant=5.3)
    atoms.rattle(0.1, seed=1)
    return atoms


def test_lennard_jones_is_that_of_ase_inside_the_switch():
    atoms = cluster()
    ours = pair_potential(LennardJones(("Ar",), 0.0104, 3.4, 20.0)).predict(atoms)
    atoms.calc = AseLennardJones(epsilon=0.0104, sigma=3.4, rc=50.0)
    shift = 2.0 * 0.0104 * ((3.4 / 50.0) ** 12 - (3.4 / 50.0) ** 6) * len(atoms) * (len(atoms) - 1)  # ASE's is 0 at rc
    assert np.abs(ours["forces"]).max() > 0.02
    assert np.abs(ours["forces"] - atoms.get_forces()).max() < 1e-12
    assert ours["energy"] == pytest.approx(atoms.get_potential_energy() + shift, abs=1e-12)
    atoms.calc = AseLennardJones(epsilon=0.0104, sigma=3.3, rc=50.0)
    assert np.abs(ours["forces"] - atoms.get_forces()).max() > 1e-3


def test_stress_of_a_crystal_is_the_strain_derivative_in_ase_convention():
    atoms = argon()
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + [[0, 0.02, 0.01], [0, 0, 0.03], [0, 0, 0]]), scale_atoms=True)
    atoms.calc = Calculator(argon_potential())
    stress = atoms.get_stress()
    numeric = calculate_numerical_stress(atoms, eps=1e-5)
    assert np.abs(stress).max() > 1e-4
    assert np.abs(stress - numeric).max() < 1e-8
    larger = argon()
    larger.set_cell(1.1 * larger.cell.array, scale_atoms=True)
    larger.calc = Calculator(argon_potential())
    assert larger.get_stress()[:3].min() > 0.0  # pulled apart: tensile, positive


@pytest.mark.parametrize("model", [LennardJones(("Ar",), 0.0104, 3.4, 5.0), HarmonicSprings(("Ar",), 2.0, 3.0, 5.0)])
def test_energy_and_two_derivatives_are_continuous_through_the_switch(model):
    r = torch.linspace(3.5, 5.5, 200_001, dtype=torch.float64, requires_grad=True)
    energy = model.pair_energy(r) * smooth_switch(r, model.r_on, model.r_max)
    first, = torch.autograd.grad(energy.sum(), r, create_graph=True)
    second, = torch.autograd.grad(first.sum(), r)
    for curve in (energy, first, second):
        curve = curve.detach()
        assert float(curve.abs().max()) > 1e-3
        assert float(curve.diff().abs().max()) < 1e-3 * float(curve.abs().max())
        assert float(curve[r.detach() >= 5.0].abs().max()) < 1e-15


def test_calculator_gives_what_ase_asks_for():
    atoms = cluster()
    atoms.calc = Calculator(argon_potential())
    assert atoms.calc.get_property("free_energy", atoms) == atoms.get_potential_energy()
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
    numeric = calculate_numerical_forces(atoms, eps=1e-4)
    assert np.abs(atoms.get_forces() - numeric).max() < 1e-6
    before = atoms.get_forces()
    atoms.positions[0] += 0.1
    assert np.abs(atoms.get_forces() - before).max() > 1e-3
    with pytest.raises(PropertyNotImplementedError, match="stress"):
        atoms.get_stress()
