"""What is measured: the reference model aspirin-L2, aspirin itself, and a periodic box of any size."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from toolkit.config import ModelConfig
from toolkit.data.formats import read_frames

ASPIRIN = "embedded:aspirin"
REFERENCE_MODEL = ModelConfig(species=("H", "C", "O"), r_max=5.0, num_layers=5, l_max=2, parity=False, num_features=64,
                              num_bessels=8, radial_mlp_depth=1, radial_mlp_width=64, avg_num_neighbors=14.6, seed=0)
"""aspirin-L2: 0e+1o+2e with 64 channels each, five layers; random weights, which cost what trained ones cost."""

NEIGHBORS_IN_BOX = 50.0
"""Mean number of atoms within 5 Å of each atom of a box: about the density of a molecular crystal."""


def aspirin(count: int = 1) -> list[Atoms]:
    """Frames of an aspirin trajectory, 21 atoms each, repeated when there are too few."""
    frames = read_frames(ASPIRIN).frames
    return [frames[k % len(frames)] for k in range(count)]


def box(num_atoms: int, seed: int = 0) -> Atoms:
    """A cubic periodic box of C9H8O4 composition with about 50 neighbours within 5 Å of each atom.

    Atoms sit near random sites of a simple cubic grid, so that none are closer than 1 Å.
    """
    random = np.random.default_rng(seed)
    density = NEIGHBORS_IN_BOX / (4.0 / 3.0 * np.pi * 5.0**3)
    length = (num_atoms / density) ** (1.0 / 3.0)
    sites = int(np.ceil(num_atoms ** (1.0 / 3.0)))
    spacing = length / sites
    chosen = random.permutation(sites**3)[:num_atoms]
    grid = np.stack(np.unravel_index(chosen, (sites,) * 3), axis=1)
    jitter = random.uniform(-1.0, 1.0, (num_atoms, 3)) * 0.5 * (spacing - 1.0) / np.sqrt(3.0)
    symbols = random.permutation(np.resize(list("CCCCCCCCCHHHHHHHHOOOO"), num_atoms))
    return Atoms(symbols, positions=(grid + 0.5) * spacing + jitter, cell=[length] * 3, pbc=True)
