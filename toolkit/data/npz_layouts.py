"""NumPy archives: MD17 and sGDML (R, z, E, F), rMD17 (coords, nuclear_charges, energies, forces), embedded sets."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
from ase import Atoms

from toolkit.config import DataConfig
from toolkit.data.raw_frames import RawFrames, UnitStatement, stress_label
from toolkit.data.unit_names import energy_unit_name, force_unit_name, forces_unit_in_key, length_unit_name
from toolkit.errors import DataError, one_line

ALIASES = {
    "numbers": ("z", "Z", "nuclear_charges", "atomic_numbers", "numbers"),
    "positions": ("R", "coords", "coordinates", "positions"),
    "energy": ("E", "energies", "energy"),
    "forces": ("F", "forces", "force"),
    "stress": ("stress", "stresses"),
    "cell": ("lattice", "cell", "cells"),
    "dipole": ("dipoles",),
}
"""What an array holds -> the names it has in known layouts."""

PERIODICITY, CHARGES = "pbc", ("charge", "total_charge", "Q")
"""Names of arrays that are taken where they fit, and left alone where they hold something else."""

MAX_UNPACKED_BYTES = 32 * 1024**3

BROKEN_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, MemoryError, RuntimeError, ValueError)
"""What NumPy and zipfile raise on damaged archives."""

STATEMENTS = ("type", "e_unit", "r_unit", "metadata")
"""Entries that say something about the file; all other arrays are left alone."""


def array_names(path: Path) -> list[str]:
    """Names of the arrays of an .npz file, none of them opened. Raises DataError when it is damaged or too large."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except BROKEN_ARCHIVE as error:
        raise _damaged(path, error) from None
    size = sum(entry.file_size for entry in entries)
    if size > MAX_UNPACKED_BYTES:
        raise DataError(f"{path} unpacks to {size / 1024**3:.0f} GiB, expected at most "
                        f"{MAX_UNPACKED_BYTES / 1024**3:.0f}", "split the file")
    return [entry.filename.removesuffix(".npy") for entry in entries]


