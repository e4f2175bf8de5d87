"""An interatomic potential as a configuration: its architecture, its hyper-parameters, its statistics."""

from __future__ import annotations

from typing import Any, Literal

from ase.data import chemical_symbols
from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from toolkit.config_base import StrictModel

MODEL_PRESETS: dict[str, dict[str, Any]] = {
    "S": {"num_layers": 2, "l_max": 1, "num_features": (128, 64)},
    "M": {"num_layers": 4, "l_max": 2, "num_features": (128, 64, 32)},
    "L": {"num_layers": 6, "l_max": 3, "num_features": (128, 64, 32, 32)},
    "XL": {"num_layers": 6, "l_max": 4, "num_features": (320, 96, 64, 32, 32)},
}
"""Sizes of the published NequIP foundation potentials; the radial network is the same in all of them."""
for _preset in MODEL_PRESETS.values():
    _preset.update(parity=False, type_embed_num_features=32, radial_mlp_depth=1, radial_mlp_width=128)

ARCHITECTURE_FIELDS: dict[str, frozenset[str]] = {
    "nequip": frozenset({"num_layers", "l_max", "parity", "type_embed_num_features", "readout_mlp_depth",
                         "readout_mlp_width"}),
    "atom_mlp": frozenset({"l_max", "readout_mlp_depth", "readout_mlp_width"}),
    "atom_gnn": frozenset({"num_layers", "readout_mlp_depth", "readout_mlp_width"}),
    "allegro": frozenset({"num_layers", "l_max", "parity", "num_scalar_features", "latent_mlp_depth", "latent_mlp_width",
                          "readout_mlp_depth", "readout_mlp_width"}),
}
"""Architecture -> those of its fields that not all architectures have; a field of others must keep its default."""
ARCHITECTURE_DEFAULTS: dict[str, dict[str, Any]] = {
    "atom_mlp": {"zbl": True, "zbl_reach": 0.8, "readout_mlp_depth": 2, "num_features": 64},
    "atom_gnn": {"zbl": True, "zbl_reach": 0.8, "readout_mlp_depth": 1, "num_features": 64},
    "allegro": {"num_layers": 2, "readout_mlp_depth": 1},
}
"""Architecture -> fields whose default differs from the one in ModelConfig."""
Dispersion = Literal["d3bj-pbe", "d3bj-pbe0", "d3bj-revpbe", "d3bj-blyp", "d3bj-b3lyp", "d3bj-tpss", "d3bj-r2scan"]
"""D3 with Becke-Johnson damping and the parameters of a functional."""


class LongRangeConfig(StrictModel):
    """What is added beyond the cutoff: the Coulomb energy of predicted charges, and dispersion.

    charges : predict one of each atom, from energies and forces alone; together they make the total charge of the
        structure, `atoms.info["charge"]`, else 0
    smearing_A : σ in the interaction erf(r/√2σ)/r of two charges, Å, each a Gaussian of width σ/√2. The cost of a crystal grows with
        N V/σ³
    accuracy : relative weight exp(−σ²k²/2) of the shortest waves in the sum over a crystal
    dispersion : add D3 with Becke-Johnson damping and the parameters of a functional. The labels must contain it, so
        that the network learns what is left. Needs `pip install dftd3==1.7.0`
    """

    charges: bool = True
    smearing_A: float = Field(1.0, ge=0.2, le=5.0, description="width of the charges, Å")
    accuracy: float = Field(1e-8, ge=1e-14, le=1e-2)
    dispersion: Dispersion | None = None

    @model_validator(mode="after")
    def _adds_something(self) -> Self:
        if not self.charges and self.dispersion is None:
            raise ValueError("long_range adds neither charges nor dispersion: leave it out")
        return self


