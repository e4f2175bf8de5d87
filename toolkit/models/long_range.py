"""What reaches beyond every cutoff: the Coulomb energy of charges that a model predicts."""

from __future__ import annotations

import math

from torch import Tensor

from toolkit.config_model import LongRangeConfig
from toolkit.data.graph import AtomicGraph
from toolkit.models.base import AtomisticModel, ModelOutput
from toolkit.models.coulomb import coulomb_energies
from toolkit.nn.charges import conserve_charge


class LongRange(AtomisticModel):
    """A model that predicts charges, and their Coulomb energy on top of its own.

    Nobody labels the charges: they are whatever makes energies and forces right (Cheng, npj Comput. Mater. 11, 80
    (2025)), except that those of a structure add up to its total charge.
    """

    def __init__(self, model: AtomisticModel, config: LongRangeConfig) -> None:
        super().__init__()
        self.model = model
        self.r_max = model.r_max
        self.species = model.species
        self.smearing_A = config.smearing_A
        self.accuracy = config.accuracy

    @property
    def receptive_field(self) -> float:
        """Charges have no cutoff."""
        return math.inf

    def forward(self, graph: AtomicGraph, vectors: Tensor) -> ModelOutput:
        """Atomic energies, (N,) float64, eV, and charges, (N,), e, that add up. vectors : (E, 3) float64, Å.

        Raises DataError for structures that are periodic in some directions only.
        """
        output = self.model(graph, vectors)
        charges = conserve_charge(output["charges"], graph.total_charge, graph.batch)
        energies = coulomb_energies(graph, charges, self.smearing_A, self.accuracy)
        return {**output, "charges": charges, "atomic_energies": output["atomic_energies"] + energies}
