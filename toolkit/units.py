"""Conversion factors. Inside the toolkit everything is eV, Å, fs, K, amu and e; readers and writers convert.

All values derive from `ase.units` (CODATA 2014), so they agree with ASE to the last digit.
"""

from __future__ import annotations

from ase import units as _ase

KB_EV_PER_K = _ase.kB
"""Boltzmann constant, eV/K."""

KCAL_PER_MOL_EV = _ase.kcal / _ase.mol
KJ_PER_MOL_EV = _ase.kJ / _ase.mol
HARTREE_EV = _ase.Hartree
RYDBERG_EV = _ase.Rydberg
BOHR_A = _ase.Bohr
NM_A = 10.0
FS_PER_PS = 1000.0
MEV_PER_EV = 1000.0
EV_PER_A3_GPA = 1.0 / _ase.GPa
"""One eV/Å³ in GPa."""

AMU_A2_PER_FS2_EV = _ase._amu * 1e10 / _ase._e
"""One amu·Å²/fs² in eV (103.64…): kinetic energy = ½ m v² times this."""

E_A_DEBYE = 1.0 / _ase.Debye
"""One e·Å in debye."""

ENERGY_UNITS_EV = {
    "eV": 1.0,
    "meV": 1e-3,
    "kcal/mol": KCAL_PER_MOL_EV,
    "kJ/mol": KJ_PER_MOL_EV,
    "Hartree": HARTREE_EV,
    "Rydberg": RYDBERG_EV,
}
"""Name of an energy unit -> its value in eV."""

LENGTH_UNITS_A = {"Å": 1.0, "Bohr": BOHR_A, "nm": NM_A}
"""Name of a length unit -> its value in Å."""

FORCE_UNITS_EV_PER_A = {f"{energy}/{length}": energy_eV / length_A for energy, energy_eV in ENERGY_UNITS_EV.items()
                        for length, length_A in LENGTH_UNITS_A.items()}
"""Name of a force unit, such as Hartree/Bohr -> its value in eV/Å."""

PER_FS_CM1 = 1e13 / _ase._c
"""One oscillation per fs as a wavenumber (33356.4…): ν / c, cm⁻¹."""

CM1_EV = _ase.invcm
"""The quantum h c of a vibration of 1 cm⁻¹, eV."""
