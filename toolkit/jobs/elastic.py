"""Elastic constants of a crystal by a potential, with the moduli of many grains of it, as plain numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from toolkit.analysis.elastic import CubicConstants
from toolkit.analysis.phonons import require_crystal
from toolkit.analysis.polycrystal import is_stable, least_stiffness_GPa, polycrystal
from toolkit.config import StrictModel
from toolkit.interfaces.elasticity import FMAX_EV_PER_A, elastic_constants
from toolkit.jobs.frame_files import write_frames
from toolkit.jobs.modes import RELAXED_FILE
from toolkit.jobs.run_dir import make_folder
from toolkit.jobs.sources import starting_structure
from toolkit.models.potential import load_potential
from toolkit.progress import Reporter, SilentReporter, tell
from toolkit.storage import write_json

RESULT_FILE = "elastic.json"
CUBIC_WITHIN = 0.01
"""How far, of C44, entries may be from those of a cube for C11, C12 and C44 to be given."""


class ElasticRequest(StrictModel):
    """Elastic constants at zero temperature and pressure, in float64, of the crystal with relaxed cell and atoms.

    model, structure, frame : as for molecular dynamics
    strain : of each finite difference, both ways;  fmax_eV_per_A : relaxation, also of the atoms in strained cells
    """

    model: str
    structure: str
    frame: int = 0
    strain: float = Field(0.005, gt=0.0, le=0.05)
    fmax_eV_per_A: float = Field(FMAX_EV_PER_A, gt=0.0)
    device: str = "auto"
    backend: str = "auto"


def run_elastic(request: ElasticRequest, folder: Path | None = None, reporter: Reporter | None = None) -> dict[str, Any]:
    """Stiffness (6, 6), GPa, in Voigt order xx yy zz yz xz xy along the axes of the structure, and what follows from it.

    folder : where `relaxed.extxyz` and `elastic.json` are kept
    Asked to stop, it returns nothing. Raises DataError for what is no crystal or does not relax.
    """
    reporter = reporter or SilentReporter()
    if folder is not None:
        make_folder(folder)
    atoms = starting_structure(request.structure, request.frame)
    require_crystal(atoms, "elastic constants", "give a structure with a cell that is periodic along all three vectors")
    potential = load_potential(request.model, device=request.device, dtype="float64", backend=request.backend)
    found = elastic_constants(potential, atoms, strain=request.strain, fmax=request.fmax_eV_per_A, reporter=reporter)
    if found is None:
        return {}
    stiffness = found.constants.stiffness_GPa
    stable = is_stable(stiffness)
    if stable is None:
        tell(reporter, "nothing holds the structure together along some strain: no moduli. Is there vacuum in the cell?")
    result = {"energy_eV": found.relaxed.energy_eV, "volume_A3": found.relaxed.atoms.get_volume(),
              "cell_A_deg": found.relaxed.atoms.cell.cellpar().tolist(), "stable": stable,
              "least_stiffness_GPa": least_stiffness_GPa(stiffness), **(_moduli(stiffness) if stable else {}),
              **_cubic(found.constants),
              "asymmetry_GPa": float(np.abs(stiffness - stiffness.T).max()), "stiffness_GPa": stiffness.tolist(),
              "clamped_stiffness_GPa": found.clamped.stiffness_GPa.tolist()}
    if folder is not None:
        write_frames(folder / RELAXED_FILE, [found.relaxed.atoms])
        write_json(result, folder / RESULT_FILE)
    return result


def _moduli(stiffness_GPa: np.ndarray) -> dict[str, float]:
    grains = polycrystal(stiffness_GPa)
    names = ("bulk_GPa", "bulk_voigt_GPa", "bulk_reuss_GPa", "shear_GPa", "shear_voigt_GPa", "shear_reuss_GPa", "youngs_GPa",
             "poisson_ratio", "universal_anisotropy")
    return {name: getattr(grains, name) for name in names}


def _cubic(constants: CubicConstants) -> dict[str, float]:
    """C11, C12 and C44 where the crystal is a cube along x, y and z."""
    spread = max(constants.c11_stderr_GPa, constants.c12_stderr_GPa, constants.c44_stderr_GPa)
    if constants.misfit > CUBIC_WITHIN or spread > CUBIC_WITHIN * abs(constants.c44_GPa):
        return {}
    return {"c11_GPa": constants.c11_GPa, "c12_GPa": constants.c12_GPa, "c44_GPa": constants.c44_GPa,
            "zener_ratio": constants.zener_ratio}
