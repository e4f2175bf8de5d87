"""Extended XYZ with any key names, and every other file that ASE reads."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TextIO

import ase.io
import numpy as np
from ase import Atoms
from ase.io.extxyz import read_xyz
from ase.io.formats import UnknownFileTypeError, filetype
from ase.spacegroup.spacegroup import SpacegroupError

from toolkit.config import DataConfig
from toolkit.data.qm9 import ATOM_ENERGIES_HARTREE
from toolkit.data.raw_frames import MAX_ATOMS_PER_FRAME, RawFrames, UnitStatement, stress_label
from toolkit.data.unit_names import (
    energy_unit_name,
    force_unit_name,
    forces_unit_in_key,
    length_unit_name,
    unit_in_key,
)
from toolkit.errors import DataError, one_line

ENERGY_NAMES = ("energy", "ref_energy", "dft_energy", "qm_energy", "energy_dft", "total_energy", "tot_energy",
                "potential_energy", "potential", "free_energy", "u0")
FORCES_NAMES = ("forces", "ref_forces", "dft_forces", "qm_forces", "forces_dft", "force", "ref_force", "dft_force")
STRESS_NAMES = ("stress", "ref_stress", "dft_stress", "qm_stress", "virial", "ref_virial", "dft_virial", "virials",
                "ref_virials", "dft_virials")
"""Recognised key names in lower case, best first. A virial is −V·stress (the GAP and ACE convention)."""

CHARGE_NAMES = ("charge", "total_charge", "tot_charge")
"""Of the total charge, in lower case, best first."""

OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
SIGNATURES = {b"PK\x03\x04": ".npz", b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ": ".xz", b"\x89HDF": ".h5"}
"""First bytes of files that are no text -> their usual ending."""
REFUSED_FORMATS = {"bundletrajectory", "db", "json", "postgresql", "mysql", "mariadb"}
"""ASE formats that are folders, data bases or able to hold Python objects."""

MAX_CHARACTERS, PIECE_CHARACTERS = 4 * 10**9, 2**24
"""Of a text file, unpacked: a small archive can unpack to any size."""

SAME_ENERGY_EV_PER_ATOM = 1e-3
"""Within which the difference of two energies is the same in all frames."""

PARSER_ERRORS = (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError,
                 ArithmeticError, NameError, SyntaxError, RuntimeError, MemoryError, StopIteration, ImportError,
                 struct.error, zlib.error, lzma.LZMAError, ase.io.ParseError, SpacegroupError)
"""What ASE's readers raise on files they do not understand."""


def read_extxyz(path: Path, config: DataConfig) -> RawFrames:
    """Read an extended (or plain) XYZ file, compressed or not; in eV and Å unless it says otherwise.

    Raises DataError when it is truncated, malformed, or lacks a key named in the configuration.
    """
    text = _read_text(path)
    _check_layout(text.splitlines(), path)
    try:
        frames = list(read_xyz(io.StringIO(text), index=slice(None)))
    except PARSER_ERRORS as error:
        raise _not_understood(path, "extended XYZ", error) from None
    return _raw(frames, path, "extended XYZ", config)


def read_with_ase(path: Path, config: DataConfig) -> RawFrames:
    """Read any other file through ASE, which converts to eV and Å. Raises DataError when ASE cannot."""
    name = "unknown"
    try:
        name = filetype(str(path))
        frames = [] if name in REFUSED_FORMATS else ase.io.read(
            path, index=":", format=name, do_not_split_by_at_sign=True)
    except UnknownFileTypeError:
        raise DataError(f"{path} is in no format that ASE recognises", "convert it to extended XYZ") from None
    except PARSER_ERRORS as error:
        raise _not_understood(path, f"the format {name!r} that ASE takes it for", error) from None
    if name in REFUSED_FORMATS:
        raise DataError(f"{path} is in the format {name!r}, which is not read", "convert it to extended XYZ with ASE")
    return _raw(frames, path, f"ASE {name}", config)


def _read_text(path: Path) -> str:
    try:
        with OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8") as stream:
            return _limited(stream, path)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"cannot read {path}: {one_line(error)}", _what_it_may_be(path)) from None


def _what_it_may_be(path: Path) -> str:
    """What to do with a file that is no text, by its first bytes."""
    with suppress(OSError), open(path, "rb") as stream:
        start = stream.read(len(max(SIGNATURES, key=len)))
        for signature, suffix in SIGNATURES.items():
            if start.startswith(signature) and not path.name.endswith(suffix):
                return f"it begins like {suffix}: give the file the ending {suffix}"
    return "the file is damaged or was cut short: fetch it again"


