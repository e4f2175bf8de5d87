"""What a set of frames for a student is made of."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from toolkit.config import DataConfig, MDConfig
from toolkit.config_base import Computing
from toolkit.config_md import steps_in
from toolkit.units import FS_PER_PS


class DistillRequest(Computing):
    """Frames that the sampler visits at a temperature, labelled by the mean of the teachers.

    teachers : trained models;  sampler : a model, by default the first teacher; a small and fast one does
    data : frames with labels, and their split: simulations start from training frames, which join the sampled ones;
        default: what the first teacher was trained on
    temperature_K : about that of the data, so that what is learned from is what will be asked for
    trajectories, ps, every_fs : how many, how long, and the time between two frames that are kept
    copies : of each training frame with its own labels among the sampled ones
    """

    teachers: tuple[str, ...] = Field(min_length=1, max_length=16)
    sampler: str | None = None
    data: DataConfig | None = None
    temperature_K: float = Field(500.0, gt=0.0)
    trajectories: int = Field(64, ge=1, le=4096)
    ps: float = Field(5.0, gt=0.0)
    every_fs: float = Field(40.0, gt=0.0)
    timestep_fs: float = Field(0.5, gt=0.0, le=10.0)
    friction_per_fs: float = Field(0.01, gt=0.0, le=1.0)
    copies: int = Field(3, ge=0, le=1000)
    seed: int = Field(0, ge=0, lt=2**32)

    @field_validator("data", mode="before")
    @classmethod
    def _from_source(cls, value: Any) -> Any:
        """A source alone means its frames with detected units."""
        return {"train": value} if isinstance(value, str) else value

    def md(self, replicas: int) -> MDConfig:
        """The simulation from each of the starting frames."""
        return MDConfig(ensemble="langevin", temperature_K=self.temperature_K, timestep_fs=self.timestep_fs,
                        friction_per_fs=self.friction_per_fs, replicas=replicas, seed=self.seed,
                        steps=steps_in(self.ps * FS_PER_PS, self.timestep_fs),
                        save_every=steps_in(self.every_fs, self.timestep_fs))
