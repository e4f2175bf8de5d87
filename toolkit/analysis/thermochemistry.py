"""Free energy of a molecule as a rigid rotor and harmonic oscillator in an ideal gas (RRHO)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from ase import Atoms
from ase.thermochemistry import HarmonicThermo, IdealGasThermo

from toolkit.analysis.normal_modes import NormalModes
from toolkit.errors import DataError
from toolkit.units import CM1_EV

STANDARD_PRESSURE_PA = 1e5


@dataclass(frozen=True)
class Thermochemistry:
    """Corrections to the potential energy of the minimum, eV (entropy eV/K), and what they were computed for.

    enthalpy, entropy and gibbs energy contain translation and rotation; helmholtz_vibrational only the vibrations
    """

    temperature_K: float
    pressure_Pa: float
    symmetry_number: int
    spin: float
    n_imaginary_left_out: int
    zero_point_energy_eV: float
    helmholtz_vibrational_eV: float
    enthalpy_eV: float
    entropy_eV_per_K: float
    gibbs_energy_eV: float

    def to_dict(self) -> dict[str, float | int]:
        """As plain numbers."""
        return asdict(self)


def rrho(modes: NormalModes, *, temperature_K: float = 298.15, pressure_Pa: float = STANDARD_PRESSURE_PA,
         symmetry_number: int = 1, spin: float = 0.0) -> Thermochemistry:
    """Thermodynamic functions of the ideal gas, by `ase.thermochemistry` (McQuarrie, Statistical Mechanics, ch. 5–8).

    symmetry_number : rotations that leave the molecule as it is (2 for water, 12 for benzene); it is not searched for
    spin : total electronic spin, 0 when all electrons are paired
    Imaginary modes are left out and counted. Raises DataError for a temperature or pressure that is not positive.
    """
    if not (temperature_K > 0.0 and pressure_Pa > 0.0 and symmetry_number >= 1):
        raise DataError(f"found {temperature_K} K, {pressure_Pa} Pa and symmetry number {symmetry_number}, "
                        "expected positive values")
    energies = CM1_EV * modes.frequencies_cm1[modes.frequencies_cm1 > 0.0]
    atoms = Atoms(numbers=np.ones(len(modes.masses)), positions=modes.positions, masses=modes.masses)
    geometry = "monatomic" if len(atoms) == 1 else "linear" if modes.linear else "nonlinear"
    gas = IdealGasThermo(energies, geometry, atoms=atoms, symmetrynumber=symmetry_number, spin=spin, vib_selection="all")
    helmholtz = HarmonicThermo(energies).get_helmholtz_energy(temperature_K, verbose=False) if len(energies) else 0.0
    return Thermochemistry(
        temperature_K, pressure_Pa, symmetry_number, spin, modes.n_imaginary, modes.zero_point_energy_eV,
        float(helmholtz),
        float(gas.get_enthalpy(temperature_K, verbose=False)),
        float(gas.get_entropy(temperature_K, pressure_Pa, verbose=False)),
        float(gas.get_gibbs_energy(temperature_K, pressure_Pa, verbose=False)))
