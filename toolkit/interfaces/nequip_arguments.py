"""The arguments of nequip's `NequIPGNNModel` (nequip 0.19), with its defaults; what we cannot reproduce is refused."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from toolkit.config import ModelConfig, parse_config
from toolkit.config_model import MODEL_PRESETS
from toolkit.errors import ConfigError


class _Arguments(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    target: str | None = Field(None, alias="_target_")


class ZBLArguments(_Arguments):
    """Arguments of nequip's `ZBL` pair potential, in LAMMPS "metal" units: eV and Å."""

    units: Literal["metal"]
    chemical_species: tuple[str, ...]
    polynomial_cutoff_p: float = 6.0


class NequIPArguments(_Arguments):
    """Arguments of `NequIPGNNModel` and, with `preset`, of `PresetNequIPGNNModel`.

    The energy scales and shifts themselves come from the weights, which may have been trained; `seed`, `model_dtype`,
    `compile_mode` and `do_derivatives` change nothing in a trained model. Of options with one allowed value, the others
    exist in nequip but not here.
    """

    type_names: tuple[str, ...]
    r_max: float
    avg_num_neighbors: float
    preset: Literal["S", "M", "L", "XL"] | None = None
    num_layers: int = 4
    l_max: int = 1
    parity: bool = True
    num_features: int | tuple[int, ...] = 32
    type_embed_num_features: int | None = None
    radial_mlp_depth: int = 1
    radial_mlp_width: int = 128
    readout_mlp_hidden_layers_depth: int = 0
    readout_mlp_hidden_layers_width: int | None = None
    readout_mlp_nonlinearity: Literal["silu"] = "silu"
    per_edge_type_cutoff: dict[str, float | dict[str, float]] | None = None
    num_bessels: int = 8
    bessel_trainable: bool = False
    polynomial_cutoff_p: float = 6.0
    per_type_energy_scales: Any = None
    per_type_energy_shifts: Any = None
    per_type_energy_scales_trainable: bool = False
    per_type_energy_shifts_trainable: bool = False
    pair_potential: dict[str, Any] | None = None
    categorical_graph_field_embed: None = None
    convnet_sc: Literal[True] = True
    convnet_resnet: Literal[False] = False
    convnet_nonlinearity_type: Literal["gate"] = "gate"
    learnable_shift: Literal[False] = False
    seed: Any = None
    model_dtype: Any = None
    compile_mode: Any = None
    do_derivatives: Any = None

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, values: Any) -> Any:
        preset = values.get("preset") if isinstance(values, dict) else None
        return {**MODEL_PRESETS[preset], **values} if preset in MODEL_PRESETS else values

    @field_validator("avg_num_neighbors", mode="before")
    @classmethod
    def _one_number_for_all_types(cls, value: Any) -> Any:
        if isinstance(value, dict):
            raise ValueError("one value per type is not supported, expected one number for all types")
        return value


def parse_arguments(values: Any) -> NequIPArguments:
    """The arguments in a mapping, or in the `training_module.model` of a whole training configuration.

    Raises ConfigError for unknown, missing or wrong ones.
    """
    if isinstance(values, dict) and isinstance(values.get("training_module"), dict):
        values = values["training_module"].get("model")
    known = {field.alias or name for name, field in NequIPArguments.model_fields.items()}
    unknown = [str(name) for name in values if name not in known] if isinstance(values, dict) else []
    if unknown:
        raise ConfigError(f"found arguments that NequIPGNNModel does not have, or that are not supported: {unknown[:5]}")
    return parse_config(NequIPArguments, values)


def architecture(arguments: NequIPArguments) -> ModelConfig:
    """Our configuration of the same network, with the energy scales and shifts still open. Raises ConfigError."""
    fields = arguments.model_dump(include=set(ModelConfig.model_fields) - {"preset", "seed"})
    return parse_config(ModelConfig, {
        **fields,
        "species": arguments.type_names,
        "readout_mlp_depth": arguments.readout_mlp_hidden_layers_depth,
        "readout_mlp_width": arguments.readout_mlp_hidden_layers_width,
        "per_pair_r_max": _pair_cutoffs(arguments),
        "zbl": _has_zbl(arguments),
        "per_species_energy_scales_trainable": arguments.per_type_energy_scales_trainable,
        "per_species_energy_shifts_trainable": arguments.per_type_energy_shifts_trainable,
    })


def _pair_cutoffs(arguments: NequIPArguments) -> dict[str, float] | None:
    """The full table "centre-neighbour" -> Å; what nequip's partial one leaves out is r_max."""
    given, names = arguments.per_edge_type_cutoff, arguments.type_names
    if given is None:
        return None
    unknown = {*given, *(name for entry in given.values() if isinstance(entry, dict) for name in entry)} - set(names)
    if unknown:
        raise ConfigError(f"per_edge_type_cutoff: found {sorted(unknown)}, expected type_names {list(names)}")
    rows = {center: given.get(center, arguments.r_max) for center in names}
    return {f"{center}-{neighbor}": row.get(neighbor, arguments.r_max) if isinstance(row, dict) else row
            for center, row in rows.items() for neighbor in names}


def _has_zbl(arguments: NequIPArguments) -> bool:
    if arguments.pair_potential is None:
        return False
    target = str(arguments.pair_potential.get("_target_"))
    if target.rpartition(".")[2] != "ZBL":
        raise ConfigError(f"pair_potential: found {target!r}, expected nequip.nn.pair_potential.ZBL or none")
    zbl = parse_config(ZBLArguments, arguments.pair_potential)
    if zbl.chemical_species != arguments.type_names:
        raise ConfigError(f"pair_potential.chemical_species: found {list(zbl.chemical_species)}, "
                          f"expected type_names {list(arguments.type_names)}")
    if zbl.polynomial_cutoff_p != arguments.polynomial_cutoff_p:
        raise ConfigError(f"pair_potential.polynomial_cutoff_p: found {zbl.polynomial_cutoff_p:g}, "
                          f"expected the model's {arguments.polynomial_cutoff_p:g}")
    return True
