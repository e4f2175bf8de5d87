"""What travels to the 3D viewer, and the self-contained picture."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from tests.packed_scene import unpack
from toolkit.errors import DataError
from toolkit.figures.structures import (MAX_FRAMES, atoms_scene, cell_edges, find_bonds, frames_scene, structure_html,
                                        thinning_step, vector_coloring)


def test_packed_scene_holds_header_numbers_positions_and_cells() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    moved = atoms.copy()
    moved.positions += 0.1
    moved.set_cell(atoms.cell * 1.1)
    scene = frames_scene([atoms, moved], "# Å", np.array([3, 9]))
    header, found = unpack(scene.pack({"view": "ä"}))
    assert (header["view"], header["symbols"], header["frames"], header["label"]) == ("ä", ["Na", "Cl"], 2, "# Å")
    assert found["numbers"].tolist() == [3.0, 9.0] and scene.records().shape == (2, scene.record_size)
    np.testing.assert_allclose(found["positions"][1], moved.positions, atol=1e-6)
    np.testing.assert_allclose(found["cells"][1], moved.cell.array, atol=1e-6)


def test_a_cell_that_stays_is_in_every_record_and_molecules_have_none() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    _, found = unpack(atoms_scene(atoms, np.stack([atoms.positions] * 3)).pack({}))
    np.testing.assert_allclose(found["cells"], np.stack([atoms.cell.array] * 3), atol=1e-6)
    assert unpack(frames_scene([molecule("H2O")]).pack({}))[1]["cells"] is None


def test_frames_in_a_file_are_left_out() -> None:
    scene = frames_scene([molecule("H2O")] * 5)
    data = scene.pack({"frames": 5, "address": "x"}, scene.records()[:0])
    assert len(data) == 4 + int.from_bytes(data[:4], "little")


def test_colours_reach_from_nothing_to_all_but_the_largest_hundredth() -> None:
    vectors = np.zeros((2, 100, 3))
    vectors[0, :, 1] = np.arange(100)
    coloring = vector_coloring("force", "eV/Å", vectors)
    assert coloring.values.shape == (2, 100) and coloring.values[0, 7] == 7.0
    assert coloring.top == np.percentile(coloring.values, 99.0)
    assert vector_coloring("force", "eV/Å", np.zeros((1, 2, 3))).top == 1.0


@pytest.mark.parametrize(("frames", "atoms", "step"), [
    (1, 3, 1), (10_000, 21, 1), (10_000, 1000, 1), (MAX_FRAMES, 21, 1), (MAX_FRAMES + 1, 21, 2), (1000, 100_000, 10),
    (5, 10**9, 5)])
def test_very_long_and_large_trajectories_are_thinned(frames: int, atoms: int, step: int) -> None:
    assert thinning_step(frames, atoms) == step and len(range(0, frames, step)) <= MAX_FRAMES


def test_thinned_frames_keep_their_numbers_and_are_counted() -> None:
    count = MAX_FRAMES + 10
    frames = [Atoms("H", [[float(k), 0.0, 0.0]]) for k in range(count)]
    scene = frames_scene(frames, "frame #", np.arange(count))
    assert scene.frames_left_out == count - len(scene.positions) > 0
    assert scene.numbers.tolist() == scene.positions[:, 0, 0].tolist()


def test_bonds_of_known_molecules() -> None:
    assert len(find_bonds(molecule("CH3CH2OH"))) == 8
    assert find_bonds(molecule("H2O")) == ((0, 1), (0, 2))
    assert find_bonds(Atoms("Ar")) == () and find_bonds(Atoms("ArAr", [[0, 0, 0], [0, 0, 4.0]])) == ()
    across = Atoms("H2", [[0, 0, 0.1], [0, 0, 9.6]], cell=[10, 10, 10], pbc=True)
    assert find_bonds(across) == ()


def test_frames_of_different_atoms_are_refused() -> None:
    with pytest.raises(DataError, match="different atoms"):
        frames_scene([molecule("H2O"), molecule("CO2")])


def test_cell_edges_are_the_three_vectors_four_times_each() -> None:
    cell = np.array([[2.0, 0, 0], [0.5, 3.0, 0], [0, 0.2, 4.0]])
    edges = np.array(cell_edges(cell))
    assert edges.shape == (12, 2, 3)
    vectors, counts = np.unique(np.round(edges[:, 1] - edges[:, 0], 9), axis=0, return_counts=True)
    np.testing.assert_allclose(np.sort(vectors, axis=0), np.sort(cell, axis=0))
    assert counts.tolist() == [4, 4, 4]


def test_html_picture_uses_the_given_library() -> None:
    html = structure_html(bulk("Si"), js="/app/static/3Dmol-min.js")
    assert "/app/static/3Dmol-min.js" in html and "cdn" not in html
    assert html.count("addLine") == 12 and structure_html(molecule("H2O")).count("addLine") == 0
