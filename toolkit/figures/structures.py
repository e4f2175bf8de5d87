"""Structures as pictures: a compact scene for the 3D viewer of the app, and a self-contained page for a notebook.

A scene is one block of bytes: the length of the header (4 bytes, little endian), the header as JSON padded to a
multiple of 4, then float32 positions (T, N, 3) in Å and, for periodic systems, float32 cells (T or 1, 3, 3) in Å with
lattice vectors as rows, then for each set of arrows its starts (T, K, 3) and its vectors (T, K, 3). T frames, N atoms,
K arrows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import py3Dmol
from ase import Atoms
from ase.data import chemical_symbols
from ase.neighborlist import natural_cutoffs, neighbor_list

from toolkit.errors import DataError

MAX_FRAMES = 2000
MAX_COORDINATES = 15_000_000
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
class Scene:
    """Frames of one set of atoms for the viewer.

    symbols : N element symbols
    positions : array, (T, N, 3), float32, Å
    cells : array, (T or 1, 3, 3), float32, Å, or None when nothing is periodic
    bonds : pairs of atom indices
    labels : T texts shown beside the slider, or empty
    arrows : sets of arrows
    frames_left_out : how many frames of the source were thinned out
    """

    symbols: tuple[str, ...]
    positions: np.ndarray
    cells: np.ndarray | None = None
    bonds: tuple[tuple[int, int], ...] = ()
    labels: tuple[str, ...] = ()
    arrows: tuple[Arrows, ...] = ()
    frames_left_out: int = field(default=0, compare=False)

    def pack(self, settings: dict[str, str]) -> bytes:
        """The scene as bytes, with `settings` (addresses, names) in its header."""
        header = {**settings, "symbols": self.symbols, "frames": len(self.positions), "bonds": self.bonds,
                  "labels": self.labels, "cells": 0 if self.cells is None else len(self.cells),
                  "arrows": [{"color": a.color, "radius": a.radius, "heads": a.heads, "count": a.starts.shape[1]}
                             for a in self.arrows]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 4)
        numbers = [self.positions, *([] if self.cells is None else [self.cells])]
        numbers += [part for arrows in self.arrows for part in (arrows.starts, arrows.vectors)]
        return b"".join([len(text).to_bytes(4, "little"), text, *(part.tobytes() for part in numbers)])


def thinning_step(num_frames: int, num_atoms: int) -> int:
    """Every how many frames one is shown, so that a browser plays them smoothly: 1 shows all."""
    limit = max(1, min(MAX_FRAMES, MAX_COORDINATES // max(3 * num_atoms, 1)))
    return max(1, -(-num_frames // limit))


def trajectory_scene(atoms: Atoms, positions: np.ndarray, labels: Sequence[str] = (),
                     frames_left_out: int = 0) -> Scene:
    """A scene from a trajectory that was thinned when it was read (see `thinning_step`).

    atoms : elements, cell and bonds (from its positions)
    positions : array, (T, N, 3), Å
    labels : T texts, one a frame
    frames_left_out : frames of the trajectory that are not among them
    """
    return Scene(symbols=tuple(atoms.get_chemical_symbols()),
                 positions=np.ascontiguousarray(positions, dtype=np.float32),
                 cells=np.asarray(atoms.cell.array[None], dtype=np.float32) if atoms.pbc.any() else None,
                 bonds=find_bonds(atoms), labels=tuple(labels), frames_left_out=frames_left_out)


def frames_scene(frames: Sequence[Atoms], labels: Sequence[str] = ()) -> Scene:
    """A scene from frames that all hold the same atoms in the same order; long series are thinned.

    Raises DataError when the frames hold different atoms.
    """
    first = frames[0]
    chosen = range(0, len(frames), thinning_step(len(frames), len(first)))
    if any(not np.array_equal(frames[i].numbers, first.numbers) for i in chosen):
        raise DataError("the frames hold different atoms, expected the same atoms in every frame",
                        "show one frame at a time")
    cells = np.stack([frames[i].cell.array for i in chosen]).astype(np.float32) if first.pbc.any() else None
    return Scene(symbols=tuple(first.get_chemical_symbols()),
                 positions=np.stack([frames[i].positions for i in chosen]).astype(np.float32), cells=cells,
                 bonds=find_bonds(first), labels=tuple(labels[i] for i in chosen) if labels else (),
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
