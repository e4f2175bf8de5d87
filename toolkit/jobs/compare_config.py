"""What a comparison of models is made of."""

from __future__ import annotations

from pydantic import Field

from toolkit.config import DataConfig, MDConfig
from toolkit.config_base import Computing
from toolkit.config_md import steps_in
from toolkit.jobs.requests import Part
from toolkit.units import FS_PER_PS

SAVE_EVERY_FS = 5.0


class CompareRequest(Computing):
    """Several models on the same frames.

    models : names under trained_models/, or paths of model or training run folders
    data, part : all frames of the file `data.train`, or one set of the split that `data` describes
    frames : so many at most are judged, evenly spaced in the file
    speed_s : how long each timing of each model repeats
    md_ps, replicas, temperature_K, timestep_fs, seed : Langevin dynamics from the first frame; 0 ps leaves it out
    """

    models: tuple[str, ...] = Field(min_length=2, max_length=8)
    data: DataConfig
    part: Part = "all"
    frames: int = Field(200, ge=4)
    speed_s: float = Field(1.0, gt=0.0, le=600.0)
    md_ps: float = Field(1.0, ge=0.0)
    replicas: int = Field(4, ge=1, le=4096)
    temperature_K: float = Field(300.0, gt=0.0)
    timestep_fs: float = Field(0.5, gt=0.0, le=10.0)
    seed: int = Field(0, ge=0, lt=2**32)

    def md(self) -> MDConfig:
        """The simulation that every model has to survive."""
        return MDConfig(ensemble="langevin", temperature_K=self.temperature_K, timestep_fs=self.timestep_fs,
                        steps=steps_in(self.md_ps * FS_PER_PS, self.timestep_fs), replicas=self.replicas,
                        save_every=steps_in(SAVE_EVERY_FS, self.timestep_fs), seed=self.seed)
