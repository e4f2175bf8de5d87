"""Normal modes as a task: relax, differentiate twice, diagonalise, keep structure and shapes beside the numbers."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from ase import Atoms
from ase.io import read
from pydantic import Field

from toolkit.analysis.normal_modes import NormalModes
from toolkit.analysis.phonons import phonons, require_crystal
from toolkit.analysis.thermochemistry import rrho
from toolkit.config import StrictModel, parse_config
from toolkit.data.graph import total_charge
from toolkit.errors import DataError
from toolkit.interfaces.relaxation import FMAX_EV_PER_A, Relaxed, cartesian_hessian, relax_unless_stopped, vibrations
from toolkit.jobs.frame_files import write_frames
from toolkit.jobs.run_dir import make_folder
from toolkit.jobs.sources import starting_structure
from toolkit.models.potential import load_potential
from toolkit.progress import Reporter, SilentReporter, tell
from toolkit.storage import replacing

if TYPE_CHECKING:
    from phonopy import Phonopy

RELAXED_FILE, MODES_FILE, PHONOPY_FILE = "relaxed.extxyz", "modes.npz", "phonopy_params.yaml"
NO_SPLITTING = ("this model has a long range, and the bands are without its non-analytic term: longitudinal optical branches near Γ "
                "are those of transverse ones (no LO-TO splitting), in supercells of any size")
FADED = 0.01
"""Share of the largest force constant below which those at the edge of a supercell have faded."""


class ModesRequest(StrictModel):
    """Vibrations of one structure around its nearest minimum, in float64.

    model, structure, frame : as for molecular dynamics
    fmax_eV_per_A : largest force of the relaxed structure
    relax_cell : vary the cell of a crystal too
    supercell : of a crystal: repetitions for phonon bands; without it only the modes at Γ
    temperature_K, symmetry_number : of the free energy
    spin : total electronic spin in it, 0 when all electrons are paired, 0.5 of a radical, 1 of O2
    """

    model: str
    structure: str
    frame: int = 0
    fmax_eV_per_A: float = Field(FMAX_EV_PER_A, gt=0.0)
    relax_cell: bool = False
    supercell: tuple[int, int, int] | None = None
    temperature_K: float = Field(298.15, gt=0.0)
    symmetry_number: int = Field(1, ge=1)
    spin: float = Field(0.0, ge=0.0, multiple_of=0.5)
    device: str = "auto"
    backend: str = "auto"


def modes_task(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> dict[str, Any]:
    """Compute normal modes; a resumed run starts anew. config : fields of a ModesRequest."""
    return run_modes(parse_config(ModesRequest, config), run_dir, reporter)


def run_modes(request: ModesRequest, folder: Path, reporter: Reporter | None = None) -> dict[str, Any]:
    """Relax and differentiate; writes `relaxed.extxyz` and `modes.npz` into `folder` and returns plain numbers.

    With a supercell also `phonopy_params.yaml`, for `phonopy.load`. Frequencies in cm⁻¹, imaginary ones negative; energies
    in eV. Asked to stop while it relaxes, it returns nothing.
    Raises DataError when the relaxation does not end.
    """
    make_folder(folder)
    atoms = starting_structure(request.structure, request.frame)
    if request.supercell is not None:
        require_crystal(atoms)
        if total_charge(atoms):
            raise DataError(f"found a crystal with a charge of {total_charge(atoms):g} e, whose supercells have none that is "
                            "sure", "phonons are for neutral crystals")
    potential = load_potential(request.model, device=request.device, dtype="float64", backend=request.backend)
    reporter = reporter or SilentReporter()
    found = relax_unless_stopped(potential, atoms, reporter, fmax=request.fmax_eV_per_A, cell=request.relax_cell)
    if found is None:
        return {}
    modes = vibrations(potential, found.atoms)
    save_modes(folder, found.atoms, modes)
    result = modes_result(folder, found, modes)
    if not found.atoms.pbc.any():
        gas = rrho(modes, temperature_K=request.temperature_K, symmetry_number=request.symmetry_number, spin=request.spin)
        result["thermochemistry"] = gas.to_dict()
    if request.supercell is not None:
        bands = phonons(found.atoms, request.supercell, lambda cell: cartesian_hessian(potential, cell),
                        keep=lambda crystal: _save_phonopy(crystal, folder / PHONOPY_FILE))
        result["phonons"] = {field.name: _plain(getattr(bands, field.name)) for field in fields(bands)}
    tell(reporter, *_notes(found.atoms, result, long_range=not math.isfinite(potential.model.receptive_field)))
    return result


def _save_phonopy(crystal: Phonopy, path: Path) -> None:
    """Cells and force constants, as `phonopy.load` reads them."""
    with replacing(path) as temporary:
        crystal.save(temporary, settings={"force_constants": True})


def _notes(atoms: Atoms, result: dict[str, Any], long_range: bool) -> list[str]:
    """What a user should do about a cell without modes, or a supercell in which forces do not fade; what is left out."""
    if "phonons" in result:
        ratio = result["phonons"]["edge_ratio"]
        notes = [] if ratio < FADED else [f"force constants half a supercell apart are still {100.0 * ratio:.1f} % of the "
                                          "largest: enlarge the supercell until the bands stay"]
        return notes + [NO_SPLITTING] * long_range
    if result["frequencies_cm1"]:
        return []
    advice = ": give the phonon supercell of a crystal (--supercell '4 4 4')" if atoms.pbc.all() else ""
    return [f"one atom{' in a cell' if atoms.pbc.any() else ''} has no vibrations of its own{advice}"]


def modes_result(folder: Path, found: Relaxed, modes: NormalModes) -> dict[str, Any]:
    """What `toolkit modes` answers, without thermochemistry and phonons."""
    return {
        "frequencies_cm1": modes.frequencies_cm1.tolist(),
        "n_imaginary": modes.n_imaginary,
        "zero_modes_cm1": modes.zero_modes_cm1.tolist(),
        "zero_modes_unprojected_cm1": modes.zero_modes_unprojected_cm1.tolist(),
        "reduced_masses_amu": modes.reduced_masses_amu.tolist(),
        "zero_point_energy_eV": modes.zero_point_energy_eV,
        "linear": modes.linear,
        "energy_eV": found.energy_eV,
        "fmax_eV_per_A": found.fmax_eV_per_A,
        "relaxation_steps": found.steps,
        "eigenvectors": str(folder / MODES_FILE),
        "structure": str(folder / RELAXED_FILE),
    }


def save_modes(folder: Path, atoms: Atoms, modes: NormalModes) -> None:
    """Write the structure and every array of the modes into `folder`. Raises StorageError."""
    write_frames(folder / RELAXED_FILE, [atoms])
    with replacing(folder / MODES_FILE) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **{field.name: getattr(modes, field.name) for field in fields(modes)})


def load_modes(folder: Path) -> tuple[Atoms, NormalModes]:
    """What `save_modes` wrote. Raises DataError when it is absent or damaged."""
    try:
        with np.load(folder / MODES_FILE, allow_pickle=False) as stored:
            values = {field.name: stored[field.name] for field in fields(NormalModes)}
        atoms = read(folder / RELAXED_FILE, format="extxyz")
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"{folder} holds no readable normal modes: {error}",
                        "compute them with `toolkit modes`") from None
    return atoms, NormalModes(**{**values, "linear": bool(values["linear"])})


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
