"""The nearest minimum of a potential, and the vibrations around it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGSLineSearch

from toolkit.analysis.normal_modes import NormalModes, normal_modes
from toolkit.data.graph import charge_info, require_unconstrained
from toolkit.errors import ConfigError, DataError
from toolkit.interfaces.ase_calculator import Calculator
from toolkit.models.derivatives import hessian
from toolkit.models.potential import Potential
from toolkit.progress import Reporter, SilentReporter

FMAX_EV_PER_A = 1e-4
MAX_STEPS = 2000


@dataclass(frozen=True)
class Relaxed:
    """A stationary structure without calculator, its energy, eV, and largest force, eV/Å, after so many steps."""

    atoms: Atoms
    energy_eV: float
    fmax_eV_per_A: float
    steps: int


def relax(pot: Potential, atoms: Atoms, *, fmax: float = FMAX_EV_PER_A, max_steps: int = MAX_STEPS, cell: bool = False,
          reporter: Reporter | None = None) -> Relaxed:
    """Minimise the energy by BFGS with line searches until no force is larger than `fmax`, eV/Å.

    cell : vary the cell as well (periodic along all three vectors), until volume times stress, eV, is as small
    reporter : hears progress and may stop the work, which then raises DataError like any relaxation without an end
    Raises ConfigError for a potential in float32, DataError when `max_steps` do not suffice, for fixed atoms, and for
    the cell of what is not a crystal.
    """
    require_float64(pot)
    require_unconstrained(atoms, "this relaxation")
    if cell and not atoms.pbc.all():
        raise DataError("found a structure that is not periodic along all three vectors, whose cell cannot be relaxed",
                        "relax it without its cell")
    reporter = reporter or SilentReporter()
    atoms = Atoms(atoms.numbers, atoms.positions, masses=atoms.get_masses(), cell=atoms.cell, pbc=atoms.pbc,
                  info=charge_info(atoms))
    atoms.calc = Calculator(pot)
    moved = FrechetCellFilter(atoms, exp_cell_factor=1.0) if cell else atoms
    with BFGSLineSearch(moved, logfile=None) as optimizer, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "logm result may be inaccurate")  # SciPy, of a strain known to 1e-12
        for _ in optimizer.irun(fmax=fmax, steps=max_steps):
            largest = float(np.linalg.norm(moved.get_forces(), axis=1).max())
            reporter.update(optimizer.nsteps, max_steps, f"relaxing: largest force {largest:.2g} eV/Å")
            if reporter.should_stop():
                break
        steps = optimizer.nsteps
    energy, atoms.calc = atoms.get_potential_energy(), None
    if not largest <= fmax:
        raise DataError(f"the largest force is still {largest:.2g} eV/Å after {steps} steps, expected {fmax:g}",
                        "allow more steps, or start from a structure nearer to a minimum of this potential")
    return Relaxed(atoms, float(energy), largest, steps)


def relax_unless_stopped(pot: Potential, atoms: Atoms, reporter: Reporter, *, fmax: float = FMAX_EV_PER_A,
                         cell: bool = False) -> Relaxed | None:
    """`relax`, or None when it did not end because the reporter asked to stop."""
    try:
        return relax(pot, atoms, fmax=fmax, cell=cell, reporter=reporter)
    except DataError:
        if reporter.should_stop():
            return None
        raise


def vibrations(pot: Potential, atoms: Atoms, chunk_size: int = 16) -> NormalModes:
    """Normal modes from the analytic Hessian of a relaxed molecule, or of a crystal at Γ. Raises ConfigError (float32).

    A molecule in a box that feels no image of itself turns freely: its rotations are taken out as without a box. What repeats
    along one direction only turns freely about that.
    """
    require_float64(pot)
    require_unconstrained(atoms, "a normal mode")
    matrix = cartesian_hessian(pot, atoms, chunk_size)
    axis = atoms.cell.array[atoms.pbc][0] if atoms.pbc.sum() == 1 else None
    return normal_modes(matrix, atoms.positions, atoms.get_masses(), periodic=_feels_images(pot, atoms), axis=axis)


def _feels_images(pot: Potential, atoms: Atoms) -> bool:
    """Whether the energy depends on the cell."""
    return bool(atoms.pbc.any()) and (pot.config.long_range is not None or bool(pot.graph(atoms).cell_shifts.any()))


def cartesian_hessian(pot: Potential, atoms: Atoms, chunk_size: int = 16) -> np.ndarray:
    """Second derivatives d²E/dx_i dx_j, (3N, 3N), eV/Å², float64. chunk_size : rows computed at once

    Raises DataError for anything but one structure with atoms.
    """
    if not isinstance(atoms, Atoms) or not len(atoms):
        raise DataError("found no structure, or several, expected one molecule or crystal", "ask for one after another")
    return hessian(pot.model, pot.graph(atoms), chunk_size).double().cpu().numpy()


def require_float64(pot: Potential) -> None:
    """Raise ConfigError for a potential in single precision: its forces carry noise above the tolerances used here."""
    if pot.dtype != torch.float64:
        raise ConfigError(f"found a potential in {pot.dtype}, vibrations need float64", "load it with dtype='float64'")
