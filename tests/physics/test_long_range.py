"""The long range: Madelung constants, the law 1/r, conserved charges, and derivatives of every architecture with it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, graphene, molecule, nanotube
from ase.units import Bohr, Hartree

from toolkit.checks.battery import STRUCTURE_CHECKS, run_battery, run_check
from toolkit.checks.structures import random_crystal, random_molecule
from toolkit.config import ModelConfig, parse_config
from toolkit.data.graph import collate, graph_from_atoms
from toolkit.errors import ConfigError, DataError
from toolkit.interfaces.ase_calculator import Calculator
from toolkit.interfaces.relaxation import relax
from toolkit.models import coulomb, dispersion, long_range
from toolkit.models.coulomb import COULOMB_EV_A, coulomb_energies
from toolkit.models.derivatives import hessian
from toolkit.models.potential import Potential, build_potential
from toolkit.nn.charges import conserve_charge

SPECIES = ("H", "C", "O")
SMALL = {"nequip": {"num_layers": 2, "l_max": 1}, "allegro": {"num_layers": 1, "l_max": 1, "num_scalar_features": 8},
         "atom_gnn": {"num_layers": 2}, "atom_mlp": {"l_max": 1}}
MADELUNG = {"NaCl": ("rocksalt", 5.64, 0.5, 1.747564594633),
            "CsCl": ("cesiumchloride", 4.12, math.sqrt(0.75), 1.762674773070),
            "ZnS": ("zincblende", 5.41, math.sqrt(3.0) / 4.0, 1.638055053389)}
"""Structure, lattice constant, nearest distance in lattice constants, constant of that distance."""


def _potential(architecture: str = "atom_mlp", species: tuple[str, ...] = SPECIES, long_range: dict | None = None,
               **changes) -> Potential:
    values = {"architecture": architecture, "species": species, "r_max": 4.0, "num_features": 8, "seed": 3,
              "avg_num_neighbors": 8.0, "long_range": {"smearing_A": 0.8, **(long_range or {})},
              **SMALL[architecture], **changes}
    return build_potential(parse_config(ModelConfig, values), dtype="float64")


def _charges(atoms: Atoms) -> torch.Tensor:
    """±1 e in turn, moved to a sum of zero."""
    charges = torch.tensor([1.0 - 2.0 * (i % 2) for i in range(len(atoms))], dtype=torch.float64)
    return charges - charges.mean()


def _energy(atoms: Atoms, charges: torch.Tensor, smearing_A: float, accuracy: float = 1e-12) -> float:
    return float(coulomb_energies(graph_from_atoms(atoms, 1.0), charges, smearing_A, accuracy).sum())


def _point_energy(atoms: Atoms, charges: torch.Tensor, smearing_A: float) -> float:
    """The smeared energy and what point charges have beyond it: Σ_{i<j} q_i q_j erfc(r/√2σ)/r and the background's."""
    graph = graph_from_atoms(atoms, 9.0)
    lengths = torch.linalg.vector_norm(graph.positions[graph.edge_index[1]] - graph.positions[graph.edge_index[0]]
                                       + graph.cell_shifts @ graph.cell[0], dim=1)
    pairs = charges[graph.edge_index[0]] * charges[graph.edge_index[1]]
    short = 0.5 * float((pairs * torch.erfc(lengths / (math.sqrt(2.0) * smearing_A)) / lengths).sum())
    background = math.pi * smearing_A**2 * float(charges.sum()) ** 2 / atoms.get_volume() if atoms.pbc.all() else 0.0
    return _energy(atoms, charges, smearing_A) + COULOMB_EV_A * (short - background)


def _madelung_error(name: str) -> float:
    structure, lattice, nearest, constant = MADELUNG[name]
    atoms = bulk(name, structure, a=lattice)
    energy = _energy(atoms, torch.tensor([1.0, -1.0], dtype=torch.float64), 0.35)
    return abs(-energy * nearest * lattice / COULOMB_EV_A - constant)


@pytest.mark.parametrize("name", sorted(MADELUNG))
def test_madelung_constants(name):
    assert _madelung_error(name) < 1e-9


