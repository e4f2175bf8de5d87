"""How checks look at a potential: its answers without the isolated atoms, differences of answers, finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms

from toolkit.checks.result import MIN_FORCE_RMS_EV_PER_A
from toolkit.models.derivatives import evaluate
from toolkit.models.potential import Potential

STENCIL = ((1, 45.0 / 60.0), (2, -9.0 / 60.0), (3, 1.0 / 60.0))
"""Offsets and weights of the central first derivative of sixth order."""

TINY = 1e-12
"""Stands for a zero scale, eV and Å; a result on it is refused anyway."""


@dataclass(frozen=True)
class Response:
    """Answers for one structure: energies (N,), eV, relative to isolated atoms; forces (N, 3); stress (3, 3) or None."""

    energies: np.ndarray
    forces: np.ndarray
    stress: np.ndarray | None
    volume: float

    @property
    def force_rms(self) -> float:
        """eV/Å."""
        return float(np.sqrt(np.mean(self.forces**2)))

    @property
    def problem(self) -> str:
        """Why this structure tests nothing; empty when it does."""
        if self.force_rms >= MIN_FORCE_RMS_EV_PER_A:
            return ""
        return (f"nothing to test: the force RMS is {self.force_rms:.1e} eV/Å, "
                f"expected at least {MIN_FORCE_RMS_EV_PER_A:g} eV/Å")

    def errors(self, expected: Response, prefix: str = "") -> dict[str, float]:
        """Largest deviations of energies, forces and stress from the expected ones, relative to the size of those.

        Energies are measured in their RMS or, when that is larger, the force RMS times 1 Å; stresses in their maximum
        or, when that is larger, N · force RMS · 1 Å / volume, so that a stress near zero does not matter.
        """
        size = max(expected.force_rms, TINY)
        energy_size = max(float(np.sqrt(np.mean(expected.energies**2))), size)
        errors = {f"{prefix}energies": float(np.abs(self.energies - expected.energies).max()) / energy_size,
                  f"{prefix}forces": float(np.abs(self.forces - expected.forces).max()) / size}
        if expected.stress is not None:
            stress_size = max(float(np.abs(expected.stress).max()), len(self.forces) * size / expected.volume)
            errors[f"{prefix}stress"] = float(np.abs(self.stress - expected.stress).max()) / stress_size
        return errors


class Probe:
    """A potential seen through differences.

    Totals near 1e5 eV would cost five digits, so energies are taken relative to isolated atoms, which are themselves
    asked of the potential, one element at a time. Structures are evaluated one by one unless a check is about batches.
    """

    def __init__(self, potential: Potential) -> None:
        self.potential = potential
        self._isolated: dict[int, float] = {}

    def response(self, atoms: Atoms) -> Response:
        """Energies, forces and stress of one structure."""
        return self._response(atoms, self.potential.predict(atoms))

    def responses(self, batch: Sequence[Atoms]) -> list[Response]:
        """The same for several structures in one batch."""
        return [self._response(a, p) for a, p in zip(batch, self.potential.predict(batch), strict=True)]

    def energy(self, atoms: Atoms) -> float:
        """Energy relative to isolated atoms, eV."""
        with torch.no_grad():
            output = evaluate(self.potential.model, self.potential.graph(atoms), forces=False)
        return float((output["atomic_energies"].cpu().numpy() - self.isolated_energies(atoms.numbers)).sum())

    def isolated_energies(self, numbers: np.ndarray) -> np.ndarray:
        """Energy of each atom when it is alone, (N,), eV. numbers : (N,), atomic numbers"""
        for number in set(numbers.tolist()) - set(self._isolated):
            self._isolated[number] = float(self.potential.predict(Atoms([number]))["energy"])
        return np.array([self._isolated[number] for number in numbers.tolist()])

    def _response(self, atoms: Atoms, prediction: dict) -> Response:
        volume = atoms.get_volume() if "stress" in prediction else 0.0
        return Response(prediction["energies"] - self.isolated_energies(atoms.numbers), prediction["forces"],
                        prediction.get("stress"), volume)


def central_difference(function: Callable[[float], np.ndarray], step: float) -> np.ndarray:
    """f'(0) by a stencil of sixth order, six calls of f; its error is h⁶ f⁽⁷⁾/140."""
    return sum(weight * (function(k * step) - function(-k * step)) for k, weight in STENCIL) / step
