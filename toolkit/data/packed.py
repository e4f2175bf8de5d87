"""Very many molecules in few files: arrays end to end, in shards that are mapped into memory and read where needed.

A folder holds `header.json` and, per shard of `shard_frames` molecules, NumPy files: atomic_numbers (N,) uint8,
positions (N, 3), Å, forces (N, 3), eV/Å, first_atom (S + 1,) int64, energy (S,), eV, dipole_norm (S,), e·Å, charge (S,), e;
what a molecule does not have is NaN, and a file in which all would be is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from toolkit.data.graph import total_charge
from toolkit.errors import DataError, StorageError, one_line
from toolkit.storage import replacing, write_text_atomic

HEADER = "header.json"
FORMAT_VERSION = 1
SHARD_FRAMES = 10_000
ARRAYS = ("atomic_numbers", "positions", "forces", "first_atom", "energy", "dipole_norm", "charge")
OPTIONAL = {"forces", "dipole_norm", "charge"}
OPEN_SHARDS = 64
"""Shards that are mapped at a time: each array of them keeps a file open."""


class Shards:
    """The shards of a folder, opened when asked for; the last `OPEN_SHARDS` stay open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened = lru_cache(maxsize=OPEN_SHARDS)(partial(_open_shard, folder))

    def __getitem__(self, place: int) -> dict[str, np.ndarray]:
        return self._opened(place)

    def __reduce__(self) -> tuple[type[Shards], tuple[Path]]:
        return Shards, (self._folder,)


class PackedFrames(Sequence[Atoms]):
    """The molecules of a packed folder as a sequence; each is made when asked for, with what is known as its results.

    A slice or `select` is another view of the same files.
    """

    def __init__(self, shards: Shards, shard_frames: int, indices: np.ndarray) -> None:
        self._shards = shards
        self._shard_frames = shard_frames
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Atoms: ...

    @overload
    def __getitem__(self, index: slice) -> PackedFrames: ...

    def __getitem__(self, index: int | slice) -> Atoms | PackedFrames:
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        place, s = divmod(int(self._indices[index]), self._shard_frames)
        return _molecule(self._shards[place], s)

    def select(self, indices: np.ndarray) -> PackedFrames:
        """The molecules at these places, (T,) int64, in this order."""
        return PackedFrames(self._shards, self._shard_frames, self._indices[indices])


def pack_frames(frames: Iterable[Atoms], folder: Path, report: dict[str, Any],
                shard_frames: int = SHARD_FRAMES) -> int:
    """Write molecules (eV, Å) as they come, at most one shard of them in memory, and return their number.

    report : JSON-able, kept in the header, which is written last: a folder without one is not complete.
    Raises DataError for periodic structures and for none at all, StorageError when the folder cannot be written.
    """
    stream, num_frames, num_shards = iter(frames), 0, 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / HEADER).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write into {folder}: {error.strerror}", "give a folder you may write to") from None
    while chunk := list(islice(stream, shard_frames)):
        if any(atoms.pbc.any() for atoms in chunk):
            raise DataError("found a periodic structure, expected molecules: a packed folder has no cells",
                            "train on the file itself")
        for name, values in _joined(chunk).items():
            file = _array_file(folder, num_shards, name)
            if name in OPTIONAL and np.isnan(values).all():
                file.unlink(missing_ok=True)
                continue
            with replacing(file) as temporary, open(temporary, "wb") as sink:
                np.save(sink, values, allow_pickle=False)
        num_frames, num_shards = num_frames + len(chunk), num_shards + 1
    if not num_frames:
        raise DataError("found no molecules to pack, expected at least one", "check the source")
    header = {"format_version": FORMAT_VERSION, "num_frames": num_frames, "shard_frames": shard_frames,
              "report": report}
    write_text_atomic(folder / HEADER, json.dumps(header, indent=2, ensure_ascii=False))
    return num_frames


def is_packed(path: Path) -> bool:
    """True for a complete folder of packed molecules."""
    return (path / HEADER).is_file()


def open_packed(folder: Path) -> tuple[PackedFrames, dict[str, Any]]:
    """The molecules of a packed folder and the report they were packed with. Raises DataError when it is damaged."""
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        if header["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format_version {header['format_version']}, expected {FORMAT_VERSION}")
        num_frames, shard_frames = int(header["num_frames"]), int(header["shard_frames"])
        shards = Shards(folder)
        found = sum(len(shards[shard]["energy"]) for shard in range(-(-num_frames // shard_frames)))
        if found != num_frames:
            raise ValueError(f"{found} molecules, expected {num_frames}")
        return PackedFrames(shards, shard_frames, np.arange(num_frames)), dict(header["report"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} is not a complete folder of packed molecules ({one_line(error)})",
                        "pack the data again") from None


def _joined(chunk: list[Atoms]) -> dict[str, np.ndarray]:
    results = [atoms.calc.results if atoms.calc is not None else {} for atoms in chunk]
    forces = [found.get("forces", np.full((len(atoms), 3), np.nan))
              for found, atoms in zip(results, chunk, strict=True)]
    return {
        "atomic_numbers": np.concatenate([atoms.numbers for atoms in chunk]).astype(np.uint8),
        "positions": np.concatenate([atoms.positions for atoms in chunk]),
        "forces": np.concatenate(forces),
        "first_atom": np.cumsum([0, *map(len, chunk)]),
        "energy": np.array([found.get("energy", np.nan) for found in results]),
        "dipole_norm": np.array([atoms.info.get("dipole_norm_e_A", np.nan) for atoms in chunk], dtype=float),
        "charge": np.array([total_charge(atoms) if "charge" in atoms.info else np.nan for atoms in chunk]),
    }


def _array_file(folder: Path, shard: int, name: str) -> Path:
    return folder / f"{shard:05d}.{name}.npy"


def _open_shard(folder: Path, shard: int) -> dict[str, np.ndarray]:
    files = {name: _array_file(folder, shard, name) for name in ARRAYS}
    return {name: np.load(file, mmap_mode="r", allow_pickle=False) for name, file in files.items()
            if name not in OPTIONAL or file.is_file()}


def _molecule(shard: dict[str, np.ndarray], s: int) -> Atoms:
    inside = slice(*shard["first_atom"][s:s + 2])
    atoms = Atoms(numbers=shard["atomic_numbers"][inside], positions=shard["positions"][inside])
    results = {name: value for name, value in _labels(shard, s, inside) if not np.isnan(value).any()}
    if "dipole_norm" in results:
        atoms.info["dipole_norm_e_A"] = results.pop("dipole_norm")
    if "charge" in results:
        atoms.info["charge"] = results.pop("charge")
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _labels(shard: dict[str, np.ndarray], s: int, inside: slice) -> Iterator[tuple[str, Any]]:
    yield "energy", float(shard["energy"][s])
    if "forces" in shard:
        yield "forces", np.array(shard["forces"][inside])
    for name in ("dipole_norm", "charge"):
        if name in shard:
            yield name, float(shard[name][s])