def _limited(stream: TextIO, path: Path) -> str:
    """All of a text, read piece by piece, so that one without end is noticed. Raises DataError."""
    pieces, length = [], 0
    while piece := stream.read(PIECE_CHARACTERS):
        pieces.append(piece)
        length += len(piece)
        if length > MAX_CHARACTERS:
            raise DataError(f"{path} holds more than {MAX_CHARACTERS / 1e9:.1f} billion characters", "split the file")
    return "".join(pieces)


def _check_layout(lines: list[str], path: Path) -> None:
    """Every frame must announce its number of atoms and hold that many lines: ASE alone would drop or misread some."""
    cursor = frame = 0
    while cursor < len(lines) and lines[cursor].strip():
        announced = lines[cursor].strip()
        if not announced.isdecimal() or not 0 < int(announced) <= MAX_ATOMS_PER_FRAME:
            raise DataError(f"{path} line {cursor + 1}: found {announced[:40]!r}, expected the number of atoms of "
                            f"frame {frame} (1 … {MAX_ATOMS_PER_FRAME})", "check the lines before it")
        present = len(lines) - cursor - 2
        if present < int(announced):
            raise DataError(f"{path} is truncated: frame {frame} announces {announced} atoms, found {max(present, 0)}",
                            "fetch the file again or remove the last frame")
        cursor += 2 + int(announced)
        while cursor < len(lines) and lines[cursor].lstrip().startswith("VEC"):
            cursor += 1
        frame += 1
    if any(line.strip() for line in lines[cursor:]):
        raise DataError(f"{path} line {cursor + 1}: found an empty line, expected the number of atoms of frame {frame}",
                        "remove it, or complete the frame before it")


def _not_understood(path: Path, kind: str, error: BaseException) -> DataError:
    line = one_line(error)[:200] or type(error).__name__
    return DataError(f"{path} cannot be read as {kind} ({line})",
                     "check that the file is complete and its name ends as it should")


def _raw(frames: list[Atoms], path: Path, name: str, config: DataConfig) -> RawFrames:
    tables = [_table(atoms) for atoms in frames]
    present = {key for table in tables for key in table}
    warnings: list[str] = []
    keys = {
        "energy": _choose("energy", config.energy_key, ENERGY_NAMES, present, path, warnings),
        "forces": _choose("forces", config.forces_key, FORCES_NAMES, present, path, warnings),
        "stress": _choose("stress", config.stress_key, STRESS_NAMES, present, path, warnings),
    }
    warnings += _two_energies(tables, keys["energy"])
    if keys["energy"] is None and keys["forces"] is None:
        warnings.append(f"no energies or forces recognised among {sorted(present - {'numbers', 'positions'})}: "
                        "name energy_key and forces_key")
    return RawFrames(
        format=name,
        structures=[_bare(atoms, keys.values()) for atoms in frames],
        energies=[_number(table.get(keys["energy"]), path, keys["energy"]) for table in tables],
        forces=[_array(table.get(keys["forces"]), path, keys["forces"]) for table in tables],
        stresses=[stress_label(_array(table.get(keys["stress"]), path, keys["stress"]), keys["stress"], atoms)
                  for atoms, table in zip(frames, tables, strict=True)],
        dipoles=[_array(table.get("dipole"), path, "dipole") for table in tables],
        keys=keys,
        statement=_statement(_HeaderUnits.of(tables, config, path), tables, keys, name),
        warnings=tuple(warnings),
    )


def _two_energies(tables: list[dict[str, object]], key: str | None) -> list[str]:
    """Calculations with smeared occupations have a free energy, whose slopes their forces are, besides that of zero width."""
    try:
        gaps = [(float(table["free_energy"]) - float(table[key])) / len(table["numbers"]) for table in tables
                if key in table and "free_energy" in table]
    except (TypeError, ValueError):
        return []
    if not gaps or key == "free_energy" or max(gaps) - min(gaps) <= SAME_ENERGY_EV_PER_ATOM:
        return []
    return [f"energy is read from {key!r}, from which 'free_energy' differs by {1e3 * min(gaps):.1f} to {1e3 * max(gaps):.1f} "
            "meV/atom: forces of smeared occupations are slopes of the free energy; name energy_key to choose"]


def _table(atoms: Atoms) -> dict[str, object]:
    """All named values of a frame: per-atom arrays, header entries and calculator results."""
    results = atoms.calc.results if atoms.calc is not None else {}
    return {**atoms.arrays, **atoms.info, **results}


