"""GFN2-xTB energies and forces for frames of molecules and for rattled copies of them: much to learn before the few frames
of a better method (docs/training.md, "Going on from a cheaper method").

    OMP_NUM_THREADS=1 PYTHONPATH=. python scripts/label_xtb.py embedded:aspirin aspirin_xtb.extxyz --copies 10

Reads what `toolkit.read_frames` reads, one source or several; labels that the frames carry are not used.
Needs `tblite` (`pip install -e .[data]`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from rich.progress import track

import toolkit
from toolkit.data.graph import total_charge
from toolkit.errors import ToolkitError

try:
    from tblite.ase import TBLite
except ImportError:
    sys.exit("GFN2-xTB needs tblite, which is not installed here: pip install -e '.[data]'")

RATTLE_A = (0.01, 0.05)
"""Range of the standard deviation of displacements: about what stiff bonds do between room temperature and 700 K."""


def main() -> None:
    """Read, rattle, compute, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("out", type=Path)
    parser.add_argument("--copies", type=int, default=10, help="rattled copies of each frame beside the frame itself")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    frames = []
    given = [frame for source in chosen.sources for frame in toolkit.read_frames(source).frames]
    given = [given[k] for k in rng.permutation(len(given))]
    for frame in track(given, "GFN2-xTB"):
        frames.append(labelled(frame.copy()))
        for _ in range(chosen.copies):
            atoms = frame.copy()
            atoms.rattle(rng.uniform(*RATTLE_A), rng=rng)
            frames.append(labelled(atoms))
    write(chosen.out, frames, format="extxyz")


def labelled(atoms: Atoms) -> Atoms:
    """The same atoms with their GFN2-xTB energy and forces."""
    atoms.calc = TBLite(method="GFN2-xTB", charge=total_charge(atoms), verbosity=0)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


if __name__ == "__main__":
    try:
        main()
    except ToolkitError as error:
        sys.exit(str(error))
