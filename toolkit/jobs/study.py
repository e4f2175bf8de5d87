"""The verification study: relax, vibrate, equilibrate, simulate, analyse, report; stage by stage, resumable.

Each stage leaves `stages/NAME.json` (and its files) in the folder of the study; a stage whose result is there is not
done again, a simulation that was interrupted goes on from its last commit. Files beside them: `study.json` (what was
asked for), `results.json` (every number), `report.html`, `report.md` and `study.py` (the same in Python).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import read

from toolkit.analysis.thermochemistry import rrho
from toolkit.config import MDConfig, parse_config
from toolkit.errors import DataError
from toolkit.interfaces.relaxation import relax_unless_stopped, vibrations
from toolkit.jobs.analyses import trajectory_bonds, trajectory_rdf
from toolkit.jobs.analyses_motion import trajectory_torsions
from toolkit.jobs.analyses_spectra import trajectory_vdos
from toolkit.jobs.frame_files import write_frames
from toolkit.jobs.mode_analysis import comparison, spectra_of_modes, temperatures_of_modes
from toolkit.jobs.modes import load_modes, modes_result, save_modes
from toolkit.jobs.run_dir import make_folder
from toolkit.jobs.sources import starting_structure
from toolkit.jobs.stage_md import simulate_stage
from toolkit.jobs.stages import Result, Stage, do_stages, keep_request
from toolkit.jobs.study_config import StudyRequest
from toolkit.jobs.study_numbers import bond_peaks, energy_record
from toolkit.jobs.study_report import write_reports
from toolkit.jobs.study_script import script
from toolkit.md.trajectory import Trajectory
from toolkit.models.potential import Potential, load_potential
from toolkit.progress import Reporter, SilentReporter
from toolkit.storage import write_json, write_text_atomic

START_FILE = "start.extxyz"


@dataclass(frozen=True)
class Study:
    """A study under way: what was asked for, where it is kept, who hears of it."""

    request: StudyRequest
    folder: Path
    reporter: Reporter

    def potential(self, dtype: str) -> Potential:
        """The potential in one precision."""
        return load_potential(self.request.model, device=self.request.device, dtype=dtype, backend=self.request.backend)

    def trajectory(self, name: str) -> Path:
        """The file of a simulation."""
        return self.folder / f"{name}.h5"

    def simulate(self, name: str, atoms: Atoms, config: MDConfig, dtype: str, *, whole: bool = False) -> Result | None:
        """Run, go on with, or take over a finished simulation; None when it was asked to stop before its end."""
        return simulate_stage(self.trajectory(name), lambda: self.potential(dtype), atoms, config, self.reporter, whole=whole)


def find_modes(study: Study) -> Result | None:
    """Relax and compute normal modes and the free energy."""
    atoms, potential = starting_structure(study.request.structure, study.request.frame), study.potential("float64")
    found = relax_unless_stopped(potential, atoms, study.reporter)
    if found is None:
        return None
    modes = vibrations(potential, found.atoms)
    save_modes(study.folder, found.atoms, modes)
    result = modes_result(Path(), found, modes)
    if modes.turns:
        result["thermochemistry"] = rrho(modes, temperature_K=study.request.study.temperature_K).to_dict()
    return result


def equilibrate(study: Study) -> Result | None:
    """Bring the minimum to temperature; its last frame is where the other simulations start. Raises DataError when it broke."""
    relaxed, _ = load_modes(study.folder)
    result = study.simulate("equilibration", relaxed, study.request.study.equilibration(), "float32", whole=True)
    if result is not None and not (study.folder / START_FILE).exists():
        with Trajectory(study.trajectory("equilibration")) as trajectory:
            relaxed.positions = trajectory.to_atoms(-1).positions
        write_frames(study.folder / START_FILE, [relaxed])
    return result


def constant_energy(study: Study, dtype: str) -> Result | None:
    """Velocity Verlet in one precision, and how well the energy is kept. Raises DataError when it broke."""
    result = study.simulate(f"nve_{dtype}", _start(study), study.request.study.nve(), dtype, whole=True)
    if result is not None:
        with Trajectory(study.trajectory(f"nve_{dtype}")) as trajectory:
            result["energy"] = energy_record(trajectory)
    return result


def heat_bath(study: Study) -> Result | None:
    """Langevin dynamics of several replicas."""
    return study.simulate("nvt", _start(study), study.request.study.nvt(), "float32")


def structure(study: Study) -> Result:
    """Distances in the heat bath: distribution, its peaks among heavy elements, and the length of every bond."""
    result = trajectory_rdf(study.trajectory("nvt"), r_max_A=6.0, bin_width_A=0.01)
    bonds = trajectory_bonds(study.trajectory("nvt"))["bonds_A"]
    return {**result, "bond_peaks_A": bond_peaks(result), "bonds_A": bonds}


def vibrational_spectrum(study: Study) -> Result:
    """Density of states at constant energy."""
    _, modes = load_modes(study.folder)
    return trajectory_vdos(study.trajectory("nve_float64"), study.request.study.resolution_cm1,
                           highest_cm1=float(modes.frequencies_cm1.max()))


def modes_in_motion(study: Study) -> Result:
    """Each normal mode's spectrum at constant energy, and its temperature in the heat bath."""
    _, modes = load_modes(study.folder)
    result = comparison(*spectra_of_modes(study.trajectory("nve_float64"), modes, study.request.study.resolution_cm1))
    kinetic, stderr = temperatures_of_modes(study.trajectory("nvt"), modes)
    for row, mean, error in zip(result["modes"], kinetic, stderr, strict=True):
        row |= {"bath_K": float(mean), "bath_stderr_K": float(error)}
    return result


