"""How checks look at a potential: its answers without the shifts, differences of answers, finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms

from toolkit.checks.result import MIN_FORCE_RMS_EV_PER_A
from toolkit.models.base import AtomisticModel
from toolkit.models.potential import Potential, Prediction
from toolkit.models.species import SpeciesTable

STENCIL = ((1, 45.0 / 60.0), (2, -9.0 / 60.0), (3, 1.0 / 60.0))
"""Offsets and weights of the central first derivative of sixth order."""

TINY = 1e-12
"""Stands for a zero scale, eV and Å; a result on it is refused anyway."""


@dataclass(frozen=True)
class Response:
    """Answers for one structure: energies (N,), eV, without shifts; forces (N, 3); stress (3, 3) or None."""

    energies: np.ndarray
    forces: np.ndarray
    stress: np.ndarray | None
    volume: float

    @property
    def force_rms(self) -> float:
        """eV/Å."""
        return rms(self.forces)

    @property
    def problem(self) -> str:
        """Why this structure tests nothing; empty when it does."""
        if self.force_rms >= MIN_FORCE_RMS_EV_PER_A:
            return ""
        return (f"nothing to test: the force RMS is {self.force_rms:.1e} eV/Å, "
                f"expected at least {MIN_FORCE_RMS_EV_PER_A:g} eV/Å")

    def errors(self, expected: Response, prefix: str = "") -> dict[str, float]:
        """RMS deviation of energies, forces and stress from the expected ones, relative to the size of those.

        Energies are measured in their RMS or, when that is larger, the force RMS times 1 Å; stresses in their RMS or,
        when that is larger, N · force RMS · 1 Å / volume, so that a stress near zero does not matter.
        """
        size = max(expected.force_rms, TINY)
        errors = {f"{prefix}energies": rms(self.energies - expected.energies) / max(rms(expected.energies), size),
                  f"{prefix}forces": rms(self.forces - expected.forces) / size}
        if expected.stress is not None:
            stress_size = max(rms(expected.stress), len(self.forces) * size / expected.volume)
            errors[f"{prefix}stress"] = rms(self.stress - expected.stress) / stress_size
        return errors


class Probe:
    """A potential seen through differences, one structure at a time unless a check is about batches.

    Shifts are constants that differences do not see, but totals near 1e5 eV would cost them five digits: `potential` is
    a copy with all shifts zero.
    """

    def __init__(self, potential: Potential) -> None:
        self.potential = modified(potential, _zero_shifts)

    def response(self, atoms: Atoms) -> Response:
        """Energies, forces and stress of one structure."""
        return _response(atoms, self.potential.predict(atoms))

    def responses(self, batch: Sequence[Atoms]) -> list[Response]:
        """The same for several structures in one batch."""
        return [_response(a, p) for a, p in zip(batch, self.potential.predict(batch), strict=True)]

    def energy(self, atoms: Atoms) -> float:
        """Energy without shifts, eV."""
        with torch.no_grad():
            return float(self.potential.evaluate(self.potential.graph(atoms), forces=False)["energy"][0])


def modified(potential: Potential, change: Callable[[AtomisticModel], None]) -> Potential:
    """The same potential with a copy of its model on which `change` has acted."""
    twin, model = copy(potential), deepcopy(potential.model)
    change(model)
    twin.model = model
    return twin


def _zero_shifts(model: AtomisticModel) -> None:
    for module in model.modules():
        if isinstance(module, SpeciesTable):
            module.shifts.data.zero_()


def _response(atoms: Atoms, prediction: Prediction) -> Response:
    stress = prediction.get("stress")
    return Response(prediction["energies"], prediction["forces"], stress, 0.0 if stress is None else atoms.get_volume())


def central_difference(function: Callable[[float], np.ndarray], step: float) -> np.ndarray:
    """f'(0) by a stencil of sixth order, six calls of f; its error is h⁶ f⁽⁷⁾/140."""
    return sum(weight * (function(k * step) - function(-k * step)) for k, weight in STENCIL) / step


def rms(values: np.ndarray) -> float:
    """Root mean square of all entries."""
    return float(np.sqrt(np.mean(values**2)))
