"""Coordination, bond angles and Voronoi cells of crystals and of points without order, whose values are known."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from toolkit.analysis.bond_angles import bond_angles
from toolkit.analysis.coordination import coordination_numbers, first_shell
from toolkit.analysis.rdf import RadialDistribution, radial_distribution
from toolkit.analysis.voronoi import voronoi_statistics
from toolkit.errors import DataError

FCC, BCC, DIAMOND = (bulk("Cu", "fcc", a=3.6, cubic=True) * 4, bulk("Mo", "bcc", a=3.15, cubic=True) * 5,
                     bulk("Si", "diamond", a=5.43, cubic=True) * 3)


def frames(atoms: Atoms) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(atoms.positions, atoms.cell.array)]


def rdf_of(atoms: Atoms, r_max: float = 6.0) -> RadialDistribution:
    return radial_distribution(atoms.positions[None], atoms.numbers, atoms.cell.array, r_max, 0.02)


def ideal_gas(count: int = 2000, length: float = 40.0) -> Atoms:
    positions = np.random.default_rng(3).uniform(0.0, length, (count, 3))
    return Atoms(f"Ar{count}", positions, cell=[length] * 3, pbc=True)


@pytest.mark.parametrize(("atoms", "neighbors"), [(FCC, 12.0), (DIAMOND, 4.0)])
def test_the_first_shell_of_a_warm_crystal_holds_its_neighbours(atoms, neighbors):
    atoms = atoms.copy()
    atoms.rattle(0.08, seed=1)
    assert coordination_numbers(rdf_of(atoms), {atoms.symbols[0]: 1.0}).total == pytest.approx(neighbors, abs=0.02)


def test_a_shell_that_is_given_may_join_the_two_of_bcc():
    assert coordination_numbers(rdf_of(BCC), {"Mo": 1.0}, 3.0).total == pytest.approx(8.0)
    assert coordination_numbers(rdf_of(BCC), {"Mo": 1.0}, 3.7).total == pytest.approx(14.0)


def test_a_shell_ends_where_it_was_said_to():
    simple = Atoms("Mo", [[0.0, 0.0, 0.0]], cell=[3.01] * 3, pbc=True)  # neighbours in the bin that begins at 3.00 Å
    empty = coordination_numbers(rdf_of(simple), {"Mo": 1.0}, 3.0)
    assert empty.total == 0.0 and np.isnan(empty.short_range_order["Mo-Mo"])
    assert coordination_numbers(rdf_of(simple), {"Mo": 1.0}, 3.02).total == pytest.approx(6.0)


def test_an_ideal_gas_has_no_shell():
    with pytest.raises(DataError, match=r"no peak|minimum"):
        first_shell(RadialDistribution(np.arange(0.05, 6.0, 0.1), ("total",), np.ones((1, 60)), np.zeros((1, 60)),
                                       np.ones((1, 60)), "g(r)", 1))


def test_short_range_order_of_an_ordered_and_of_a_random_alloy():
    ordered = BCC.copy()
    ordered.symbols[1::2] = "W"  # the centres of the cubes: every nearest neighbour is of the other kind
    halves = {"Mo": 0.5, "W": 0.5}
    found = coordination_numbers(rdf_of(ordered), halves, 3.0)
    assert found.partial == pytest.approx({"Mo-Mo": 0.0, "Mo-W": 8.0, "W-Mo": 8.0, "W-W": 0.0})
    assert found.short_range_order["Mo-W"] == pytest.approx(-1.0)
    assert found.short_range_order["W-W"] == pytest.approx(1.0)

    mixed = BCC * 2
    chosen = np.random.default_rng(0).permutation(len(mixed))[: len(mixed) // 4]
    mixed.symbols[chosen] = "W"
    found = coordination_numbers(rdf_of(mixed), {"Mo": 0.75, "W": 0.25}, 3.0)
    bonds = 8 * len(mixed) / 2
    assert abs(found.short_range_order["W-Mo"]) < 5.0 / np.sqrt(bonds)
    assert found.partial["Mo-W"] * 0.75 == pytest.approx(found.partial["W-Mo"] * 0.25)


@pytest.mark.parametrize(("atoms", "cutoff", "expected"), [
    (FCC, 3.0, {60.0: 24, 90.0: 12, 120.0: 24, 180.0: 6}),
    (BCC, 3.0, {70.53: 12, 109.47: 12, 180.0: 4}),
    (DIAMOND, 2.8, {109.47: 6}),
])
def test_bond_angles_of_crystals(atoms, cutoff, expected):
    found = bond_angles(frames(atoms), cutoff, 1.0)
    counts = found.density * 1.0 * found.mean_neighbors * (found.mean_neighbors - 1.0) / 2.0
    near = {angle: counts[np.abs(found.angle_deg - angle) < 1.01].sum() for angle in expected}
    assert near == pytest.approx(expected, abs=1e-9)
    assert counts.sum() == pytest.approx(sum(expected.values()))


def test_bond_angles_without_order_follow_the_sine():
    found = bond_angles([(ideal_gas().positions, np.eye(3) * 40.0)], 4.0, 5.0)
    expected = 0.5 * np.sin(np.radians(found.angle_deg)) * np.pi / 180.0
    assert found.density.sum() * 5.0 == pytest.approx(1.0)
    assert np.abs(found.density - expected).max() < 0.06 * expected.max()
    assert np.abs(found.density - 1.0 / 180.0).max() > 0.3 * expected.max()


def test_bond_angles_need_neighbours():
    with pytest.raises(DataError, match="two neighbours"):
        bond_angles(frames(FCC), 1.0)


@pytest.mark.parametrize(("atoms", "index", "faces", "q6"), [
    (FCC, (0, 12, 0, 0), 12.0, 0.57452),  # q6 of fcc: Steinhardt, Nelson & Ronchetti, Phys. Rev. B 28, 784 (1983)
    (BCC, (0, 6, 0, 8), 14.0, 0.56694),
])
def test_voronoi_cells_of_crystals_in_any_orientation(atoms, index, faces, q6):
    turned = atoms.copy()
    turned.rotate(37.0, (1, 2, 3), rotate_cell=True)
    for crystal in (atoms, turned):
        found = voronoi_statistics(frames(crystal))
        assert found.indices[index] == 1.0
        assert (found.faces, found.q6) == pytest.approx((faces, q6), abs=1e-4)
        assert found.icosahedral == 0.0


def test_the_centre_of_an_icosahedron_is_one():
    golden = 0.5 * (1.0 + np.sqrt(5.0))
    corners = np.array([np.roll([0.0, s, t * golden], k) for k in range(3) for s in (1, -1) for t in (1, -1)])
    atoms = Atoms("Cu13", np.concatenate([np.zeros((1, 3)), corners]), cell=[12.0] * 3, pbc=True)
    found = voronoi_statistics(frames(atoms))
    assert found.icosahedral == pytest.approx(1.0 / 13.0)


def test_voronoi_error_bars_allow_for_frames_that_repeat_each_other():
    def gas(seed: int) -> tuple[np.ndarray, np.ndarray]:
        return np.random.default_rng(seed).uniform(0.0, 10.0, (30, 3)), np.eye(3) * 10.0
    once = voronoi_statistics([gas(seed) for seed in range(20)])
    slow = voronoi_statistics([gas(seed // 4) for seed in range(80)])
    assert slow.faces == pytest.approx(once.faces)
    for name in ("faces_stderr", "q6_stderr"):
        assert getattr(slow, name) == pytest.approx(getattr(once, name), rel=0.3)  # half as large were the frames independent


def test_voronoi_cells_of_an_ideal_gas_have_fifteen_and_a_half_faces():
    """48π²/35 + 2 = 15.535 (Meijering, Philips Res. Rep. 8, 270 (1953))."""
    gas = frames(ideal_gas(1000))
    found = voronoi_statistics(gas, small_face=0.0)
    assert abs(found.faces - 15.535) < 4.0 * 3.4 / np.sqrt(found.num_cells)  # their spread is 3.4
    assert voronoi_statistics(gas).faces < 15.0
    assert sum(found.indices.values()) == pytest.approx(1.0)
    with pytest.raises(DataError, match="no frames"):
        voronoi_statistics([])


@pytest.mark.parametrize("atoms", [bulk("Cu", "fcc", a=3.6), bulk("Cu", "fcc", a=3.6, cubic=True), bulk("W", "bcc", a=3.2),
                                   bulk("W", "bcc", a=3.2, cubic=True), bulk("Ti", "hcp", a=2.95, c=4.68)])
def test_cells_of_few_atoms_have_the_order_of_large_ones(atoms):
    small, large = voronoi_statistics(frames(atoms)), voronoi_statistics(frames(atoms * (5, 5, 5)))
    assert (small.faces, small.q6) == pytest.approx((large.faces, large.q6), abs=2e-4)