def test_a_sum_with_self_energies_has_no_madelung_constant(monkeypatch):
    right = coulomb._ewald_potentials

    def with_self_energy(charges, positions, cells, smearing_A, accuracy):
        return right(charges, positions, cells, smearing_A, accuracy) + charges * math.sqrt(2.0 / math.pi) / smearing_A

    monkeypatch.setattr(coulomb, "_ewald_potentials", with_self_energy)
    assert min(map(_madelung_error, MADELUNG)) > 1e-2


@pytest.mark.parametrize("charge", [0.0, 0.7])
def test_point_charges_do_not_depend_on_where_the_sum_is_split(triclinic, charge):
    charges = _charges(triclinic) + charge / len(triclinic)
    energies = [_point_energy(triclinic, charges, smearing_A) for smearing_A in (0.5, 0.8, 1.2)]
    assert abs(energies[0]) > 0.1
    np.testing.assert_allclose(energies, energies[0], rtol=0.0, atol=1e-7)


def test_a_charged_lattice_has_the_energy_of_its_background():
    """Equal charges on a simple cubic lattice in a uniform background: −½ · 2.837297 e²/4πε₀a, the correction that
    Makov and Payne (Phys. Rev. B 51, 4014 (1995)) make for charged cells."""
    atoms = Atoms("H", cell=[3.0] * 3, pbc=True)
    energy = _point_energy(atoms, torch.ones(1, dtype=torch.float64), 0.5)
    assert energy == pytest.approx(-0.5 * 2.8372974795 * COULOMB_EV_A / 3.0, rel=1e-9)


def test_a_molecule_in_a_growing_box_is_the_molecule_in_the_open(ethanol):
    """The difference falls as the dipole's 1/V, nearly: higher moments fall faster."""
    charges = _charges(ethanol)
    alone, errors = _energy(ethanol, charges, 0.8), []
    for box_A in (20.0, 40.0):
        boxed = Atoms(ethanol.numbers, ethanol.positions, cell=[box_A] * 3, pbc=True)
        errors.append(abs(_energy(boxed, charges, 0.8, 1e-6) - alone))
    assert errors[1] < 1e-3 * abs(alone)
    assert errors[0] / errors[1] == pytest.approx(8.0, rel=0.1)


def test_a_batch_is_its_structures_and_a_supercell_its_cells(ethanol, triclinic):
    structures = [ethanol, triclinic, bulk("NaCl", "rocksalt", a=5.64), molecule("H2O")]
    graphs = [graph_from_atoms(atoms, 1.0) for atoms in structures]
    charges = [_charges(atoms) for atoms in structures]
    alone = [coulomb_energies(*pair, 0.8, 1e-8) for pair in zip(graphs, charges, strict=True)]
    together = coulomb_energies(collate(graphs), torch.cat(charges), 0.8, 1e-8)
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)
    repeated = _energy(triclinic * (2, 1, 2), _charges(triclinic).repeat(4), 0.8)
    assert repeated == pytest.approx(4.0 * _energy(triclinic, _charges(triclinic), 0.8), rel=1e-9)


def test_against_torch_pme(triclinic):
    torchpme = pytest.importorskip("torchpme")
    smearing_A, charges = 0.8, _charges(triclinic)
    calculator = torchpme.EwaldCalculator(torchpme.CoulombPotential(smearing_A), lr_wavelength=0.3).to(torch.float64)
    cell, positions = torch.as_tensor(triclinic.cell.array), torch.as_tensor(triclinic.positions)
    no_pairs, no_distances = torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, dtype=torch.float64)
    potential = calculator(charges[:, None], cell, positions, no_pairs, no_distances)
    theirs = COULOMB_EV_A * charges * potential[:, 0]
    ours = coulomb_energies(graph_from_atoms(triclinic, 1.0), charges, smearing_A, 1e-12)
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=1e-8)


@pytest.mark.parametrize("architecture", sorted(SMALL))
def test_forces_and_stress_are_derivatives(architecture):
    potential = _potential(architecture)
    for name, atoms in (("forces", random_molecule(SPECIES)), ("forces", random_crystal(SPECIES)),
                        ("stress", random_crystal(SPECIES))):
        result = STRUCTURE_CHECKS[name](potential, atoms)
        assert result.passed, (name, result)


