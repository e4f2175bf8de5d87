"""Every choice a user can make, as frozen pydantic models that refuse unknown or out-of-range fields.

One object is the only source of a model, a training run or a simulation: the page edits it, the run folder
stores it, the model folder embeds it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from typing_extensions import Self

from toolkit.config_base import StrictModel
from toolkit.config_md import MDConfig as MDConfig
from toolkit.config_model import ModelConfig as ModelConfig
from toolkit.errors import ConfigError, one_line
from toolkit.storage import write_text_atomic

EnergyUnit = Literal["auto", "eV", "meV", "kcal/mol", "kJ/mol", "Hartree", "Rydberg"]
LengthUnit = Literal["auto", "Å", "Bohr", "nm"]
ForcesUnit = Literal["auto", "eV/Å", "meV/Å", "kcal/mol/Å", "kJ/mol/Å", "Hartree/Å", "Rydberg/Å",
                     "eV/Bohr", "meV/Bohr", "kcal/mol/Bohr", "kJ/mol/Bohr", "Hartree/Bohr", "Rydberg/Bohr",
                     "eV/nm", "meV/nm", "kcal/mol/nm", "kJ/mol/nm", "Hartree/nm", "Rydberg/nm"]


class SplitConfig(StrictModel):
    """How frames are divided. `random` shuffles with the seed, `blocks` takes contiguous stretches separated by
    `gap` frames (for one correlated trajectory), `indices` reads an explicit JSON or npz file with the arrays
    train, val and test.
    """

    method: Literal["random", "blocks", "indices"] = "random"
    num_train: int | None = Field(None, ge=1)
    num_val: int | None = Field(None, ge=1)
    num_test: int | None = Field(None, ge=0)
    gap: int = Field(0, ge=0, description="frames dropped between blocks")
    seed: int = Field(0, ge=0)
    index_file: str | None = None

    @model_validator(mode="after")
    def _has_index_file(self) -> Self:
        if (self.method == "indices") != (self.index_file is not None):
            raise ValueError("index_file is needed by method 'indices' and by no other")
        return self


class DataConfig(StrictModel):
    """Where frames come from. A path, or `embedded:aspirin` / `embedded:ethanol`, or `catalog:NAME`.

    Without `val` and `test` all three sets are split from `train`; with `test` given, `val` is split from `train`.
    Units are "auto" (what the format fixes; else detected and refused when in doubt) or declared. Forces are in the unit of
    energy per that of length unless `forces_unit` says otherwise, as where Hartree/Bohr stands beside Å.
    stress_offset_GPa : added to xx, yy and zz of every stress: what `data inspect` finds that stresses lack (Pulay stress)
    """

    train: str
    val: str | None = None
    test: str | None = None
    split: SplitConfig = SplitConfig()
    energy_unit: EnergyUnit = "auto"
    length_unit: LengthUnit = "auto"
    forces_unit: ForcesUnit = "auto"
    energy_key: str | None = Field(None, description="key of the energy in an extended XYZ header or npz")
    forces_key: str | None = None
    stress_key: str | None = None
    stress_offset_GPa: float = Field(0.0, ge=-1000.0, le=1000.0, description="added to xx, yy, zz of every stress, GPa")
    isolated_atom_energies: dict[str, float] | None = Field(None, description="eV per element; or found in the file")

    @model_validator(mode="before")
    @classmethod
    def _from_source(cls, values: Any) -> Any:
        """A source alone means its frames with detected units."""
        return {"train": values} if isinstance(values, str) else values


class LossConfig(StrictModel):
    """Weights of the terms: energy per atom (eV/atom), forces (eV/Å), stress (eV/Å³), each a mean of `kind`."""

    kind: Literal["mse", "mae", "huber"] = "mse"
    huber_delta: float = Field(0.01, gt=0.0)
    energy_weight: float = Field(1.0, ge=0.0)
    forces_weight: float = Field(1.0, ge=0.0)
    stress_weight: float = Field(0.0, ge=0.0)

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.energy_weight == self.forces_weight == self.stress_weight == 0.0:
            raise ValueError("all loss weights are zero: there is nothing to learn")
        return self


class OptimizerConfig(StrictModel):
    """Adam, AdamW or Muon (`training.muon`), warm-up, a schedule, gradient clipping and an exponential moving average.

    Learning rates of Adam and Muon mean about the same length of a step.
    """

    name: Literal["adam", "adamw", "muon"] = "adam"
    learning_rate: float = Field(0.01, gt=0.0, le=1.0)
    weight_decay: float = Field(0.0, ge=0.0)
    amsgrad: bool = False
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    warmup_epochs: int = Field(0, ge=0)
    min_learning_rate: float = Field(1e-5, ge=0.0)
    plateau_factor: float = Field(0.5, gt=0.0, lt=1.0)
    plateau_patience_epochs: int = Field(20, ge=1)
    gradient_clip_norm: float | None = Field(10.0, gt=0.0)
    ema_decay: float = Field(0.99, ge=0.0, lt=1.0, description="0 switches the moving average off")

    @model_validator(mode="after")
    def _amsgrad_is_of_adam(self) -> Self:
        if self.amsgrad and self.name == "muon":
            raise ValueError("amsgrad is a variant of Adam, found name 'muon': leave it out")
        return self


class TrainConfig(StrictModel):
    """A whole training run. `device` auto means CUDA when present.

    start_from : a model (a name under trained_models/, a model or run folder) whose network and weights the training goes
        on with; `model` is then left out, and energy shifts are fitted anew
    threads : of the CPU; 0 means what OMP_NUM_THREADS says, else one: two that wait for a busy neighbour ran ten times
        slower than one
    batch_size : frames per optimiser step; "auto" makes about 200 steps an epoch, at most 64 frames each
    max_edges_per_batch : edges (pairs within r_max) computed at once; a batch with more is computed in parts whose
        gradients are added up, the same step. None: as many as memory allows, predicted before the first step.
    validate_every_epochs : epochs from one look at the validation set, with a checkpoint, to the next; plateaus are
        counted in such looks
    max_train_s : end in this time: the schedule then follows the clock where that is ahead of the epochs, so a cosine
        reaches its end in time, and no two such runs are alike bit for bit
    """

    data: DataConfig
    model: ModelConfig = ModelConfig()
    start_from: str | None = Field(None, description="model whose network and weights the training goes on with")
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    batch_size: int | Literal["auto"] = 5
    max_edges_per_batch: int | None = Field(None, ge=1)
    eval_batch_size: int = Field(50, ge=1)
    max_epochs: int = Field(100, ge=1)
    max_train_s: float | None = Field(None, gt=0.0, description="end in this time, s, and the schedule with it")
    validate_every_epochs: int = Field(1, ge=1)
    early_stop_patience_epochs: int | None = Field(None, ge=1)
    checkpoint_every_steps: int | None = Field(None, ge=1, description="also save inside an epoch, every so many steps")
    device: str = "auto"
    dtype: Literal["float32", "float64"] = "float32"
    backend: str = "auto"
    threads: int = Field(0, ge=0)
    seed: int = Field(0, ge=0, description="seed of the batch order")

    @model_validator(mode="after")
    def _one_network(self) -> Self:
        if self.start_from is not None and self.model != ModelConfig():
            raise ValueError(f"found both model and start_from {self.start_from!r}, whose network is used: leave model out")
        return self

    @field_validator("batch_size")
    @classmethod
    def _some_frames(cls, batch_size: int | str) -> int | str:
        if batch_size != "auto" and batch_size < 1:
            raise ValueError("expected at least one frame, or 'auto'")
        return batch_size


ConfigT = TypeVar("ConfigT", bound=StrictModel)


def parse_config(config_class: type[ConfigT], values: dict[str, Any]) -> ConfigT:
    """Build a configuration; a ConfigError names each wrong field, and for unknown ones the fields that exist."""
    if not isinstance(values, dict):
        raise ConfigError(f"found {type(values).__name__}, expected a mapping of {config_class.__name__} fields")
    try:
        return config_class.model_validate(values)
    except ValidationError as error:
        raise ConfigError("; ".join(_describe(config_class, e) for e in error.errors()),
                          "correct the named fields") from None


def _describe(config_class: type[BaseModel], error: Any) -> str:
    path = [str(part) for part in error["loc"]]
    where = ".".join(path) or config_class.__name__
    if error["type"] != "extra_forbidden":
        found = error.get("input")
        shown = "" if isinstance(found, dict | BaseModel) or error["type"] == "missing" else f" (found {found!r})"
        return f"{where}: {error['msg'].removeprefix('Value error, ')}{shown}"
    owner = config_class
    for part in path[:-1]:
        annotation = owner.model_fields[part].annotation
        owner = next(a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel))
    return f"{where}: unknown field, expected one of {sorted(owner.model_fields)}"


def load_config(config_class: type[ConfigT], path: str | Path, overrides: list[str] | None = None) -> ConfigT:
    """Read YAML or JSON and apply overrides such as `model.l_max=1` (values are YAML).

    Raises ConfigError for an absent, unreadable or wrong file.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}", "give the path of a YAML file") from None
    except (yaml.YAMLError, ValueError) as error:  # a date such as 2024-13-01 is a ValueError
        raise ConfigError(f"{path} is not valid YAML: {one_line(error)}", "check indentation and colons") from None
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}, expected a mapping", "start with 'data:'")
    for override in overrides or []:
        _apply_override(values, override)
    return parse_config(config_class, values)


