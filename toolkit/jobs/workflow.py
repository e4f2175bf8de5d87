"""An alloy from its training data to a report: train, melt, quench, look at the glass, strain the crystal.

Each stage leaves `stages/NAME.json` (and its files) in the folder of the workflow; one whose result is there is not
done again, a training or simulation that was interrupted goes on. Files beside them: `workflow.json` (what was asked
for), `workflow.yaml` (the same, to start another one from), `results.json` (every number), `report.html`, `report.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import read

from toolkit.config import parse_config, save_config
from toolkit.data.datasets import load_splits
from toolkit.errors import DataError
from toolkit.interfaces.elasticity import elastic_constants
from toolkit.jobs.frame_files import write_frames
from toolkit.jobs.learning_curve import EpochsKept
from toolkit.jobs.run_dir import make_folder
from toolkit.jobs.stage_md import simulate_stage
from toolkit.jobs.stages import Result, Stage, do_stages, keep_request
from toolkit.jobs.workflow_analyses import structure, transition, volume_curve
from toolkit.jobs.workflow_config import WorkflowConfig
from toolkit.jobs.workflow_report import write_reports
from toolkit.jobs.workflow_start import start_crystal
from toolkit.md.trajectory import Trajectory
from toolkit.models.potential import Potential, load_potential
from toolkit.progress import Reporter, SilentReporter
from toolkit.storage import write_json
from toolkit.training.metrics import evaluate_potential
from toolkit.training.state import find_state
from toolkit.training.trainer import train

START_FILE = "start.extxyz"
RUNS = {"heating": "Heating", "melt": "Melt", "quench": "Quench", "glass": "Glass"}
MAX_MISFIT = 0.15
"""Of elastic constants that a cube does not have: 0.03 in a random alloy of 54 atoms, 0.5 in copper along [111]."""

EVALUATION_FRAMES = 8
"""Frames evaluated at once: cells of a hundred atoms are large batches already."""


@dataclass(frozen=True)
class Workflow:
    """A workflow under way: what was asked for, where it is kept, who hears of it."""

    config: WorkflowConfig
    folder: Path
    reporter: Reporter

    def potential(self, dtype: str = "float32") -> Potential:
        """The trained or given potential in one precision."""
        model = self.config.model or str(self.folder / "train" / "model")
        return load_potential(model, device=self.config.device, dtype=dtype, backend=self.config.backend)

    def trajectory(self, name: str) -> Path:
        """The file of a simulation."""
        return self.folder / f"{name}.h5"

    def start_of(self, name: str) -> Atoms:
        """Where a simulation begins: the crystal, or the end of the one before."""
        names = list(RUNS)
        if name == names[0]:
            return read(self.folder / START_FILE, format="extxyz")
        with Trajectory(self.trajectory(names[names.index(name) - 1])) as before:
            return before.to_atoms(-1)


def train_model(work: Workflow) -> Result | None:
    """Train, or go on with, the potential in the folder `train`."""
    run_dir = work.folder / "train"
    make_folder(run_dir)
    save_config(work.config.train, run_dir / "config.json")
    begun = find_state(run_dir / "checkpoints" / "last") is not None
    result = train(work.config.train, run_dir, resume=begun, reporter=EpochsKept(work.reporter, run_dir))
    return None if result["stopped"] else result


def test_errors(work: Workflow) -> Result | None:
    """Errors on the test frames, and apart from them on those of the group that is out of the domain."""
    frames = load_splits(work.config.train.data).test
    apart = [frame.info.get("group") == work.config.out_of_domain is not None for frame in frames]
    sets = {"test": [frame for frame, out in zip(frames, apart, strict=True) if not out],
            "out_of_domain": [frame for frame, out in zip(frames, apart, strict=True) if out]}
    potential = work.potential()
    result = {name: evaluate_potential(potential, chosen, batch_size=EVALUATION_FRAMES, reporter=work.reporter)
              for name, chosen in sets.items() if chosen}
    return None if work.reporter.should_stop() else result


def make_start(work: Workflow) -> Result:
    """Build the crystal, or take it from its file."""
    atoms = start_crystal(work.config.start)
    write_frames(work.folder / START_FILE, [atoms])
    return {"formula": atoms.get_chemical_formula(), "num_atoms": len(atoms),
            "volume_A3_per_atom": atoms.get_volume() / len(atoms)}


def simulation(work: Workflow, name: str) -> Result | None:
    """One of the four simulations, and the volume along it. Raises DataError when it broke."""
    config = work.config.melt_quench.runs()[name]
    result = simulate_stage(work.trajectory(name), work.potential, work.start_of(name), config, work.reporter,
                            whole=True)
    if result is None:
        return None
    return {**result, "curve": volume_curve(work.trajectory(name))}


def structures(work: Workflow) -> Result:
    """Melt and glass."""
    return {name: structure(work.trajectory(name), work.config.structure_r_max_A) for name in ("melt", "glass")}


def elasticity(work: Workflow) -> Result | None:
    """Elastic constants of the crystal."""
    settings = work.config.elastic
    atoms = start_crystal(work.config.start, settings.repeats)
    try:
        found = elastic_constants(work.potential("float64"), atoms, strain=settings.strain,
                                  fmax=settings.fmax_eV_per_A, reporter=work.reporter)
    except DataError as error:
        return {"note": str(error)}
    if found is None:
        return None
    if found.constants.misfit > MAX_MISFIT:
        return {"note": f"stresses are not those of a cube whose axes lie along x, y and z: entries that vanish there, such as "
                        f"C14, reach {found.constants.misfit:.2f} of C44; give a crystal in that orientation"}
    free = {**asdict(found.constants), "stiffness_GPa": found.constants.stiffness_GPa.tolist()}
    clamped = {**asdict(found.clamped), "stiffness_GPa": found.clamped.stiffness_GPa.tolist()}
    return {"num_atoms": len(atoms), "energy_eV_per_atom": found.relaxed.energy_eV / len(atoms),
            "volume_A3_per_atom": found.relaxed.atoms.get_volume() / len(atoms),
            "bulk_modulus_GPa": found.constants.bulk_modulus_GPa, "zener_ratio": found.constants.zener_ratio,
            "stable": found.constants.stable, "relaxed": free, "clamped": clamped}


def workflow_stages(config: WorkflowConfig) -> dict[str, tuple[str, Callable[[Workflow], Result | None]]]:
    """Name -> title and function of what a configuration asks for. A function returns None when asked to stop."""
    stages: dict[str, tuple[str, Callable[[Workflow], Result | None]]] = {}
    if config.train is not None:
        stages |= {"train": ("Training", train_model), "errors": ("Test errors", test_errors)}
    stages["start"] = ("Start structure", make_start)
    stages |= {name: (title, lambda work, name=name: simulation(work, name)) for name, title in RUNS.items()}
    stages["structure"] = ("Structure of melt and glass", structures)
    stages["transition"] = ("Glass transition", lambda work: transition(volume_curve(work.trajectory("quench"))))
    if config.elastic is not None:
        stages["elastic"] = ("Elastic constants", elasticity)
    return stages


def workflow_task(config: dict[str, Any], run_dir: Path, resume: bool, reporter: Reporter) -> Result:
    """Do, or go on with, a workflow. config : fields of a WorkflowConfig."""
    return run_workflow(parse_config(WorkflowConfig, config), run_dir, reporter)


def run_workflow(config: WorkflowConfig, folder: str | Path, reporter: Reporter | None = None) -> Result:
    """Do the stages that are not done yet and write the report; returns stage -> result.

    When asked to stop it returns what is done; the same call goes on from there.
    Raises ConfigError for a folder that holds a workflow with other settings, and whatever the stages raise.
    """
    work = Workflow(config, Path(folder), reporter or SilentReporter())
    make_folder(work.folder / "stages")
    keep_request(config, work.folder / "workflow.json")
    save_config(config, work.folder / "workflow.yaml")
    asked = workflow_stages(config)
    stages = {name: (title, _of(stage, work)) for name, (title, stage) in asked.items()}
    results = dict(do_stages(stages, work.folder, work.reporter))
    if len(results) == len(stages):
        write_json({"request": config.model_dump(mode="json"), **results}, work.folder / "results.json")
        write_reports(config, results, work.folder)
    return results


def _of(stage: Callable[[Workflow], Result | None], work: Workflow) -> Stage:
    return lambda reporter: stage(replace(work, reporter=reporter))
