"""Every choice a user can make, as frozen pydantic models that refuse unknown or out-of-range fields.

One object is the only source of a model, a training run or a simulation: the page edits it, the run folder
stores it, the model folder embeds it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from ase.data import chemical_symbols
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from typing_extensions import Self

from toolkit.config_base import StrictModel
from toolkit.config_md import MDConfig as MDConfig
from toolkit.errors import ConfigError
from toolkit.storage import write_text_atomic

EnergyUnit = Literal["auto", "eV", "meV", "kcal/mol", "kJ/mol", "Hartree", "Rydberg"]
LengthUnit = Literal["auto", "Å", "Bohr", "nm"]


MODEL_PRESETS: dict[str, dict[str, Any]] = {
    "S": {"num_layers": 2, "l_max": 1, "num_features": (128, 64)},
    "M": {"num_layers": 4, "l_max": 2, "num_features": (128, 64, 32)},
    "L": {"num_layers": 6, "l_max": 3, "num_features": (128, 64, 32, 32)},
    "XL": {"num_layers": 6, "l_max": 4, "num_features": (320, 96, 64, 32, 32)},
}
"""Sizes of the published NequIP foundation potentials; the radial network is the same in all of them."""
for _preset in MODEL_PRESETS.values():
    _preset.update(parity=False, type_embed_num_features=32, radial_mlp_depth=1, radial_mlp_width=128)


class ModelConfig(StrictModel):
    """An interatomic potential: architecture, hyper-parameters and the statistics of its training data.

    species : element symbols; empty means "take them from the training data" (only in a TrainConfig)
    preset : "S", "M", "L" or "XL" fills the fields that are not given (see MODEL_PRESETS)
    num_features : channels, one number for all l or one per l (0 … l_max)
    per_pair_r_max : smaller cutoffs (Å) for pairs such as {"H-H": 3.0}, centre first; a pair given in one order only
        counts for both
    zbl : add the Ziegler-Biersack-Littmark repulsion between nuclei, so that atoms never fuse
    avg_num_neighbors, per_species_energy_shifts (eV), per_species_energy_scales (eV) : computed from the training
        data and stored here; None means "not computed yet" and acts as 1, 0 and 1.
    """

    architecture: str = "nequip"
    preset: Literal["S", "M", "L", "XL"] | None = None
    species: tuple[str, ...] = ()
    r_max: float = Field(5.0, gt=0.0, le=20.0, description="cutoff radius, Å")
    num_layers: int = Field(4, ge=1, le=12)
    l_max: int = Field(2, ge=0, le=6)
    parity: bool = Field(False, description="keep both parities of every l (full O(3) features)")
    num_features: int | tuple[int, ...] = 32
    type_embed_num_features: int | None = Field(None, ge=1, le=1024, description="default: num_features[0]")
    num_bessels: int = Field(8, ge=1, le=64)
    bessel_trainable: bool = False
    polynomial_cutoff_p: int = Field(6, ge=3, le=32)
    radial_mlp_depth: int = Field(1, ge=0, le=6)
    radial_mlp_width: int = Field(64, ge=1, le=1024)
    readout_mlp_depth: int = Field(0, ge=0, le=4)
    readout_mlp_width: int | None = Field(None, ge=1, le=1024, description="default: num_features[0]")
    per_pair_r_max: dict[str, float] | None = Field(None, description="Å")
    zbl: bool = False
    avg_num_neighbors: float | None = Field(None, gt=0.0)
    per_species_energy_shifts: dict[str, float] | None = Field(None, description="eV; isolated-atom energies")
    per_species_energy_scales: dict[str, float] | None = Field(None, description="eV")
    per_species_energy_shifts_trainable: bool = False
    per_species_energy_scales_trainable: bool = False
    seed: int = Field(0, ge=0, description="seed of the initial weights")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, values: Any) -> Any:
        preset = values.get("preset") if isinstance(values, dict) else None
        return {**MODEL_PRESETS[preset], **values} if preset in MODEL_PRESETS else values

    @field_validator("species")
    @classmethod
    def _known_species(cls, species: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [s for s in species if s not in chemical_symbols[1:]]
        if unknown:
            raise ValueError(f"not element symbols: {unknown}")
        if len(set(species)) != len(species):
            raise ValueError(f"repeated species in {list(species)}")
        return species

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        features = self.num_features
        if isinstance(features, tuple) and len(features) != self.l_max + 1:
            raise ValueError(f"num_features has {len(features)} entries, expected l_max + 1 = {self.l_max + 1}")
        if any(not 1 <= n <= 1024 for n in self.channels):
            raise ValueError(f"num_features must lie in 1 … 1024, found {features}")
        for name in ("per_species_energy_shifts", "per_species_energy_scales"):
            values = getattr(self, name)
            if values is not None and set(values) != set(self.species):
                raise ValueError(f"{name} has keys {sorted(values)}, expected the species {sorted(self.species)}")
        for pair, cutoff in (self.per_pair_r_max or {}).items():
            symbols = pair.split("-")
            if len(symbols) != 2 or not set(symbols) <= set(self.species or chemical_symbols[1:]):
                raise ValueError(f"per_pair_r_max has the key {pair!r}, expected two of the species such as 'H-H'")
            if not 0.0 < cutoff <= self.r_max:
                raise ValueError(f"per_pair_r_max[{pair!r}] is {cutoff} Å, expected more than 0 and at most r_max {self.r_max}")
        return self

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels per l, always l_max + 1 numbers."""
        features = self.num_features
        return features if isinstance(features, tuple) else (features,) * (self.l_max + 1)


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
    Units are "auto" (what the format fixes; else detected and refused when in doubt) or declared.
    """

    train: str
    val: str | None = None
    test: str | None = None
    split: SplitConfig = SplitConfig()
    energy_unit: EnergyUnit = "auto"
    length_unit: LengthUnit = "auto"
    energy_key: str | None = Field(None, description="key of the energy in an extended XYZ header or npz")
    forces_key: str | None = None
    stress_key: str | None = None
    isolated_atom_energies: dict[str, float] | None = Field(None, description="eV per element; or found in the file")


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
    """Adam or AdamW with warm-up, a schedule, gradient clipping and an exponential moving average of the weights."""

    name: Literal["adam", "adamw"] = "adam"
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


class TrainConfig(StrictModel):
    """A whole training run. `device` auto means CUDA when present.

    threads : of the CPU; 0 means what OMP_NUM_THREADS says, else one: two that wait for a busy neighbour ran ten times
        slower than one
    batch_size : frames per optimiser step; "auto" makes about 200 steps an epoch, at most 64 frames each
    max_edges_per_batch : edges (pairs within r_max) computed at once; a batch with more is computed in parts whose
        gradients are added up, the same step. None: as many as memory allows, predicted before the first step.
    """

    data: DataConfig
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    batch_size: int | Literal["auto"] = 5
    max_edges_per_batch: int | None = Field(None, ge=1)
    eval_batch_size: int = Field(50, ge=1)
    max_epochs: int = Field(100, ge=1)
    early_stop_patience_epochs: int | None = Field(None, ge=1)
    checkpoint_every_steps: int | None = Field(None, ge=1, description="also save inside an epoch, every so many steps")
    device: str = "auto"
    dtype: Literal["float32", "float64"] = "float32"
    backend: str = "auto"
    threads: int = Field(0, ge=0)
    seed: int = Field(0, ge=0, description="seed of the batch order")

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
    except yaml.YAMLError as error:
        line = " ".join(str(error).split())
        raise ConfigError(f"{path} is not valid YAML: {line}", "check indentation and colons") from None
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
    values[last] = yaml.safe_load(text)


def save_config(config: BaseModel, path: str | Path) -> None:
    """Write a configuration as JSON (or YAML by the file's ending), replacing the file atomically."""
    path = Path(path)
    values = config.model_dump(mode="json")
    yaml_wanted = path.suffix in (".yaml", ".yml")
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True) if yaml_wanted else json.dumps(values, indent=2)
    write_text_atomic(path, text)
