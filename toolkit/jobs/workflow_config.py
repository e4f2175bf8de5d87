"""What an alloy workflow is made of: a model, a crystal, a way through melt and quench, and elastic constants."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from toolkit.config import MDConfig, StrictModel, TrainConfig
from toolkit.config_md import require_gentle_barostat, steps_in
from toolkit.units import FS_PER_PS

PER_PS = 1e-12
"""Seconds in a picosecond: rates are given in K/s, as the literature does."""


class CrystalConfig(StrictModel):
    """A random solid solution on a lattice, or a frame of a file.

    composition : element -> share of the atoms; the counts are rounded so that they add up
    repeats : of the cubic cell, which holds 2 (bcc), 4 (fcc) or 8 (diamond) atoms
    source, frame : an existing structure instead, as for molecular dynamics
    """

    lattice: Literal["bcc", "fcc", "diamond"] | None = None
    lattice_constant_A: float | None = Field(None, gt=0.0)
    composition: dict[str, float] = {}
    repeats: tuple[int, int, int] = (6, 6, 7)
    seed: int = Field(0, ge=0, lt=2**32)
    source: str | None = None
    frame: int = 0

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        built = self.lattice is not None and self.lattice_constant_A is not None and bool(self.composition)
        if built == (self.source is not None):
            raise ValueError("give either lattice, lattice_constant_A and composition, or source")
        if min(self.repeats) < 1 or any(share <= 0.0 for share in self.composition.values()):
            raise ValueError("repeats and the shares of a composition must be positive")
        return self


class MeltQuenchConfig(StrictModel):
    """Heating, melt, quench and glass, one after another at constant pressure (`npt`, isotropic)."""

    cold_K: float = Field(300.0, gt=0.0)
    hot_K: float = Field(4000.0, gt=0.0, description="a perfect crystal melts well above its melting point")
    heating_K_per_s: float = Field(1e14, gt=0.0)
    melt_ps: float = Field(5.0, gt=0.0)
    cooling_K_per_s: float = Field(1e14, gt=0.0)
    glass_ps: float = Field(5.0, gt=0.0)
    pressure_GPa: float = Field(0.0, ge=-1e3, le=1e3)
    timestep_fs: float = Field(2.0, gt=0.0, le=5.0)
    thermostat_fs: float = Field(100.0, gt=0.0, le=1e6)
    barostat_fs: float = Field(500.0, gt=0.0, le=1e7)
    save_every_fs: float = Field(20.0, gt=0.0)
    seed: int = Field(0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _hotter(self) -> Self:
        if self.hot_K <= self.cold_K:
            raise ValueError(f"hot_K is {self.hot_K}, expected more than cold_K {self.cold_K}")
        require_gentle_barostat(self.barostat_fs, self.timestep_fs)
        return self

    def runs(self) -> dict[str, MDConfig]:
        """The four simulations by the names of their stages; each starts where the last one ended."""
        span = self.hot_K - self.cold_K
        return {"heating": self._run(self.cold_K, self.hot_K, span / (self.heating_K_per_s * PER_PS), 0),
                "melt": self._run(self.hot_K, self.hot_K, self.melt_ps, 1),
                "quench": self._run(self.hot_K, self.cold_K, span / (self.cooling_K_per_s * PER_PS), 2),
                "glass": self._run(self.cold_K, self.cold_K, self.glass_ps, 3)}

    def _run(self, start_K: float, end_K: float, length_ps: float, number: int) -> MDConfig:
        steps = steps_in(length_ps * FS_PER_PS, self.timestep_fs)
        return MDConfig(ensemble="npt", temperature_K=start_K, final_temperature_K=None if start_K == end_K else end_K,
                        pressure_GPa=self.pressure_GPa, timestep_fs=self.timestep_fs, thermostat_fs=self.thermostat_fs,
                        barostat_fs=self.barostat_fs, steps=steps,
                        save_every=min(steps, steps_in(self.save_every_fs, self.timestep_fs)), seed=self.seed + number)


class ElasticConfig(StrictModel):
    """Elastic constants of the start crystal, relaxed at zero temperature, in a cell small enough for it.

    repeats : of its cubic cell; default: the start structure itself
    strain : of each finite difference;  fmax_eV_per_A : relaxation of ions in each strained cell
    """

    repeats: tuple[int, int, int] | None = (3, 3, 3)
    strain: float = Field(0.005, gt=0.0, le=0.05)
    fmax_eV_per_A: float = Field(1e-4, gt=0.0)


class WorkflowConfig(StrictModel):
    """One alloy from training data to the report.

    train, model : a training run, or a model that there is already
    out_of_domain : frames of the test set whose `group` is this are judged apart
    structure_r_max_A : end of g(r)
    """

    train: TrainConfig | None = None
    model: str | None = None
    out_of_domain: str | None = None
    start: CrystalConfig
    melt_quench: MeltQuenchConfig = MeltQuenchConfig()
    elastic: ElasticConfig | None = ElasticConfig()
    structure_r_max_A: float = Field(8.0, gt=3.0)
    device: str = "auto"
    backend: str = "auto"

    @field_validator("model", mode="before")
    @classmethod
    def _named(cls, model: str | None) -> str | None:
        return model or None

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if (self.train is None) == (self.model is None):
            raise ValueError("give either train, the configuration of a training run, or model")
        if self.elastic is not None and self.elastic.repeats is not None and self.start.source is not None:
            raise ValueError("elastic.repeats needs a lattice to build; set it to null to strain the start structure")
        return self
