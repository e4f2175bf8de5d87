"""What a verification study is made of, and three ready-made sizes."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from toolkit.config import MDConfig, StrictModel
from toolkit.config_md import steps_in
from toolkit.units import FS_PER_PS


class StudyConfig(StrictModel):
    """Lengths and conditions. Constant-energy runs in both precisions start from the same equilibrated structure.

    save_every_fs : between frames of the constant-energy runs, for spectra up to 1 / (2 c · this)
    nvt_save_every_fs : between frames of the run in the heat bath, for structure and torsions
    """

    temperature_K: float = Field(300.0, gt=0.0)
    timestep_fs: float = Field(0.5, gt=0.0, le=5.0)
    friction_per_fs: float = Field(0.01, gt=0.0, le=1.0)
    equilibration_ps: float = Field(5.0, gt=0.0)
    nve_ps: float = Field(100.0, gt=0.0)
    nvt_ps: float = Field(25.0, gt=0.0)
    nvt_replicas: int = Field(4, ge=1, le=4096)
    save_every_fs: float = Field(2.0, gt=0.0)
    nvt_save_every_fs: float = Field(10.0, gt=0.0)
    resolution_cm1: float = Field(2.0, gt=0.0)
    seed: int = Field(0, ge=0, lt=2**32)

    def equilibration(self) -> MDConfig:
        """Langevin dynamics from the minimum to a thermal structure."""
        return self._run("langevin", self.equilibration_ps, 100 * self.timestep_fs)

    def nve(self) -> MDConfig:
        """Velocity Verlet with fresh Maxwell–Boltzmann velocities, no momentum and no angular momentum."""
        return self._run("nve", self.nve_ps, self.save_every_fs)

    def nvt(self) -> MDConfig:
        """Langevin dynamics of all replicas, with noise of its own."""
        config = self._run("langevin", self.nvt_ps, self.nvt_save_every_fs)
        return config.model_copy(update={"replicas": self.nvt_replicas, "seed": self.seed + 1})

    def _run(self, ensemble: str, length_ps: float, save_every_fs: float) -> MDConfig:
        steps = steps_in(length_ps * FS_PER_PS, self.timestep_fs)
        return MDConfig(ensemble=ensemble, temperature_K=self.temperature_K, timestep_fs=self.timestep_fs,
                        friction_per_fs=self.friction_per_fs, steps=steps, seed=self.seed,
                        save_every=min(steps, steps_in(save_every_fs, self.timestep_fs)))


class StudyRequest(StrictModel):
    """One study. model, structure, frame : as for molecular dynamics"""

    model: str
    structure: str
    frame: int = 0
    study: StudyConfig = StudyConfig()
    device: str = "auto"
    backend: str = "auto"


PRESETS: dict[str, dict[str, Any]] = {
    "coffee-break": {"equilibration_ps": 1.0, "nve_ps": 4.0, "nvt_ps": 4.0, "nvt_replicas": 1, "resolution_cm1": 16.0},
    "tutorial": {"equilibration_ps": 2.0, "nve_ps": 20.0, "nvt_ps": 10.0, "nvt_replicas": 2, "resolution_cm1": 4.0},
    "paper": {},
}
"""Changes to the defaults: minutes, half an hour and about an hour on a CPU core for a molecule such as aspirin."""
