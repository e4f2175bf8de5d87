"""From any source of molecules to a packed folder, the QM9 archive as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from toolkit.config import DataConfig
from toolkit.data.formats import ReadReport, is_qm9, locate, read_frames
from toolkit.data.packed import SHARD_FRAMES, pack_frames
from toolkit.data.qm9 import ATOM_ENERGIES_HARTREE, stream_qm9
from toolkit.units import HARTREE_EV


def pack_source(source: str, folder: Path, config: DataConfig | None = None, shard_frames: int = SHARD_FRAMES) -> int:
    """Write the molecules of a source (see `read_frames`), in eV and Å, into a packed folder; returns their number.

    A QM9 archive or folder is never in memory as a whole; other sources are read first. A path to the folder is then a
    source like any other. Raises DataError as the readers do and for periodic structures; StorageError.
    """
    config = config or DataConfig(train=source)
    path, _ = locate(source)
    if is_qm9(path):
        key = config.energy_key or "U0"
        return pack_frames(_qm9_frames(path, key), folder, asdict(_qm9_report(source, key)), shard_frames)
    frame_set = read_frames(source, config)
    report = {**asdict(frame_set.report), "isolated": list(frame_set.isolated)}  # index files count these, too
    return pack_frames(frame_set.frames, folder, report, shard_frames)


def _qm9_frames(path: Path, energy_key: str) -> Iterator[Atoms]:
    for atoms, energy in stream_qm9(path, energy_key):
        atoms.calc = SinglePointCalculator(atoms, energy=energy * HARTREE_EV)
        yield atoms


def _qm9_report(source: str, energy_key: str) -> ReadReport:
    free_atoms = {symbol: energy * HARTREE_EV for symbol, energy in ATOM_ENERGIES_HARTREE.get(energy_key, {}).items()}
    return ReadReport(source, "QM9 archive", 0, energy_key, None, None, "Hartree", "Å", "the QM9 format", {}, (),
                      free_atoms)