class ModelConfig(StrictModel):
    """An interatomic potential: architecture, hyper-parameters and the statistics of its training data.

    species : element symbols; empty means "take them from the training data" (only in a TrainConfig)
    preset : "S", "M", "L" or "XL" fills the fields that are not given (see MODEL_PRESETS)
    num_features : channels, one number for all l or one per l (0 … l_max); in Allegro those of the tensors of a pair,
        one number for all l
    num_scalar_features, latent_mlp_depth, latent_mlp_width : Allegro's scalars of a pair, and the hidden layers of the
        network with which each of its layers updates them; radial_mlp_* shape the network that makes the first ones
    per_pair_r_max : smaller cutoffs (Å) for pairs such as {"H-H": 3.0}, centre first; a pair given in one order only
        counts for both
    zbl : add the Ziegler-Biersack-Littmark repulsion between nuclei, so that atoms never fuse
    long_range : add charges with their Coulomb energy, and dispersion; None leaves the model local
    zbl_reach : where it ends, in sums of two covalent radii: below 1 it is a floor under bonded distances, which leaves
        the bonds to the network; None means r_max, as nequip has it
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
    num_scalar_features: int = Field(64, ge=2, le=1024, description="scalars of each pair of atoms")
    latent_mlp_depth: int = Field(1, ge=0, le=6)
    latent_mlp_width: int | None = Field(None, ge=1, le=1024, description="default: num_scalar_features")
    num_bessels: int = Field(8, ge=1, le=64)
    bessel_trainable: bool = False
    polynomial_cutoff_p: int = Field(6, ge=3, le=32)
    radial_mlp_depth: int = Field(1, ge=0, le=6)
    radial_mlp_width: int = Field(64, ge=1, le=1024)
    readout_mlp_depth: int = Field(0, ge=0, le=4)
    readout_mlp_width: int | None = Field(None, ge=1, le=1024, description="default: width of what is read")
    per_pair_r_max: dict[str, float] | None = Field(None, description="Å")
    zbl: bool = False
    zbl_reach: float | None = Field(None, gt=0.0, le=3.0, description="end of the repulsion, sums of covalent radii")
    long_range: LongRangeConfig | None = None
    avg_num_neighbors: float | None = Field(None, gt=0.0)
    per_species_energy_shifts: dict[str, float] | None = Field(None, description="eV; isolated-atom energies")
    per_species_energy_scales: dict[str, float] | None = Field(None, description="eV")
    per_species_energy_shifts_trainable: bool = False
    per_species_energy_scales_trainable: bool = False
    seed: int = Field(0, ge=0, description="seed of the initial weights")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        defaults = ARCHITECTURE_DEFAULTS.get(str(values.get("architecture")), {})
        filled = {**defaults, **MODEL_PRESETS.get(str(values.get("preset")), {}), **values}
        if filled.get("zbl") is False and filled.get("zbl_reach") == defaults.get("zbl_reach"):
            filled["zbl_reach"] = None  # the reach of a repulsion that is left out
        return filled

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
        self._refuse_fields_of_others()
        if self.zbl_reach is not None and not self.zbl:
            raise ValueError("zbl_reach is where the repulsion ends, but there is none: add zbl: true, or leave it out")
        features = self.num_features
        if isinstance(features, tuple) and len(features) != self.l_max + 1:
            raise ValueError(f"num_features has {len(features)} entries, expected l_max + 1 = {self.l_max + 1}")
        if self.architecture == "allegro" and len(set(self.channels)) > 1:
            raise ValueError(f"num_features is {features}, expected one number: Allegro's products pair equal channels")
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
    def predicts_charges(self) -> bool:
        """True when the architecture has to say charges too."""
        return self.long_range is not None and self.long_range.charges

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels per l, always l_max + 1 numbers."""
        features = self.num_features
        return features if isinstance(features, tuple) else (features,) * (self.l_max + 1)

    def _refuse_fields_of_others(self) -> None:
        own = ARCHITECTURE_FIELDS.get(self.architecture)
        if own is None:
            raise ValueError(f"architecture is {self.architecture!r}, expected one of {sorted(ARCHITECTURE_FIELDS)}")
        if self.preset is not None and self.architecture != "nequip":
            raise ValueError(f"preset {self.preset!r} is a size of NequIP, found architecture {self.architecture!r}: "
                             "leave it out")
        for name in sorted(frozenset().union(*ARCHITECTURE_FIELDS.values()) - own):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is not a field of the architecture {self.architecture!r}: leave it out")
