"""What travels to the 3D viewer, and the self-contained picture."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from toolkit.errors import DataError
from toolkit.figures.structures import (MAX_FRAMES, cell_edges, find_bonds, frames_scene, structure_html, thinning_step,
                                        trajectory_scene)


def unpack(data: bytes) -> tuple[dict, np.ndarray]:
    length = int.from_bytes(data[:4], "little")
    return json.loads(data[4:4 + length]), np.frombuffer(data[4 + length:], dtype="<f4")


def test_packed_scene_holds_header_positions_and_cells() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    moved = atoms.copy()
    moved.positions += 0.1
    moved.set_cell(atoms.cell * 1.1)
    data = frames_scene([atoms, moved], ["first", "zweiter Å"]).pack({"view": "x"})
    header, numbers = unpack(data)
    assert (header["view"], header["symbols"], header["frames"], header["cells"]) == ("x", ["Na", "Cl"], 2, 2)
    assert header["labels"] == ["first", "zweiter Å"] and (len(data) - numbers.nbytes) % 4 == 0
    positions, cells = numbers[:12].reshape(2, 2, 3), numbers[12:].reshape(2, 3, 3)
    np.testing.assert_allclose(positions[1], moved.positions, atol=1e-6)
    np.testing.assert_allclose(cells[1], moved.cell.array, atol=1e-6)


def test_molecules_have_no_cell() -> None:
    header, numbers = unpack(frames_scene([molecule("H2O")]).pack({}))
    assert header["cells"] == 0 and numbers.size == 9


@pytest.mark.parametrize(("frames", "atoms", "step"), [(1, 3, 1), (MAX_FRAMES, 21, 1), (MAX_FRAMES + 1, 21, 2),
                                                       (10_000, 21, 5), (1000, 100_000, 20), (5, 10**9, 5)])
def test_long_and_large_trajectories_are_thinned(frames: int, atoms: int, step: int) -> None:
    assert thinning_step(frames, atoms) == step and len(range(0, frames, step)) <= MAX_FRAMES


def test_thinned_frames_keep_their_labels_and_are_counted() -> None:
    frames = [Atoms("H", [[float(k), 0.0, 0.0]]) for k in range(5000)]
    scene = frames_scene(frames, [str(k) for k in range(5000)])
    assert scene.frames_left_out == 5000 - len(scene.positions) > 0
    assert [float(label) for label in scene.labels] == scene.positions[:, 0, 0].tolist()
    scene = trajectory_scene(frames[0], np.zeros((4, 1, 3)), ["a", "b", "c", "d"], frames_left_out=3)
    assert scene.positions.shape == (4, 1, 3) and scene.frames_left_out == 3


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