def test_the_passport_asks_everything_but_locality():
    structures = {"molecule": random_molecule(SPECIES), "crystal": random_crystal(SPECIES)}
    results = run_battery(_potential(zbl=True), structures)
    assert {"rotation", "batch", "charge", "second_derivatives", "isolated_atom", "cutoff"} <= set(results)
    assert not {"locality", "far_molecules"} & set(results)
    assert all(result.passed for result in results.values()), results
    assert "charge" not in run_battery(_potential(long_range={"charges": False, "dispersion": "d3bj-pbe"}), structures)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("architecture", sorted(SMALL))
def test_charges_add_up_in_each_precision(architecture, dtype):
    potential = build_potential(_potential(architecture).config, dtype=dtype)
    result = run_check("charge", potential, {"molecule": random_molecule(SPECIES), "crystal": random_crystal(SPECIES)})
    assert result.passed and len(result.details) == 2 * 3, result


def test_the_passport_sees_charges_that_do_not_add_up(monkeypatch):
    potential, molecule = _potential(), random_molecule(SPECIES)
    monkeypatch.setattr(long_range, "conserve_charge", lambda charges, total, batch: charges)
    broken = run_check("charge", potential, {"molecule": molecule})
    assert not broken.passed and broken.value > 0.1
    neutral = lambda charges, total, batch: conserve_charge(charges, 0.0 * total, batch)  # noqa: E731
    monkeypatch.setattr(long_range, "conserve_charge", neutral)
    ignored = run_check("charge", potential, {"molecule": molecule})
    assert ignored.value == pytest.approx(2.0) and ignored.worst_case == "molecule: charge -2"


@pytest.mark.parametrize("architecture", sorted(SMALL))
def test_charges_add_up_and_depend_on_the_neighbours(architecture, ethanol, triclinic):
    potential = _potential(architecture)
    cation = ethanol.copy()
    cation.info["charge"] = 1
    graph = potential.graph([ethanol, triclinic, cation])
    charges = potential.evaluate(graph)["charges"]
    totals = torch.zeros(3, dtype=torch.float64).index_add(0, graph.batch, charges)
    np.testing.assert_allclose(totals, [0.0, 0.0, 1.0], atol=1e-12)
    hydrogens = charges[(graph.batch == 0) & (graph.atomic_numbers == 1)]
    assert hydrogens.max() - hydrogens.min() > 1e-6


def test_the_calculator_sees_another_charge():
    hydroxide = Atoms("OH", [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], info={"charge": -1.0})
    potential = _potential(species=("H", "O"))
    hydroxide.calc = Calculator(potential)
    ion = hydroxide.get_potential_energy()
    hydroxide.info["charge"] = 0.0
    assert hydroxide.get_potential_energy() == pytest.approx(potential.predict(hydroxide)["energy"]) != pytest.approx(ion)


def test_a_relaxed_ion_keeps_its_charge():
    hydroxide = Atoms("OH", [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], info={"charge": -1.0, "name": "left behind"})
    potential = _potential(species=("H", "O"), zbl=True)
    relaxed = relax(potential, hydroxide, fmax=1e-3)
    assert relaxed.atoms.info == {"charge": -1.0}
    assert relaxed.energy_eV == pytest.approx(potential.predict(relaxed.atoms)["energy"], abs=1e-9)
    relaxed.atoms.info.clear()
    assert abs(relaxed.energy_eV - potential.predict(relaxed.atoms)["energy"]) > 1e-3


@pytest.mark.parametrize("architecture", sorted(SMALL))
def test_ions_beyond_the_cutoff_attract_as_the_square_of_their_distance(architecture):
    potential = _potential(architecture, species=("Na", "Cl"))
    distances = np.array([10.0, 20.0, 40.0])
    pairs = [Atoms("NaCl", [[0.0, 0.0, 0.0], [0.0, 0.0, r]]) for r in distances]
    answers = potential.predict(pairs)
    charge = float(potential.evaluate(potential.graph(pairs[0]))["charges"][0])
    assert abs(charge) > 1e-3
    np.testing.assert_allclose([a["forces"][0, 2] for a in answers], COULOMB_EV_A * charge**2 / distances**2, rtol=1e-9)
    local = build_potential(potential.config.model_copy(update={"long_range": None}), dtype="float64")
    assert not local.predict(pairs[0])["forces"].any()


