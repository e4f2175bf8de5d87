"""nequip's state dict cut into ours.

Both networks are the same function; only the storage differs. nequip keeps each equivariant linear map as one flat
vector of blocks, ordered by input irrep, and its convolution's output sorted by irrep; we keep one matrix per irrep, in
the order of the outputs. Per-edge weights have the same order in both: input irrep, then degree of the harmonic, then
output irrep. Names here leave out the wrapper in front of them (`model.func.` in nequip 0.19).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from ase.data import atomic_numbers
from e3nn import o3
from torch import Tensor

from toolkit.config import ModelConfig, parse_config
from toolkit.errors import ModelError
from toolkit.kernels.paths import PathTable
from toolkit.models.species import SpeciesIndex
from toolkit.models.zbl import COULOMB_EV_A
from toolkit.nn.convolution import reachable_gate
from toolkit.nn.irreps import feature_irreps

Shape = tuple[int, ...]
EMBEDDING = "type_embed.embed_module.weight"
SCALES, SHIFTS = "per_type_energy_scale_shift.scales", "per_type_energy_scale_shift.shifts"
CONSTANT_TOLERANCE = 1e-5
"""Relative deviation allowed for constants that the file repeats; it may be in single precision."""
_WIGNER = re.compile(r"\._w3j_([0-6])_([0-6])_([0-6])$")
_HINT = "weights and configuration do not belong together, or another version of nequip wrote them"


@dataclass(frozen=True)
class Blocks:
    """One of nequip's tensors, `name` and `shape`, and ours that lie in it one after the other: (key, shape) each.

    Blocks of the self-connection, (C_in, D, C_out), are (D, C_in, C_out) in our model.
    """

    name: str
    shape: Shape
    parts: tuple[tuple[str, Shape], ...]

    def cut(self, tensor: Tensor) -> dict[str, Tensor]:
        """Our tensors by key."""
        pieces = tensor.flatten().split([math.prod(shape) for _, shape in self.parts])
        views = {key: piece.view(shape) for (key, shape), piece in zip(self.parts, pieces, strict=True)}
        return {key: (view.transpose(0, 1) if view.dim() == 3 else view).contiguous() for key, view in views.items()}


def layout(config: ModelConfig) -> list[Blocks]:
    """Every weight of the network, without the energy scales and shifts."""
    width, embedding_dim = config.channels[0], config.type_embed_num_features or config.channels[0]
    embedding = (len(config.species), embedding_dim)
    blocks = [Blocks(EMBEDDING, embedding, (("species_embedding", embedding),)),
              Blocks("bessel_encode.bessel_weights", (1, config.num_bessels),
                     (("radial_basis.roots", (config.num_bessels,)),))]
    hidden = feature_irreps(config.channels, config.parity)
    irreps = o3.Irreps([(embedding_dim, "0e")])
    for index in range(config.num_layers):
        last = index == config.num_layers - 1
        gate = reachable_gate(irreps, o3.Irreps([(width, "0e")]) if last else hidden, config.l_max)
        blocks += _layer(index, irreps, gate.irreps_in, config)
        irreps = gate.irreps_out
    readout_dims = [width, *[config.readout_mlp_width or width] * config.readout_mlp_depth, 1]
    return [*blocks, *_mlp("per_atom_energy_readout.mlp_module", "readout", readout_dims)]


def _layer(index: int, irreps_in: o3.Irreps, irreps_out: o3.Irreps, config: ModelConfig) -> Iterator[Blocks]:
    theirs, ours = f"layer{index}_convnet.conv", f"layers.{index}"
    table = PathTable(irreps_in, config.l_max, irreps_out)
    radial_dims = [config.num_bessels, *[config.radial_mlp_width] * config.radial_mlp_depth, table.num_weights]
    yield _flat(f"{theirs}.linear_1.weight", f"{ours}.linear_1", irreps_in, irreps_in)
    yield from _mlp(f"{theirs}.edge_mlp", f"{ours}.radial_mlp", radial_dims)
    yield _flat(f"{theirs}.linear_2.weight", f"{ours}.linear_2", table.irreps_out, irreps_out)
    if index > 0:
        embedding_dim = config.type_embed_num_features or config.channels[0]
        yield _flat(f"{theirs}.sc.weight", f"{ours}.self_connection", irreps_in, irreps_out, (embedding_dim,))


def _mlp(theirs: str, ours: str, dims: list[int]) -> Iterator[Blocks]:
    for index, shape in enumerate(pairwise(dims)):  # every second module of theirs is the nonlinearity
        yield Blocks(f"{theirs}.mlp.{2 * index}.weight", shape, ((f"{ours}.weights.{index}", shape),))


def _flat(theirs: str, ours: str, irreps_in: o3.Irreps, irreps_out: o3.Irreps, middle: Shape = ()) -> Blocks:
    """A linear map: their blocks follow the inputs, our list of weights follows those outputs that have an input."""
    inputs = {ir for _, ir in irreps_in}
    outputs = [(ir, channels) for channels, ir in irreps_out if ir in inputs]
    slots = {ir: (f"{ours}.weights.{slot}", channels) for slot, (ir, channels) in enumerate(outputs)}
    parts = tuple((slots[ir][0], (channels, *middle, slots[ir][1])) for channels, ir in irreps_in if ir in slots)
    return Blocks(theirs, (sum(math.prod(shape) for _, shape in parts),), parts)


def select(shapes: Mapping[str, Shape], config: ModelConfig) -> dict[str, str]:
    """Name without wrapper -> key in the file, for every tensor that matters. Nothing but shapes is looked at.

    Raises ModelError for missing, unknown or wrongly shaped tensors. Empty tensors and e3nn's output masks carry no
    information and are left out.
    """
    prefixes = [key.removesuffix(EMBEDDING) for key in shapes if key.endswith(EMBEDDING)]
    if len(prefixes) != 1:
        raise ModelError(f"found {len(prefixes)} tensors named …{EMBEDDING}, expected one: not the state dict of one "
                         "NequIPGNNModel", _HINT)
    names = {key.removeprefix(prefixes[0]): key for key in shapes
             if math.prod(shapes[key]) > 0 and not key.endswith(".output_mask")}
    expected = {blocks.name: {blocks.shape} for blocks in layout(config)}
    expected |= {name: {tuple(value.shape)} for name, value in _constants(names, config).items()}
    optional = {name: {(1, 1), (len(config.species), 1)} for name in (SCALES, SHIFTS)}
    missing, unknown = expected.keys() - names.keys(), names.keys() - expected.keys() - optional.keys()
    if missing or unknown:
        raise ModelError(f"missing tensors {sorted(missing)[:3]}, unknown tensors {sorted(unknown)[:3]}", _HINT)
    allowed = expected | optional
    wrong = [f"{name} has shape {shapes[key]}, expected {' or '.join(map(str, sorted(allowed[name])))}"
             for name, key in names.items() if tuple(shapes[key]) not in allowed[name]]
    if wrong:
        raise ModelError("; ".join(wrong[:3]), _HINT)
    return names


def convert(state: Mapping[str, Tensor], config: ModelConfig) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Our configuration, completed by the energy scales and shifts (eV), and our state dict.

    state : nequip's state dict;  config : the result of `architecture`
    Raises ModelError for tensors that are missing, unknown, of wrong shape, not finite, or that contradict `config`.
    """
    names = select({key: tuple(tensor.shape) for key, tensor in state.items()}, config)
    tensors = {name: state[key] for name, key in names.items()}
    damaged = [name for name, tensor in tensors.items()
               if tensor.dtype not in (torch.float32, torch.float64) or not tensor.isfinite().all()]
    if damaged:
        raise ModelError(f"found values that are not finite 32- or 64-bit numbers in {damaged[:3]}",
                         "export the weights again")
    for name, expected in _constants(tensors, config).items():
        if not torch.allclose(tensors[name].double(), expected, rtol=CONSTANT_TOLERANCE, atol=CONSTANT_TOLERANCE):
            raise ModelError(f"{name} differs from what the configuration says", _HINT)
    ours = {key: part for blocks in layout(config) for key, part in blocks.cut(tensors[blocks.name]).items()}
    fields = config.model_dump()
    for name, key, field, default in ((SCALES, "table.scales", "per_species_energy_scales", 1.0),
                                      (SHIFTS, "table.shifts", "per_species_energy_shifts", 0.0)):
        values = tensors.get(name, torch.tensor(default)).double().flatten().expand(len(config.species)).contiguous()
        ours[key] = values
        fields[field] = dict(zip(config.species, values.tolist(), strict=True))
    prefix = "parts.0." if config.zbl else ""
    return parse_config(ModelConfig, fields), {prefix + key: tensor for key, tensor in ours.items()}


def _constants(names: Iterable[str], config: ModelConfig) -> dict[str, Tensor]:
    """Tensors in the file that follow from the configuration or from e3nn's conventions."""
    pair_cutoffs = SpeciesIndex(config).cutoffs
    cutoffs = torch.tensor(config.r_max, dtype=torch.float64) if pair_cutoffs is None else pair_cutoffs.flatten()
    constants = {"edge_norm._rmax_recip": 1.0 / cutoffs}
    if config.zbl:
        charges = [atomic_numbers[symbol] for symbol in config.species]
        constants["pair_potential.atomic_numbers"] = torch.tensor(charges, dtype=torch.float64)
        constants["pair_potential._qqr2exesquare"] = torch.tensor(0.5 * COULOMB_EV_A, dtype=torch.float64)
    for name in names:
        if match := _WIGNER.search(name):
            constants[name] = o3.wigner_3j(*map(int, match.groups()), dtype=torch.float64)
    return constants
