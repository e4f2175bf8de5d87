"""Structures as pictures: a compact scene for the 3D viewer of the app, and a self-contained page for a notebook.

A scene travels as one block of bytes: the length of the header (4 bytes, little endian), the header as JSON padded to a
multiple of 4, then T records of float32, one a frame. The records of a long scene stay in a file of their own, from
which the browser fetches what it shows (see `toolkit.ui.viewer`). A record holds, in this order, a number to show
beside the slider, positions (N, 3) in Å, for periodic systems the cell (3, 3) in Å with lattice vectors as rows, for
each set of arrows its starts (K, 3) and its vectors (K, 3), and for each coloring its values (N,). T frames, N atoms,
K arrows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import py3Dmol
from ase import Atoms
from ase.neighborlist import natural_cutoffs, neighbor_list

from toolkit.errors import DataError

MAX_FRAMES = 20_000
MAX_COORDINATES = 30_000_000
BOND_TOLERANCE = 1.15
"""Two atoms are drawn bonded when closer than this times the sum of their covalent radii."""
MAX_ATOMS_WITH_BONDS = 5000


@dataclass(frozen=True)
class Arrows:
    """Arrows of one look, such as the forces on all atoms.

    starts, vectors : arrays, (T, K, 3), float32, Å of the picture
    color : as in HTML;  radius : Å;  heads : False draws rods
    """

    starts: np.ndarray
    vectors: np.ndarray
    color: str
    radius: float = 0.06
    heads: bool = True


@dataclass(frozen=True)
class Coloring:
    """A quantity that atoms can be coloured by. values : array, (T, N), ≥ 0;  top : value of the brightest colour"""

    name: str
    unit: str
    values: np.ndarray
    top: float


def vector_coloring(name: str, unit: str, vectors: np.ndarray) -> Coloring:
    """Colours for the lengths of vectors (T, N, 3), in `unit`, up to their 99th percentile."""
    lengths = np.linalg.norm(vectors, axis=-1)
    return Coloring(name, unit, lengths, float(np.percentile(lengths, 99.0)) or 1.0)


@dataclass(frozen=True)
class Scene:
    """Frames of one set of atoms for the viewer.

    symbols : N element symbols
    positions : array, (T, N, 3), float32, Å
    cells : array, (T or 1, 3, 3), float32, Å, or None when nothing is periodic
    bonds : pairs of atom indices
    label : text beside the slider, in which # stands for the number of the frame; "" counts the frames
    numbers : array, (T,), such as the times of the frames, fs, or None for 0, 1, …
    arrows, colorings : sets of arrows; what atoms can be coloured by
    frames_left_out : how many frames of the source were thinned out
    """

    symbols: tuple[str, ...]
    positions: np.ndarray
    cells: np.ndarray | None = None
    bonds: tuple[tuple[int, int], ...] = ()
    label: str = ""
    numbers: np.ndarray | None = None
    arrows: tuple[Arrows, ...] = ()
    colorings: tuple[Coloring, ...] = ()
    frames_left_out: int = field(default=0, compare=False)

    @property
    def record_size(self) -> int:
        """How many numbers stand for a frame."""
        cell = 0 if self.cells is None else 9
        arrows = sum(6 * arrows.starts.shape[1] for arrows in self.arrows)
        return 1 + cell + arrows + len(self.symbols) * (3 + len(self.colorings))

    def records(self) -> np.ndarray:
        """The numbers of all frames, (T, F), float32, as described at the top."""
        frames = len(self.positions)
        parts = [np.arange(frames) if self.numbers is None else self.numbers, self.positions]
        if self.cells is not None:
            parts.append(np.broadcast_to(self.cells, (frames, 3, 3)))
        parts += [part for arrows in self.arrows for part in (arrows.starts, arrows.vectors)]
        parts += [coloring.values for coloring in self.colorings]
        return np.concatenate([np.reshape(part, (frames, -1)) for part in parts], axis=1, dtype=np.float32)

    def pack(self, settings: Mapping[str, Any], records: np.ndarray | None = None) -> bytes:
        """The scene as bytes.

        settings : goes into the header (addresses, names)
        records : (T, F), float32, instead of those of this scene; those in a file are left out with an empty array
        """
        records = self.records() if records is None else records
        header = {"symbols": self.symbols, "bonds": self.bonds, "label": self.label, "periodic": self.cells is not None,
                  "frames": len(records), "arrows": [{"color": a.color, "radius": a.radius, "heads": a.heads,
                                                      "count": a.starts.shape[1]} for a in self.arrows],
                  "colorings": [{"name": c.name, "unit": c.unit, "top": c.top} for c in self.colorings], **settings}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 4)
        return b"".join([len(text).to_bytes(4, "little"), text, records.tobytes()])


def thinning_step(num_frames: int, num_atoms: int) -> int:
    """Every how many frames one is shown, so that they stay within reasonable bounds: 1 shows all."""
    limit = max(1, min(MAX_FRAMES, MAX_COORDINATES // max(3 * num_atoms, 1)))
    return max(1, -(-num_frames // limit))


def atoms_scene(atoms: Atoms, positions: np.ndarray, label: str = "") -> Scene:
    """A scene from positions of the same atoms.

    atoms : elements, cell and bonds (from its positions)
    positions : array, (T, N, 3), Å
    """
    return Scene(symbols=tuple(atoms.get_chemical_symbols()), positions=np.asarray(positions, dtype=np.float32),
                 cells=np.asarray(atoms.cell.array[None], dtype=np.float32) if atoms.pbc.any() else None,
                 bonds=find_bonds(atoms), label=label)


def frames_scene(frames: Sequence[Atoms], label: str = "", numbers: np.ndarray | None = None) -> Scene:
    """A scene from frames that all hold the same atoms in the same order; very long series are thinned.

    label, numbers : see `Scene`
    Raises DataError when the frames hold different atoms.
    """
    first = frames[0]
    chosen = np.arange(0, len(frames), thinning_step(len(frames), len(first)))
    if any(not np.array_equal(frames[i].numbers, first.numbers) for i in chosen):
        raise DataError("the frames hold different atoms, expected the same atoms in every frame",
                        "show one frame at a time")
    scene = atoms_scene(first, np.stack([frames[i].positions for i in chosen]), label)
    cells = None if scene.cells is None else np.stack([frames[i].cell.array for i in chosen]).astype(np.float32)
    return replace(scene, cells=cells, numbers=chosen if numbers is None else np.asarray(numbers)[chosen],
                   frames_left_out=len(frames) - len(chosen))


def find_bonds(atoms: Atoms) -> tuple[tuple[int, int], ...]:
    """Pairs of atoms close enough to be drawn bonded. Bonds through a periodic boundary are not drawn."""
    if not 1 < len(atoms) <= MAX_ATOMS_WITH_BONDS:
        return ()
    isolated = Atoms(atoms.numbers, atoms.positions)
    centres, neighbours = neighbor_list("ij", isolated, natural_cutoffs(isolated, mult=BOND_TOLERANCE))
    return tuple((int(i), int(j)) for i, j in zip(centres, neighbours, strict=True) if i < j)


def cell_edges(cell: np.ndarray) -> list[tuple[list[float], list[float]]]:
    """The twelve edges of a cell, each as (start, end), Å. cell : array, (3, 3), rows are lattice vectors, Å."""
    corners = [np.array(corner) for corner in product((0, 1), repeat=3)]
    return [((corner @ cell).tolist(), ((corner + axis) @ cell).tolist())
            for axis in np.eye(3, dtype=int) for corner in corners if corner @ axis == 0]


def structure_html(atoms: Atoms, js: str = "https://cdn.jsdelivr.net/npm/3dmol@2.5.5/build/3Dmol-min.js",
                   width: int = 480, height: int = 360) -> str:
    """One structure as HTML that draws itself with 3Dmol.js.

    js : address of 3Dmol-min.js; give a local one to work without a network
    """
    lines = [f"{symbol} {x:.5f} {y:.5f} {z:.5f}"
             for symbol, (x, y, z) in zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)]
    view = py3Dmol.view(width=width, height=height, js=js)
    view.addModel("\n".join([str(len(atoms)), "", *lines]), "xyz")
    view.setStyle({"stick": {"radius": 0.14, "colorscheme": "Jmol"}, "sphere": {"scale": 0.26, "colorscheme": "Jmol"}})
    for start, end in cell_edges(atoms.cell.array) if atoms.pbc.any() else ():
        view.addLine({"start": dict(zip("xyz", start, strict=True)), "end": dict(zip("xyz", end, strict=True))})
    view.zoomTo()
    return view.write_html()