def load_arrays(path: Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """Those of the `wanted` arrays that an .npz file has, by name; others are never opened.

    Raises DataError for a damaged archive and for arrays of Python objects, which could run code.
    """
    present = array_names(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in present if key in wanted}
    except BROKEN_ARCHIVE as error:
        if "Object arrays" in str(error):
            raise DataError(f"{path} holds arrays of Python objects, expected plain number arrays",
                            "save each quantity as a numeric array: objects can run code and stay closed") from None
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> DataError:
    line = one_line(error) or type(error).__name__
    return DataError(f"{path} is not a complete NumPy .npz archive ({line})",
                     "the file is damaged or its download was cut short: fetch it again")


def read_npz(path: Path, config: DataConfig) -> RawFrames:
    """Read the frames of a NumPy archive.

    Raises DataError for truncated archives, object arrays, missing arrays and shapes that do not fit together.
    """
    present = array_names(path)
    keys = _keys(present, path, config)
    stored = load_arrays(path, {key for key in keys.values() if key is not None} | set(STATEMENTS))
    if "type" in stored and _text(stored["type"]) in ("m", "t"):
        raise DataError(f"{path} is an sGDML model or task, expected a data set", "give the data set it was made from")
    arrays = {what: stored[key] for what, key in keys.items() if key is not None}
    for what, array in arrays.items():
        if array.dtype.kind not in "iuf":
            raise DataError(f"{path}: array {keys[what]!r} has type {array.dtype}, expected numbers")
    positions = arrays["positions"].astype(np.float64)
    if positions.ndim != 3 or positions.shape[2] != 3:
        raise DataError(f"{path}: positions {keys['positions']!r} have shape {positions.shape}, "
                        "expected (frames, atoms, 3)")
    numbers = _numbers(arrays["numbers"], positions, path, keys["numbers"])
    cells = _per_frame(arrays.get("cell"), (3, 3), positions, path, "cell")
    if keys["cell"] == "lattice" and cells is not None:
        cells = _rows(cells, stored, path)
    energies = _per_frame(arrays.get("energy"), (), positions, path, "energy")
    forces = _per_frame(arrays.get("forces"), positions.shape[1:], positions, path, "forces")
    stresses = _per_frame(arrays.get("stress"), (3, 3), positions, path, "stress")
    dipoles = _per_frame(arrays.get("dipole"), (3,), positions, path, "dipole")
    pbc = _periodicity(_hint(path, PERIODICITY) if PERIODICITY in present else None, cells, len(positions))
    charges = next((found for name in CHARGES if name in present
                    and (found := _charges(_hint(path, name), len(positions))) is not None), None)
    sizes = [np.count_nonzero(z) if arrays["numbers"].ndim == 2 else len(z) for z in numbers]
    structures = [Atoms(z[:n], r[:n], cell=None if cells is None else cells[t], pbc=pbc[t],
                        info={} if charges is None else {"charge": float(charges[t])})
                  for t, (z, r, n) in enumerate(zip(numbers, positions, sizes, strict=True))]
    return RawFrames(
        format=f"npz ({', '.join(sorted(key for key in keys.values() if key is not None))})",
        structures=structures,
        energies=[None] * len(positions) if energies is None else [float(e) for e in energies],
        forces=[None] * len(positions) if forces is None else [f[:n] for f, n in zip(forces, sizes, strict=True)],
        stresses=[None] * len(positions) if stresses is None else [
            stress_label(stress, keys["stress"], atoms) for stress, atoms in zip(stresses, structures, strict=True)],
        dipoles=[None] * len(positions) if dipoles is None else list(dipoles),
        keys={what: keys[what] for what in ("energy", "forces", "stress")},
        statement=_statement(stored, keys["forces"]),
    )


def _rows(lattice: np.ndarray, stored: dict[str, np.ndarray], path: Path) -> np.ndarray:
    """Lattice vectors (T, 3, 3) as rows: sGDML, which marks its sets, stores columns. Raises DataError without that mark."""
    columns = np.swapaxes(lattice, 1, 2)
    if not np.allclose(columns, lattice) and not (stored.keys() & {"type", "e_unit", "r_unit"}):
        raise DataError(f"{path}: found 'lattice' in a file that is not marked as one of sGDML (type 'd'), whose lattice vectors "
                        "are columns: these may be rows", "call the array 'cell' and let the vectors be its rows")
    return columns


def _keys(present: list[str], path: Path, config: DataConfig) -> dict[str, str | None]:
    declared = {"energy": config.energy_key, "forces": config.forces_key, "stress": config.stress_key}
    keys: dict[str, str | None] = {}
    for what, names in ALIASES.items():
        wanted = declared.get(what)
        if wanted is not None and wanted not in present:
            raise DataError(f"{path} has no array {wanted!r} for the {what}, found {sorted(present)}",
                            f"correct {what}_key")
        keys[what] = wanted or next((name for name in names if name in present), None)
    for what in ("numbers", "positions"):
        if keys[what] is None:
            raise DataError(f"{path} has no {what}: found arrays {sorted(present)}, expected one of {ALIASES[what]}",
                            "rename the array")
    return keys


def _numbers(numbers: np.ndarray, positions: np.ndarray, path: Path, key: str | None) -> np.ndarray:
    num_frames, num_atoms = positions.shape[:2]
    if numbers.shape not in ((num_atoms,), (num_frames, num_atoms)):
        raise DataError(f"{path}: atomic numbers {key!r} have shape {numbers.shape}, expected ({num_atoms},) or "
                        f"({num_frames}, {num_atoms}) to match the positions {positions.shape}")
    if (numbers != np.rint(numbers)).any() or (numbers < 0).any() or (numbers.ndim == 1 and (numbers == 0).any()):
        raise DataError(f"{path}: atomic numbers {key!r} hold {sorted(set(numbers.ravel().tolist()))[:5]}, "
                        "expected whole numbers from 1 to 118")
    if numbers.ndim == 2 and (np.diff((numbers == 0).astype(int), axis=1) < 0).any():
        raise DataError(f"{path}: atomic numbers {key!r} hold zeros between atoms, "
                        "expected zeros only as padding at the end")
    return np.broadcast_to(numbers.astype(int), (num_frames, num_atoms))


def _per_frame(array: np.ndarray | None, shape: tuple[int, ...], positions: np.ndarray, path: Path,
               what: str) -> np.ndarray | None:
    if array is None:
        return None
    wanted = (len(positions), *shape)
    if what == "cell" and array.shape == shape:
        return np.broadcast_to(array.astype(np.float64), wanted)
    if array.shape not in (wanted, (*wanted, 1)):
        raise DataError(f"{path}: {what} has shape {array.shape}, expected {wanted} to match the positions "
                        f"{positions.shape}")
    return array.reshape(wanted).astype(np.float64)


def _hint(path: Path, name: str) -> np.ndarray | None:
    """An array of numbers or truth values under this name, None for anything else and for nothing."""
    try:
        array = load_arrays(path, {name}).get(name)
    except DataError:  # Python objects: what a set of many molecules holds under such a name
        return None
    return array if array is not None and array.dtype.kind in "iufb" else None


def _charges(array: np.ndarray | None, num_frames: int) -> np.ndarray | None:
    """The total charge of each frame, (T,), e: whole numbers. None also for partial charges of atoms."""
    if array is None or array.shape not in ((), (1,), (num_frames,), (num_frames, 1)):
        return None
    charges = np.broadcast_to(array.reshape(-1).astype(np.float64), num_frames)
    return charges if np.isfinite(charges).all() and np.allclose(charges, np.rint(charges), atol=1e-6) else None


def _periodicity(array: np.ndarray | None, cells: np.ndarray | None, num_frames: int) -> np.ndarray:
    """(T, 3): which directions repeat. Those with a cell vector do, unless an array says otherwise."""
    if cells is None:
        return np.zeros((num_frames, 3), dtype=bool)
    shapes = {(num_frames,): (num_frames, 1), (num_frames, 1): (num_frames, 1), (num_frames, 3): (num_frames, 3),
              (): (1, 1), (1,): (1, 1), (3,): (1, 3)}
    stated = array is not None and array.shape in shapes
    return cells.any(axis=2) & (array.reshape(shapes[array.shape]).astype(bool) if stated else True)


def _statement(stored: dict[str, np.ndarray], forces_key: str | None) -> UnitStatement:
    """Units written in the archive: our own metadata, sGDML's e_unit and r_unit, the end of the name of the forces."""
    forces_unit = forces_unit_in_key(forces_key)
    if "metadata" in stored:
        try:
            about = json.loads(_text(stored["metadata"]))
        except json.JSONDecodeError:
            about = None
        if isinstance(about, dict) and "energy_unit" in about:
            return UnitStatement(energy_unit_name(str(about["energy_unit"])),
                                 length_unit_name(str(about.get("length_unit"))), "the file's metadata",
                                 force_unit_name(str(about.get("forces_unit"))) or forces_unit)
    texts = {key: _text(stored[key]) for key in ("e_unit", "r_unit") if key in stored}
    return UnitStatement(energy_unit_name(texts.get("e_unit", "")), length_unit_name(texts.get("r_unit", "")),
                         f"the file's {' and '.join(texts)}" if texts else "", forces_unit)


def _text(array: np.ndarray) -> str:
    """The text in an array of one string or byte string; empty for anything else."""
    value = array.item() if array.size == 1 else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