def torsions(study: Study) -> Result:
    """Free energy along every rotatable bond in the heat bath; nothing for a molecule that has none."""
    try:
        return trajectory_torsions(study.trajectory("nvt"))
    except DataError as error:
        return {"torsions": {}, "note": error.message}


STAGES: dict[str, tuple[str, Callable[[Study], Result | None]]] = {
    "modes": ("Relaxation and normal modes", find_modes),
    "equilibration": ("Equilibration", equilibrate),
    "nve_float64": ("Constant energy, float64", lambda study: constant_energy(study, "float64")),
    "nve_float32": ("Constant energy, float32", lambda study: constant_energy(study, "float32")),
    "nvt": ("Heat bath", heat_bath),
    "structure": ("Distances", structure),
    "spectrum": ("Vibrational spectrum", vibrational_spectrum),
    "mode_comparison": ("Modes in motion", modes_in_motion),
    "torsions": ("Torsions", torsions),
}
"""Name -> title and function, in the order of work. A function returns None when it was asked to stop."""


def study_task(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> Result:
    """Do, or go on with, a study. config : fields of a StudyRequest."""
    return run_study(parse_config(StudyRequest, config), run_dir, reporter)


def run_study(request: StudyRequest, folder: str | Path, reporter: Reporter | None = None) -> Result:
    """Do the stages that are not done yet and write the report; returns stage -> result.

    When asked to stop it returns what is done; the same call goes on from there.
    Raises ConfigError for a folder that holds a study with other settings, and whatever the stages raise.
    """
    folder, reporter = Path(folder), reporter or SilentReporter()
    make_folder(folder / "stages")
    keep_request(request, folder / "study.json")
    write_text_atomic(folder / "study.py", script(request))
    stages = {name: (title, _of(stage, request, folder)) for name, (title, stage) in STAGES.items()}
    results = dict(do_stages(stages, folder, reporter))
    if len(results) < len(stages):
        return results
    write_json({"request": request.model_dump(mode="json"), **results}, folder / "results.json")
    write_reports(request, results, folder)
    return results


def _of(stage: Callable[[Study], Result | None], request: StudyRequest, folder: Path) -> Stage:
    return lambda reporter: stage(Study(request, folder, reporter))


def _start(study: Study) -> Atoms:
    return read(study.folder / START_FILE, format="extxyz")