def _choose(what: str, declared: str | None, names: tuple[str, ...], present: set[str], path: Path,
            warnings: list[str]) -> str | None:
    if declared is not None:
        if declared not in present:
            raise DataError(f"{path} has no {declared!r} for the {what}, found the keys {sorted(present)}",
                            f"correct {what}_key")
        return declared
    found = [key for name in names for key in sorted(present) if key.lower() == name]
    rivals = [key for key in found[1:] if key.lower() != "free_energy"]
    if rivals:
        warnings.append(f"{what} is read from {found[0]!r}; {rivals} are there too: name {what}_key to choose")
    return found[0] if found else None


def _bare(atoms: Atoms, label_keys: Iterable[str | None]) -> Atoms:
    """The structure with its other header entries and arrays, without calculator, constraints, label keys and units: these
    are no longer those of the file.

    Directions without a cell vector are not periodic, whatever the file says: some write an all-zero lattice.
    """
    bare = atoms.copy()
    bare.pbc = bare.pbc & bare.cell.any(axis=1)
    bare.calc = None
    bare.set_constraint()
    for key in (*label_keys, *_HeaderUnits._fields):
        bare.info.pop(key, None)
        bare.arrays.pop(key, None)
    _rename(bare)
    return bare


def _rename(atoms: Atoms) -> None:
    """The total charge and the masses under the names that are looked for later."""
    charges = [key for name in CHARGE_NAMES for key in atoms.info if key.lower() == name]
    if charges and "charge" not in atoms.info:
        atoms.info["charge"] = atoms.info.pop(charges[0])
    masses = atoms.arrays.get("mass")
    if masses is not None and masses.ndim == 1 and masses.dtype.kind in "iuf" and "masses" not in atoms.arrays:
        atoms.set_masses(atoms.arrays.pop("mass"))


def _number(value: object, path: Path, key: str | None) -> float | None:
    array = _array(value, path, key)
    if array is not None and array.size != 1:
        raise DataError(f"{path}: the energy {key!r} has {array.size} values, expected one per frame",
                        "correct energy_key")
    return None if array is None else float(array.reshape(()))


def _array(value: object, path: Path, key: str | None) -> np.ndarray | None:
    if value is None:
        return None
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{path}: {key!r} holds {str(value)[:40]!r}, expected numbers", "name another key") from None


class _HeaderUnits(NamedTuple):
    """Units that the headers of frames state, None where they state none."""

    energy_unit: str | None
    length_unit: str | None
    forces_unit: str | None

    @classmethod
    def of(cls, tables: list[dict[str, object]], config: DataConfig, path: Path) -> _HeaderUnits:
        """What is declared is not looked for. Raises DataError for a unit that is not known and for frames that differ."""
        readers = {"energy_unit": energy_unit_name, "length_unit": length_unit_name, "forces_unit": force_unit_name}
        return cls(**{key: _stated_unit(tables, key, name_of, path) if getattr(config, key) == "auto" else None
                      for key, name_of in readers.items()})


def _stated_unit(tables: list[dict[str, object]], key: str, name_of: Callable[[str], str | None],
                 path: Path) -> str | None:
    names = {text: name_of(text) for text in dict.fromkeys(str(table.get(key, "")).strip() for table in tables) if text}
    unknown = [text for text, name in names.items() if name is None]
    if unknown:
        raise DataError(f"{path}: found {key}={unknown[0][:40]!r} in a header, expected a unit that is known",
                        f"declare data.{key}")
    if len(set(names.values())) > 1:
        raise DataError(f"{path}: found frames of different {key}s, {', '.join(map(str, names))}, expected one",
                        "bring all frames to one unit, or make a file for each")
    return next(iter(names.values()), None)


def _statement(header: _HeaderUnits, tables: list[dict[str, object]], keys: dict[str, str | None],
               name: str) -> UnitStatement:
    forces_unit = forces_unit_in_key(keys["forces"]) or header.forces_unit
    length_unit, in_key = header.length_unit or "Å", unit_in_key(keys["energy"])
    if in_key is not None:
        return UnitStatement(in_key, length_unit, f"the key {keys['energy']!r}", forces_unit)
    if tables and keys["energy"] in ATOM_ENERGIES_HARTREE and {"zpve", "alpha", "Cv"} <= set(tables[0]):
        return UnitStatement("Hartree", "Å", "the columns of QM9", forces_unit)
    if header.energy_unit or header.length_unit:
        return UnitStatement(header.energy_unit or "eV", length_unit, "the file's header", forces_unit)
    source = "the convention of extended XYZ" if name == "extended XYZ" else "ASE's conversion"
    return UnitStatement("eV", "Å", source, forces_unit)
