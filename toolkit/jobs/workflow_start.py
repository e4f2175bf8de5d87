"""The crystal that a workflow begins with: a frame of a file, or a random solid solution."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk

from toolkit.errors import DataError
from toolkit.jobs.sources import starting_structure
from toolkit.jobs.workflow_config import CrystalConfig


def start_crystal(config: CrystalConfig, repeats: tuple[int, int, int] | None = None) -> Atoms:
    """The structure of a configuration. repeats : another size of the same lattice and composition

    Raises DataError when it is not periodic in all directions, or has fewer atoms than elements.
    """
    if config.source is not None:
        atoms = starting_structure(config.source, config.frame)
        if not atoms.pbc.all():
            raise DataError(f"{config.source} has pbc {atoms.pbc.tolist()}, a melt needs all three",
                            "give a crystal, or a lattice to build")
        return atoms
    elements = sorted(config.composition)
    atoms = bulk(elements[0], config.lattice, a=config.lattice_constant_A, cubic=True) * (repeats or config.repeats)
    counts = atom_counts(config.composition, len(atoms))
    symbols = np.repeat(elements, [counts[element] for element in elements])
    atoms.symbols[:] = np.random.default_rng(config.seed).permutation(symbols)
    return atoms


def atom_counts(composition: dict[str, float], num_atoms: int) -> dict[str, int]:
    """Whole numbers of atoms nearest to the shares (largest remainders). Raises DataError when one would be none."""
    total = sum(composition.values())
    exact = {element: num_atoms * share / total for element, share in composition.items()}
    counts = {element: int(number) for element, number in exact.items()}
    by_remainder = sorted(exact, key=lambda element: exact[element] - counts[element], reverse=True)
    for element in by_remainder[:num_atoms - sum(counts.values())]:
        counts[element] += 1
    if min(counts.values()) == 0:
        raise DataError(f"found {num_atoms} atoms for {composition}, some elements get none", "build a larger cell")
    return counts
