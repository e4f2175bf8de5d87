"""QM7 as published: a MATLAB file with padded arrays of 7,165 molecules."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from ase import Atoms
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from toolkit.data.raw_frames import RawFrames, UnitStatement
from toolkit.errors import DataError, one_line

BROKEN = (MatReadError, OSError, ValueError, KeyError, TypeError, IndexError, NotImplementedError, zlib.error)
"""What is raised on files that are no complete MATLAB file of version 4 to 7.2, or of another layout."""


def read_qm7(path: Path) -> RawFrames:
    """Structures (Bohr) and PBE0 atomisation energies (kcal/mol) of `qm7.mat`: R (T, 23, 3), Z (T, 23), T (1, T).

    Rupp et al., Phys. Rev. Lett. 108, 058301 (2012). Raises DataError for another file.
    """
    try:
        stored = loadmat(path, variable_names=("R", "Z", "T"))
        numbers, positions, energies = stored["Z"].astype(int), stored["R"].astype(float), stored["T"].ravel()
        structures = [Atoms(numbers=z[z > 0], positions=x[z > 0]) for z, x in zip(numbers, positions, strict=True)]
        labels = [float(energy) for energy in np.broadcast_to(energies, len(structures))]
    except BROKEN as error:
        raise DataError(f"{path} does not hold the arrays R, Z and T of QM7 ({one_line(error)[:100]})",
                        "give qm7.mat as published, or convert the file to extended XYZ") from None
    nothing = [None] * len(structures)
    return RawFrames(format="QM7", structures=structures, energies=labels, forces=nothing, stresses=nothing,
                     dipoles=nothing, keys={"energy": "T", "forces": None, "stress": None},
                     statement=UnitStatement("kcal/mol", "Bohr", "the QM7 format"))
