"""Every choice of a molecular dynamics run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from toolkit.config_base import StrictModel


def steps_in(duration_fs: float, timestep_fs: float) -> int:
    """The number of steps nearest to a duration, at least one."""
    return max(1, round(duration_fs / timestep_fs))


def require_gentle_barostat(barostat_fs: float, timestep_fs: float) -> None:
    """Raise ValueError when the cell would relax within a few time steps, which overshoots."""
    if barostat_fs < 10.0 * timestep_fs:
        raise ValueError(f"barostat_fs is {barostat_fs}, npt needs 10 time steps or more")


class MDConfig(StrictModel):
    """A molecular dynamics run. Replicas start from one structure with independent velocities and noise.

    inner_steps : above 1, a second, cheaper potential makes so many steps of timestep_fs/inner_steps, and the potential
        itself corrects them once a step (r-RESPA); not for npt
    inner_tolerance_eV_per_A : where the two differ by more on an atom, a replica makes the step by the accurate one alone
    ensemble : "nve" (velocity Verlet), "langevin" (BAOAB), "csvr" (stochastic velocity rescaling), "nose-hoover"
        (chains) or "npt" (csvr and stochastic cell rescaling, for crystals)
    final_temperature_K : the target moves there from temperature_K, linearly over the run
    ladder_K : a target for each replica, instead of temperature_K
    bulk_modulus_GPa : how stiff the crystal is, so that the cell relaxes in barostat_fs; only the speed depends on it,
        unless barostat_fs · bulk_modulus_GPa is below the time step times the true modulus: then the cell overshoots
    max_bond_change_A, max_temperature_K : a replica beyond them is retired, in npt also one whose volume became a fifth or five
        times that of the start; a bond change of None is never looked at
    uncertainty_stop_eV_per_A : a replica is retired when the standard deviation of one of its forces is above this
    harvest_above_eV_per_A, harvest_gap_fs : frames more uncertain than this are written beside the trajectory, to be
        labelled, those of one replica at least so far apart
    """

    ensemble: Literal["nve", "langevin", "csvr", "nose-hoover", "npt"] = "langevin"
    temperature_K: float = Field(300.0, ge=0.0)
    final_temperature_K: float | None = Field(None, ge=0.0, description="default: temperature_K")
    ladder_K: tuple[float, ...] | None = Field(None, description="one temperature for each replica")
    initial_temperature_K: float | None = Field(None, ge=0.0, description="default: that of the first step")
    rescale_initial_temperature: bool = Field(False, description="start at exactly that temperature, not on average")
    timestep_fs: float = Field(0.5, gt=0.0, le=10.0)
    inner_steps: int = Field(1, ge=1, le=100, description="of a cheaper potential in one step; 1: there is none")
    inner_tolerance_eV_per_A: float | None = Field(0.3, gt=0.0, description="between the forces of the two; none: any")
    friction_per_fs: float = Field(0.01, ge=0.0, le=1.0, description="of langevin")
    thermostat_fs: float = Field(100.0, gt=0.0, le=1e6, description="relaxation time of csvr, nose-hoover and npt")
    chain_length: int = Field(3, ge=1, le=10, description="of nose-hoover")
    pressure_GPa: float = Field(0.0, ge=-1e3, le=1e3, description="of npt")
    barostat_fs: float = Field(1000.0, gt=0.0, le=1e7, description="relaxation time of the cell in npt")
    cell_change: Literal["isotropic", "anisotropic"] = "isotropic"
    bulk_modulus_GPa: float | None = Field(None, gt=0.0, le=1e4, description="default: from the potential at the start")
    steps: int = Field(1000, ge=1)
    save_every: int = Field(10, ge=1, description="steps between saved frames")
    replicas: int = Field(1, ge=1, le=65536)
    seed: int = Field(0, ge=0, lt=2**63)
    skin: float = Field(0.5, ge=0.0, le=5.0, description="neighbour-list skin, Å")
    max_bond_change_A: float | None = Field(0.5, gt=0.0, description="of a molecule; none switches it off")
    max_temperature_K: float | None = Field(None, gt=0.0, description="default: 10 000 K + 20 times the hottest target")
    uncertainty_stop_eV_per_A: float | None = Field(None, gt=0.0, description="of a force component; none: go on")
    harvest_above_eV_per_A: float | None = Field(None, gt=0.0, description="frames to be labelled; none: keep none")
    harvest_gap_fs: float = Field(100.0, ge=0.0, description="between two harvested frames of a replica")
    uncertainty_every: int = Field(20, ge=1, description="steps between looks at the uncertainty")

    @field_validator("*", mode="before")
    @classmethod
    def _from_words(cls, value: Any) -> Any:
        """What the command line says: "none", and numbers separated by commas."""
        if isinstance(value, str) and value.lower() == "none":
            return None
        return value.split(",") if isinstance(value, str) and "," in value else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.ladder_K is not None and self.final_temperature_K is not None:
            raise ValueError("ladder_K and final_temperature_K exclude each other")
        if self.ladder_K is not None and (len(self.ladder_K) != self.replicas or min(self.ladder_K) < 0.0):
            raise ValueError(f"ladder_K is {self.ladder_K}, expected {self.replicas} temperatures, one each replica")
        asked = [*self.start_temperatures_K, *self.first_temperatures_K]
        if self.final_temperature_K is not None:
            asked.append(self.final_temperature_K)
        if self.ensemble in ("csvr", "nose-hoover", "npt") and min(asked) <= 0.0:
            raise ValueError(f"{self.ensemble} rescales velocities and needs temperatures above 0 K, also at the start")
        stop, harvest = self.uncertainty_stop_eV_per_A, self.harvest_above_eV_per_A
        if stop is not None and harvest is not None and harvest > stop:
            raise ValueError(f"harvest_above_eV_per_A {harvest} is above uncertainty_stop_eV_per_A {stop}: "
                             "nothing is kept")
        if self.ensemble == "npt" and self.inner_steps > 1:
            raise ValueError(f"inner_steps is {self.inner_steps}, npt computes the stress at each step and takes 1")
        if self.ensemble == "npt":
            require_gentle_barostat(self.barostat_fs, self.timestep_fs)
        if self.ensemble == "nose-hoover" and self.thermostat_fs < 10.0 * self.timestep_fs:
            raise ValueError(f"thermostat_fs is {self.thermostat_fs}, nose-hoover needs 10 time steps or more")
        return self

    @property
    def start_temperatures_K(self) -> tuple[float, ...]:
        """Target of each replica at the first step."""
        return self.ladder_K or (self.temperature_K,) * self.replicas

    @property
    def first_temperatures_K(self) -> tuple[float, ...]:
        """Temperature of each replica's first velocities."""
        first = self.initial_temperature_K
        return self.start_temperatures_K if first is None else (first,) * self.replicas

    @property
    def heating_K_per_step(self) -> float:
        """How much every target rises at each step."""
        final = self.final_temperature_K
        return 0.0 if final is None else (final - self.temperature_K) / self.steps

    @property
    def has_one_temperature(self) -> bool:
        """Whether all replicas have one target all the time: neither a ladder nor a ramp."""
        return len(set(self.start_temperatures_K)) == 1 and self.heating_K_per_step == 0.0

    @property
    def hottest_K(self) -> float:
        """The highest temperature that is asked for at any time."""
        return max(*self.start_temperatures_K, *self.first_temperatures_K, self.final_temperature_K or 0.0)
