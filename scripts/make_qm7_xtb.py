"""Forces for QM7-like molecules: twisted and rattled structures of the QM7 training split, GFN2-xTB energies and forces.

    OMP_NUM_THREADS=1 PYTHONPATH=. python scripts/make_qm7_xtb.py ../shared/data/qm7/qm7.extxyz.gz qm7_xtb.extxyz

Energies at minima alone say nothing about the stiffness of a bond; these frames do (docs/molecules.md). In half of the
frames every bond that can turn is set to a random torsion angle: in dynamics all of them turn sooner or later. Needs
`tblite` (`pip install -e .[data]`); 7 ms a frame.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import networkx
import numpy as np
from ase import Atoms
from ase.io import write
from ase.neighborlist import natural_cutoffs, neighbor_list
from label_xtb import labelled

from toolkit.analysis.bond_graph import BondGraph, find_bonds, rotatable_torsions
from toolkit.config import DataConfig, TrainConfig, load_config
from toolkit.data.datasets import load_splits

RATTLE_A = (0.02, 0.09)
"""Range of the standard deviation of displacements: thermal amplitudes from 100 K to about 700 K."""
CONTACT = 1.6
"""A twist that brings atoms closer than this times the sum of their covalent radii is drawn again."""
MAX_FORCE_EV_PER_A = 25.0
"""Frames with larger forces are left out: nothing at 300 K comes there."""
TWISTED_FRACTION = 0.5
TRIES = 20
RECIPE = Path(__file__).parents[1] / "configs" / "qm7_atom_gnn.yaml"


def main() -> None:
    """Draw, rattle, compute, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qm7", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    recipe = load_config(TrainConfig, RECIPE).data
    molecules = load_splits(DataConfig(**{**recipe.model_dump(), "train": str(chosen.qm7)})).train
    rng = np.random.default_rng(chosen.seed)
    frames = []
    for t in rng.permutation(len(molecules))[:chosen.frames]:
        atoms = molecules[t].copy()
        if rng.random() < TWISTED_FRACTION:
            atoms = twisted(atoms, rng)
        atoms.rattle(rng.uniform(*RATTLE_A), rng=rng)
        atoms = labelled(atoms)
        if abs(atoms.get_forces()).max() < MAX_FORCE_EV_PER_A:
            frames.append(atoms)
    write(chosen.out, frames, format="extxyz")


def twisted(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """All rotatable bonds at random angles; the molecule as it was when that brings new atoms together TRIES times."""
    graph = find_bonds(atoms.numbers, atoms.positions)
    turning = rotatable_torsions(graph, atoms.positions[None]).paths.atoms.tolist()
    near = contacts(atoms)
    for _ in range(TRIES if turning else 0):
        turned = atoms.copy()
        for torsion in turning:
            turned.rotate_dihedral(*torsion, angle=rng.uniform(0.0, 360.0), indices=side_of(graph, *torsion[1:3]))
        if contacts(turned) <= near:
            return turned
    return atoms


def contacts(atoms: Atoms) -> set[tuple[int, int]]:
    """Pairs of atoms that touch."""
    return set(zip(*(x.tolist() for x in neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=CONTACT))), strict=True))


def side_of(graph: BondGraph, i: int, j: int) -> list[int]:
    """The atoms that turn with j when the bond i–j does."""
    network = networkx.Graph(zip(graph.i.tolist(), graph.j.tolist(), strict=True))
    network.remove_edge(i, j)
    return sorted(networkx.node_connected_component(network, j))


if __name__ == "__main__":
    main()
