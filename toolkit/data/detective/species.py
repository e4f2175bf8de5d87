"""Elements against geometry: atomic numbers that were permuted give bonds and valences that no molecule has."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from toolkit.data.detective.data_file import DataFile
from toolkit.data.detective.findings import Finding, some
from toolkit.data.neighbors import neighbor_list

BONDS = {1: (1, 1), 6: (2, 4), 7: (1, 4), 8: (1, 3), 9: (1, 1)}
"""Atomic number -> fewest and most neighbours within BONDED; charged and stretched atoms included."""

BONDED = 1.25
"""Times the sum of covalent radii."""

USUAL = (0.75, 1.3)
"""Range of the nearest distance over the sum of covalent radii: 0.93 ± 0.05 in molecules."""

TOO_CLOSE = 0.6
"""Times the sum of covalent radii: such frames are broken in another way (real bonds under wrong names reach 0.64)."""

MISFIT_ATOMS = 0.35
"""Share of atoms from which on a single frame is called wrong; thermal frames have none, a reaction has two atoms."""

USUAL_MISFIT = 0.15
"""The same when it is the median of a file: no molecule of a file is in the middle of a reaction most of the time."""


def permuted_species(file: DataFile) -> list[Finding]:
    """Frames of H, C, N, O, F whose atomic numbers do not fit bond lengths and numbers of bonds.

    Other elements have no bond count to hold against them (a metal's neighbours look alike), so that such frames are
    passed over.
    """
    shares = {t: misfit_share(atoms) for t, atoms in enumerate(file.frames)
              if len(atoms) > 2 and set(atoms.numbers.tolist()) <= BONDS.keys()}
    limit = USUAL_MISFIT if shares and np.median(list(shares.values())) > USUAL_MISFIT else MISFIT_ATOMS
    odd = [t for t, share in shares.items() if share > limit]
    if not odd:
        return []
    share, places = float(np.median([shares[t] for t in odd])), file.places(odd)
    return [Finding("permuted_species", "error",
                    f"Elements do not fit the geometry in {len(odd)} of {len(shares)} frames",
                    f"{share:.0%} of the atoms have impossible bonds (hydrogen with several, carbon with one, lengths "
                    f"off the covalent radii), expected none; {some(places)}", {"misfit_share": share}, places,
                    "Elements and positions are listed in different orders: compare them at the source.")]


def misfit_share(atoms: Atoms) -> float:
    """Share of atoms, 0 … 1, whose nearest distance or number of bonds is impossible for their element.

    0 for frames with atoms nearly on top of each other, which are another fault.
    """
    (i, j), shifts = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 2.0)
    radii = covalent_radii[atoms.numbers]
    lengths = np.linalg.norm(atoms.positions[j] - atoms.positions[i] + shifts @ atoms.cell.array, axis=1)
    ratio = lengths / (radii[i] + radii[j])
    if ratio.size and ratio.min() < TOO_CLOSE:
        return 0.0
    nearest = np.full(len(atoms), np.inf)
    np.minimum.at(nearest, i, ratio)
    count = np.bincount(i[ratio < BONDED], minlength=len(atoms))
    fewest, most = np.array([BONDS[z] for z in atoms.numbers.tolist()]).T
    wrong = (count < fewest) | (count > most) | (nearest < USUAL[0]) | (nearest > USUAL[1])
    return float(np.mean(wrong))
