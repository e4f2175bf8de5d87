"""Repulsion between nuclei at short range, and models that are sums of parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from ase.data import atomic_numbers as number_of
from ase.data import covalent_radii
from torch import Tensor

from toolkit.config import ModelConfig
from toolkit.data.graph import AtomicGraph
from toolkit.models.base import AtomisticModel, ModelOutput
from toolkit.models.species import SpeciesIndex, pair_cutoffs
from toolkit.nn.radial import polynomial_envelope

COULOMB_EV_A = 14.399645
"""e²/4πε₀, eV Å, to the digits that LAMMPS and nequip use, so that all three agree."""
SCREENING_LENGTH_A = 0.46850
SCREENING_EXPONENT = 0.23
SCREENING = ((0.02817, 0.20162), (0.28022, 0.40290), (0.50986, 0.94229), (0.18175, 3.19980))
"""Amplitudes and decay rates of the universal screening function."""


class ZBL(AtomisticModel):
    """V(r) = e²/4πε₀ · Z_i Z_j / r · φ(r/a), a = 0.4685 Å / (Z_i^0.23 + Z_j^0.23), times the C2 envelope of r/r_max.

    With `zbl_reach` f the envelope of a pair ends at f (R_i + R_j), R the covalent radii.
    Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Solids (1985). No parameters are trained.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.r_max = config.r_max
        self.species = config.species
        self.table = SpeciesIndex(_with_core_cutoffs(config))
        self.p = config.polynomial_cutoff_p

    def forward(self, graph: AtomicGraph, vectors: Tensor) -> ModelOutput:
        """Atomic energies, (N,) float64, eV. vectors : (E, 3) float64, Å."""
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        charges = graph.atomic_numbers.to(vectors.dtype)
        z_center, z_neighbor = charges.index_select(0, graph.edge_index[0]), charges.index_select(0, graph.edge_index[1])
        x = lengths * (z_center**SCREENING_EXPONENT + z_neighbor**SCREENING_EXPONENT) / SCREENING_LENGTH_A
        screening = torch.stack([c * torch.exp(-d * x) for c, d in SCREENING]).sum(dim=0)
        index = self.table.index(graph.atomic_numbers)
        cutoffs = self.table.pair_cutoffs(index, graph.edge_index)
        envelope = polynomial_envelope(lengths / (self.r_max if cutoffs is None else cutoffs), self.p)
        energies = 0.5 * COULOMB_EV_A * z_center * z_neighbor / lengths * screening * envelope
        return {"atomic_energies": vectors.new_zeros(graph.num_atoms).index_add(0, graph.edge_index[0], energies)}


def _with_core_cutoffs(config: ModelConfig) -> ModelConfig:
    """The same configuration with the end of the repulsion as the cutoff of each pair."""
    if config.zbl_reach is None:
        return config
    radius = {symbol: covalent_radii[number_of[symbol]] for symbol in config.species}
    given = pair_cutoffs(config)
    ends = {(a, b): min(config.zbl_reach * (radius[a] + radius[b]), given[a, b]) for a, b in given}
    return config.model_copy(update={"per_pair_r_max": {f"{a}-{b}": float(end) for (a, b), end in ends.items()}})


class SumModel(AtomisticModel):
    """A model whose atomic energies are the sum of its parts'; other outputs come from the part that has them."""

    def __init__(self, parts: Sequence[AtomisticModel]) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList(parts)
        self.r_max = max(part.r_max for part in parts)
        self.species = parts[0].species

    @property
    def receptive_field(self) -> float:
        """That of the part that sees farthest, Å."""
        return max(part.receptive_field for part in self.parts)

    def forward(self, graph: AtomicGraph, vectors: Tensor) -> ModelOutput:
        """Outputs of all parts, atomic energies (N,) summed."""
        outputs = [part(graph, vectors) for part in self.parts]
        joined = {key: value for output in reversed(outputs) for key, value in output.items()}
        return {**joined, "atomic_energies": torch.stack([o["atomic_energies"] for o in outputs]).sum(dim=0)}
