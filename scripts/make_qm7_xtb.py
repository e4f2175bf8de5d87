"""Forces for QM7-like molecules: rattled structures of the QM7 training split with GFN2-xTB energies and forces.

    OMP_NUM_THREADS=1 PYTHONPATH=. python scripts/make_qm7_xtb.py ../shared/data/qm7/qm7.extxyz.gz qm7_xtb.extxyz

Energies at minima alone say nothing about the stiffness of a bond; these frames do (docs/molecules.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from tblite.ase import TBLite

from toolkit.config import DataConfig, TrainConfig, load_config
from toolkit.data.datasets import load_splits

RATTLE_A = (0.02, 0.12)
"""Range of the standard deviation of displacements: thermal amplitudes from 100 K to about 1,000 K."""
RECIPE = Path(__file__).parents[1] / "configs" / "qm7_atom_gnn.yaml"


def main() -> None:
    """Draw, rattle, compute, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qm7", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    recipe = load_config(TrainConfig, RECIPE).data
    molecules = load_splits(DataConfig(**{**recipe.model_dump(), "train": str(chosen.qm7)})).train
    rng = np.random.default_rng(chosen.seed)
    frames = []
    for t in rng.permutation(len(molecules))[:chosen.frames]:
        atoms = molecules[t].copy()
        atoms.rattle(rng.uniform(*RATTLE_A), rng=rng)
        atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        frames.append(atoms)
    write(chosen.out, frames, format="extxyz")


main()
