"""A potential as an ASE calculator, so that everything ASE does can be done with it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from toolkit.data.graph import total_charge
from toolkit.models.potential import Potential, load_potential


class Calculator(AseCalculator):
    """ASE calculator: energy = free_energy (eV), energies (N,), forces (N, 3), eV/Å; when periodic along all three
    vectors also stress (6,), Voigt order xx yy zz yz xz xy, eV/Å³, tensile positive.

    pot : what `toolkit.load` or `toolkit.build` returned, or the name or folder of a model.
    Raises DataError for elements it does not know.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress"]

    def __init__(self, pot: Potential | str | Path) -> None:
        super().__init__()
        self.pot = load_potential(pot) if isinstance(pot, str | Path) else pot

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last calculation; to ASE's list comes the total charge, `atoms.info["charge"]`."""
        changes = super().check_state(atoms, tol=tol)
        if self.atoms is not None and total_charge(atoms) != total_charge(self.atoms):
            changes.append("charge")
        return changes

    def calculate(self, atoms: Atoms | None = None, properties: list[str] | None = None,
                  system_changes: list[str] = all_changes) -> None:
        """Compute everything the potential gives for `atoms` into `results`; called by ASE when something changed."""
        super().calculate(atoms, properties, system_changes)
        self.results = dict(self.pot.predict(self.atoms))
        self.results["free_energy"] = self.results["energy"]
        if "stress" in self.results:
            self.results["stress"] = full_3x3_to_voigt_6_stress(self.results["stress"])
