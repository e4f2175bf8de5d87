"""The many spellings of units in files -> the names of `toolkit.units`."""

from __future__ import annotations

import re

_ENERGY = {
    "eV": ("ev", "electronvolt"),
    "meV": ("mev",),
    "kcal/mol": ("kcal/mol", "kcalmol", "kcal_mol", "kcal/mole", "kcalmol-1", "kcal.mol-1", "kcalmol^-1"),
    "kJ/mol": ("kj/mol", "kjmol", "kj_mol", "kjmol-1", "kj.mol-1", "kjmol^-1"),
    "Hartree": ("hartree", "hartrees", "ha", "eh", "e_h", "au", "a.u."),
    "Rydberg": ("rydberg", "ry"),
}
_LENGTH = {
    "Å": ("å", "a", "ang", "angstrom", "angstroms", "ångström"),
    "Bohr": ("bohr", "a0", "au", "a.u."),
    "nm": ("nm", "nanometer"),
}
_FORCES_SUFFIX = re.compile(r"_(ev|mev|kcal_mol|kcal/mol|kj_mol|kj/mol|hartree|ha|rydberg|ry)(?:_per_|_|/)"
                            r"(a|ang|angstrom|bohr|a0|nm)$", re.IGNORECASE)
_KEY_SUFFIX = re.compile(r"_(ev|mev|kcal_mol|kcal/mol|kj_mol|kj/mol|hartree|ha|rydberg|ry)$", re.IGNORECASE)


def energy_unit_name(text: str) -> str | None:
    """The name of an energy unit from its spelling in a file, or None when it is not known."""
    return _lookup(_ENERGY, text)


def length_unit_name(text: str) -> str | None:
    """The name of a length unit from its spelling in a file, or None when it is not known."""
    return _lookup(_LENGTH, text)


def unit_in_key(key: str | None) -> str | None:
    """The energy unit that a key such as `atomization_energy_kcal_mol` names at its end, or None."""
    match = _KEY_SUFFIX.search(key or "")
    return energy_unit_name(match.group(1)) if match else None


def force_unit_name(text: str) -> str | None:
    """The name of a force unit from its spelling in a file, as in "Hartree/Bohr", or None when it is not known."""
    if text.strip().lower() in ("au", "a.u."):
        return "Hartree/Bohr"
    energy, _, length = text.replace(" per ", "/").rpartition("/")
    names = energy_unit_name(energy), length_unit_name(length)
    return None if None in names else "/".join(map(str, names))


def forces_unit_in_key(key: str | None) -> str | None:
    """The force unit that a key such as `forces_hartree_per_bohr` names at its end, or None."""
    match = _FORCES_SUFFIX.search(key or "")
    return force_unit_name("/".join(match.groups())) if match else None


def _lookup(table: dict[str, tuple[str, ...]], text: str) -> str | None:
    spelling = text.strip().lower().replace(" ", "")
    return next((name for name, spellings in table.items() if spelling in spellings), None)
