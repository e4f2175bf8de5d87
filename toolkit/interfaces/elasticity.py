"""Elastic constants of a potential: stresses of strained cells with relaxed ions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress

from toolkit.analysis.elastic import CubicConstants, cubic_constants, strain_matrix, strain_set
from toolkit.interfaces.relaxation import Relaxed, relax_unless_stopped
from toolkit.models.potential import Potential
from toolkit.progress import Reporter, SilentReporter

FMAX_EV_PER_A = 1e-5
"""Far below what strains of 0.5 % do to the atoms of a soft crystal, 1e-3 eV/Å: else these would never be relaxed."""


@dataclass(frozen=True)
class Elasticity:
    """The relaxed cell, and its elastic constants with free and with clamped ions."""

    relaxed: Relaxed
    constants: CubicConstants
    clamped: CubicConstants


def elastic_constants(pot: Potential, atoms: Atoms, *, strain: float = 0.005, fmax: float = FMAX_EV_PER_A,
                      reporter: Reporter | None = None) -> Elasticity | None:
    """Cubic constants of the cell of lowest energy, by central differences of the stress; None when asked to stop.

    strain : of each difference, both ways;  fmax : largest force left, eV/Å
    Raises ConfigError for a potential in float32, DataError for a relaxation without an end.
    """
    reporter = reporter or SilentReporter()
    relaxed = relax_unless_stopped(pot, atoms, reporter, fmax=fmax, cell=True)
    if relaxed is None:
        return None
    strains = strain_set(strain)
    clamped, free = [], []
    for voigt in strains:
        strained = relaxed.atoms.copy()
        strained.set_cell(strained.cell.array @ (np.eye(3) + strain_matrix(voigt)), scale_atoms=True)
        clamped.append(_stress(pot, strained))
        at_rest = relax_unless_stopped(pot, strained, reporter, fmax=fmax)
        if at_rest is None:
            return None
        free.append(_stress(pot, at_rest.atoms))
    return Elasticity(relaxed, cubic_constants(strains, np.array(free)), cubic_constants(strains, np.array(clamped)))


def _stress(pot: Potential, atoms: Atoms) -> np.ndarray:
    """(6,), eV/Å³, Voigt order, tensile positive."""
    return full_3x3_to_voigt_6_stress(pot.predict(atoms)["stress"])