def _apply_override(values: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name:
        raise ConfigError(f"found --set {override!r}, expected NAME=VALUE such as model.l_max=1")
    *parents, last = name.split(".")
    for parent in parents:
        child = values.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {override!r}: {parent!r} is a value, not a group of fields")
        values = child
    try:
        values[last] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"--set {override!r}: the value is not valid YAML: {one_line(error)}",
                          "put quotes around it: NAME='\"…\"'") from None


def shortest(config: BaseModel) -> dict[str, Any]:
    """Plain values from which the same configuration is read again, without those that are filled in anyway.

    What a network is filled in with depends on its architecture and preset.
    """
    values = config.model_dump(mode="json", exclude_defaults=True)
    if isinstance(model := getattr(config, "model", None), ModelConfig):
        chosen = {name: value for name in ("architecture", "preset")
                  if (value := getattr(model, name)) != ModelConfig.model_fields[name].default}
        filled_in = ModelConfig(**chosen).model_dump(mode="json")
        if not model.zbl:
            filled_in["zbl_reach"] = None  # a repulsion that is left out takes its reach with it
        own = {name: value for name, value in model.model_dump(mode="json").items() if value != filled_in[name]}
        values = {name: chosen | own if name == "model" else values.get(name) for name in type(config).model_fields
                  if name in values or (name == "model" and chosen | own)}
    return values


def save_config(config: BaseModel, path: str | Path) -> None:
    """Write a configuration as JSON (or YAML by the file's ending), replacing the file atomically."""
    path = Path(path)
    values = config.model_dump(mode="json")
    yaml_wanted = path.suffix in (".yaml", ".yml")
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True) if yaml_wanted else json.dumps(values, indent=2)
    write_text_atomic(path, text)
