"""What a stability record is made of."""

from __future__ import annotations

from typing import Any

from pydantic import Field, NonNegativeFloat, field_validator

from toolkit.config import DataConfig, MDConfig
from toolkit.config_base import Computing
from toolkit.config_md import steps_in
from toolkit.units import FS_PER_PS


class StabilityRequest(Computing):
    """Langevin dynamics of many replicas at several temperatures.

    model, structure, frame : as for molecular dynamics; a molecule
    inner_model, inner_steps : a cheaper model that makes the steps in between (see `MDConfig`), 1: there is none
    data : frames whose distances the simulation should reproduce;  reference_temperature_K : at which they were sampled
    save_every_fs : between frames that the distances are taken from
    """

    model: str
    structure: str
    frame: int = 0
    temperatures_K: tuple[NonNegativeFloat, ...] = Field((300.0, 500.0), min_length=1)
    replicas: int = Field(64, ge=1, le=4096)
    ps: float = Field(100.0, gt=0.0)
    data: DataConfig | None = None
    reference_temperature_K: float | None = Field(None, gt=0.0)
    timestep_fs: float = Field(0.5, gt=0.0, le=10.0)
    friction_per_fs: float = Field(0.01, gt=0.0, le=1.0)
    inner_model: str | None = None
    inner_steps: int = Field(1, ge=1, le=100)
    save_every_fs: float = Field(50.0, gt=0.0)
    seed: int = Field(0, ge=0, lt=2**32)

    @field_validator("temperatures_K", mode="before")
    @classmethod
    def _from_words(cls, value: Any) -> Any:
        """What the command line says: numbers separated by commas."""
        return value.split(",") if isinstance(value, str) else value

    def md(self, temperature_K: float) -> MDConfig:
        """The simulation at one temperature."""
        return MDConfig(ensemble="langevin", temperature_K=temperature_K, timestep_fs=self.timestep_fs,
                        inner_steps=self.inner_steps, friction_per_fs=self.friction_per_fs, replicas=self.replicas,
                        seed=self.seed,
                        steps=steps_in(self.ps * FS_PER_PS, self.timestep_fs),
                        save_every=steps_in(self.save_every_fs, self.timestep_fs))