def test_slabs_and_wrong_charges_are_refused(ethanol):
    slab = bulk("C", cubic=True)
    slab.pbc = (True, True, False)
    with pytest.raises(DataError, match="periodic along 2 of 3 directions"):
        _potential().predict(slab)
    ethanol.info["charge"] = "plus one"
    with pytest.raises(DataError, match="found the charge 'plus one'"):
        _potential().predict(ethanol)


def _with_dispersion() -> Potential:
    pytest.importorskip("dftd3")
    return _potential(long_range={"charges": False, "dispersion": "d3bj-pbe"})


def test_dispersion_of_water_is_the_published_one():
    """−0.009781920 eV for PBE-D3(BJ): the example in simple-dftd3's manual."""
    potential, water = _with_dispersion(), molecule("H2O")
    local = build_potential(potential.config.model_copy(update={"long_range": None}), dtype="float64")
    answers = [p.predict(water) for p in (potential, local)]
    assert answers[0]["energy"] - answers[1]["energy"] == pytest.approx(-0.009781920, abs=1e-9)
    np.testing.assert_allclose((answers[0]["forces"] - answers[1]["forces"])[0], [0.0, 0.0, 0.00009572], atol=1e-8)


def test_dispersion_is_as_its_own_ase_calculator_says(triclinic):
    potential = _with_dispersion()
    triclinic.calc = pytest.importorskip("dftd3.ase").DFTD3(
        damping="d3bj", params_tweaks={"method": "pbe", "atm": False},
        realspace_cutoff={"width2": dispersion.CUTOFFS_BOHR["width2"] * Bohr})
    local = build_potential(potential.config.model_copy(update={"long_range": None}), dtype="float64")
    ours, without = potential.predict(triclinic), local.predict(triclinic)
    assert ours["energy"] - without["energy"] == pytest.approx(triclinic.get_potential_energy(), rel=1e-9)
    np.testing.assert_allclose(ours["forces"] - without["forces"], triclinic.get_forces(), atol=1e-9)
    np.testing.assert_allclose(ours["stress"] - without["stress"], triclinic.get_stress(voigt=False), atol=1e-9)


@pytest.mark.parametrize("atoms", [graphene("C2", size=(2, 2, 1)), nanotube(4, 0)], ids=["slab", "wire"])
def test_dispersion_of_slabs_and_wires_is_that_of_a_crystal_with_vacuum(atoms):
    """Energy and derivatives, with cell vectors of zero along open directions and atoms at both sides of them."""
    pytest.importorskip("dftd3")
    atoms.rattle(0.1, seed=3)
    atoms.positions -= atoms.positions.mean(axis=0)
    assert not atoms.cell.array[~atoms.pbc].any()
    crystal = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell.array + np.diag(45.0 * ~atoms.pbc), pbc=True)
    found, expected = ([x.numpy() for x in dispersion._Library(a.numbers, a.pbc, "pbe")(
        torch.tensor(a.positions), torch.tensor(a.cell.array))] for a in (atoms, crystal))
    assert found[0] < -0.5 and all(np.abs(x).max() > 0.01 for x in found)
    for value, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, reference, atol=1e-10)


def test_dispersion_has_second_derivatives(ethanol):
    """Against the analytic ones of the library."""
    interface = pytest.importorskip("dftd3.interface")
    model = interface.DispersionModel(ethanol.numbers, ethanol.positions / Bohr)
    model.set_realspace_cutoff(**dispersion.CUTOFFS_BOHR)
    expected = model.get_hessian(interface.RationalDampingParam(method="pbe"))["hessian"] * Hartree / Bohr**2
    part = dispersion.Dispersion(_with_dispersion().config)
    found = hessian(part, graph_from_atoms(ethanol, 4.0)).numpy()
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(dispersion, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install dftd3"):
        _potential(long_range={"dispersion": "d3bj-pbe"})
