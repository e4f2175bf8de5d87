"""Graphs: edge vectors, labels, batches and what they refuse, with the conventions of toolkit/data/graph.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.neighborlist import primitive_neighbor_list

from toolkit.data.graph import collate, edge_vectors, graph_from_atoms
from toolkit.errors import DataError

R_MAX = 3.2


def test_edge_vectors_are_those_of_ase(structure: Atoms) -> None:
    graph = graph_from_atoms(structure, R_MAX)
    vectors = edge_vectors(graph, graph.positions, graph.cell).numpy()
    i, j, expected = primitive_neighbor_list("ijD", structure.pbc, structure.cell.array, structure.positions, R_MAX,
                                             self_interaction=False)
    assert graph.num_edges == len(i) > 10
    rows = np.column_stack([graph.edge_index.numpy().T, vectors])
    reference = np.column_stack([i, j, expected])
    ordered = [table[np.lexsort(table.round(6).T)] for table in (rows, reference)]
    np.testing.assert_allclose(*ordered, atol=1e-9)


def test_edge_vectors_follow_a_strain(triclinic: Atoms) -> None:
    graph = graph_from_atoms(triclinic, R_MAX)
    strain = torch.eye(3, dtype=torch.float64) + 0.01 * torch.arange(9.0, dtype=torch.float64).reshape(3, 3)
    strained = edge_vectors(graph, graph.positions @ strain, graph.cell @ strain)
    torch.testing.assert_close(strained, edge_vectors(graph, graph.positions, graph.cell) @ strain)


def test_batches_keep_structures_apart(ethanol: Atoms, triclinic: Atoms) -> None:
    single = [graph_from_atoms(atoms, R_MAX) for atoms in (ethanol, triclinic, ethanol)]
    batch = collate(single)
    assert batch.num_structures == 3 and batch.num_atoms == sum(g.num_atoms for g in single)
    assert batch.atoms_per_structure().tolist() == [g.num_atoms for g in single]
    assert (batch.batch[batch.edge_index[0]] == batch.batch[batch.edge_index[1]]).all()
    joined = torch.cat([edge_vectors(g, g.positions, g.cell) for g in single])
    torch.testing.assert_close(edge_vectors(batch, batch.positions, batch.cell), joined, rtol=0, atol=0)
    nested = collate([collate(single[:2]), single[2]])
    for name in ("edge_index", "batch", "cell", "pbc", "positions"):
        assert torch.equal(getattr(nested, name), getattr(batch, name))
    assert not batch.periodic and single[1].periodic


def test_labels_with_nan_where_absent(triclinic: Atoms, ethanol: Atoms) -> None:
    triclinic.calc = SinglePointCalculator(triclinic, energy=-3.0, stress=np.arange(1.0, 7.0),
                                           forces=np.ones((len(triclinic), 3)))
    labelled, bare = graph_from_atoms(triclinic, R_MAX), graph_from_atoms(ethanol, R_MAX)
    np.testing.assert_array_equal(labelled.labels["stress"][0].numpy(), [[1, 6, 5], [6, 2, 4], [5, 4, 3]])
    batch = collate([labelled, bare])
    assert batch.labels["energy"][0] == -3.0 and batch.labels["energy"].isnan().tolist() == [False, True]
    forces = batch.labels["forces"]
    assert forces[:len(triclinic)].eq(1.0).all() and forces[len(triclinic):].isnan().all()
    assert batch.labels["stress"].shape == (2, 3, 3)
    assert labelled.positions.dtype == torch.float64 and labelled.edge_index.dtype == torch.int64


def test_structures_without_a_neighbour_list_are_refused(triclinic: Atoms) -> None:
    triclinic.positions[0, 0] = np.nan
    with pytest.raises(DataError, match="NaN or infinite"):
        graph_from_atoms(triclinic, R_MAX)


def test_labels_are_those_of_this_structure() -> None:
    """One calculator for several structures knows the last; results of a structure that moved since are of none."""
    shared, pair = LennardJones(), [Atoms("Ar2", [[0.0, 0.0, 0.0], [0.0, 0.0, distance]]) for distance in (1.1, 1.3)]
    for atoms in pair:
        atoms.calc = shared
        atoms.get_forces()
    first, last = (graph_from_atoms(atoms, R_MAX).labels for atoms in pair)
    assert torch.isnan(first["forces"]).all() and torch.isnan(first["energy"]).all()
    assert np.array_equal(last["forces"].numpy(), shared.results["forces"])
    moved = Atoms("Ar2", [[0.0, 0.0, 0.0], [0.0, 0.0, 1.1]])
    moved.calc = SinglePointCalculator(moved, energy=1.0, forces=np.ones((2, 3)))
    assert graph_from_atoms(moved, R_MAX).labels["energy"].item() == 1.0
    moved.positions[1, 2] += 0.1
    assert torch.isnan(graph_from_atoms(moved, R_MAX).labels["energy"]).all()


def test_labels_that_are_none_or_of_another_shape() -> None:
    atoms = Atoms("Ar2", [[0.0, 0.0, 0.0], [0.0, 0.0, 1.1]])
    atoms.calc = SinglePointCalculator(atoms, energy=1.0)
    atoms.calc.results["forces"] = None
    assert torch.isnan(graph_from_atoms(atoms, R_MAX).labels["forces"]).all()
    atoms.calc.results["forces"] = np.ones((3, 3))
    with pytest.raises(DataError, match="labels of shapes"):
        graph_from_atoms(atoms, R_MAX)


@pytest.mark.parametrize(("atoms", "words"), [
    (Atoms("HO", np.zeros((2, 3))), "atoms 0 .H. and 1 .O. in the same place"),
    (Atoms("H2", [[0.0, 0.0, 0.0], [5.0, 0.0, 0.0]], cell=[5.0] * 3, pbc=True), "its image along")])
def test_atoms_in_one_place_are_named(atoms: Atoms, words: str) -> None:
    with pytest.raises(DataError, match=words):
        graph_from_atoms(atoms, R_MAX)
