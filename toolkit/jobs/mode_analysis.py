"""A trajectory file against normal modes, as plain results for the pages, the command line and the study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.analysis.mode_spectra import ModeSpectra, Peak, match_peaks, mode_spectra, mode_temperatures
from toolkit.analysis.normal_modes import NormalModes
from toolkit.analysis.spectra import segment_frames
from toolkit.errors import DataError
from toolkit.jobs.frames import FrameReader, open_frames
from toolkit.jobs.modes import load_modes

RESOLUTION_CM1 = 2.0
KINETIC_BLOCKS = 10


def spectra_of_modes(path: str | Path, modes: NormalModes, resolution_cm1: float = RESOLUTION_CM1,
                     skip_ps: float = 0.0, replica: int | None = None) -> tuple[ModeSpectra, list[Peak]]:
    """Spectrum, centre, width, shift and temperature of each mode, and the peaks of the whole with their modes.

    Raises DataError for a trajectory of other atoms, at several temperatures, too short, or with frames too far apart.
    """
    with open_frames(path, skip_ps, replica=replica) as reader:
        reader.require_one_temperature()
        _require_same_atoms(reader, modes)
        length = segment_frames(resolution_cm1, reader.interval_fs, reader.num_frames)
        timestep = reader.trajectory.inner_timestep_fs
        spectra = mode_spectra(_pairs(reader, length, overlap=0.5), modes, reader.interval_fs, timestep)
    return spectra, match_peaks(spectra, timestep)


def temperatures_of_modes(path: str | Path, modes: NormalModes, skip_ps: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Mean temperature of each mode and its standard error, (M,), K; frames may lie far apart. Raises DataError."""
    with open_frames(path, skip_ps) as reader:
        reader.require_one_temperature()
        _require_same_atoms(reader, modes)
        length = max(1, reader.num_frames // KINETIC_BLOCKS)
        return mode_temperatures(_pairs(reader, length, overlap=0.0), modes)


def trajectory_modes(path: str | Path, modes_folder: str | Path, resolution_cm1: float = RESOLUTION_CM1,
                     skip_ps: float = 0.0, replica: int | None = None) -> dict[str, Any]:
    """Mode-resolved comparison: `modes`, one row each, and `peaks` {frequency_cm1, height, modes: [[number, share]]}.

    modes_folder : where `toolkit modes -o` wrote. Raises DataError as `spectra_of_modes`.
    """
    _, modes = load_modes(Path(modes_folder))
    return comparison(*spectra_of_modes(path, modes, resolution_cm1, skip_ps, replica))


def comparison(spectra: ModeSpectra, peaks: list[Peak]) -> dict[str, Any]:
    """The mode-resolved comparison as plain numbers, modes counted from 1."""
    return {
        "n_segments": spectra.num_segments,
        "resolution_cm1": float(spectra.frequency_cm1[1]),
        "modes": [{**row, "mode": row["mode"] + 1} for row in spectra.rows()],
        "peaks": [{"frequency_cm1": peak.frequency_cm1, "height": peak.height,
                   "modes": [[mode + 1, share] for mode, share in peak.modes]} for peak in peaks],
    }


def _pairs(reader: FrameReader, length: int, overlap: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    positions, velocities = (reader.segments(name, length, overlap) for name in ("positions", "velocities"))
    return zip(positions, velocities, strict=True)


def _require_same_atoms(reader: FrameReader, modes: NormalModes) -> None:
    masses = reader.trajectory.masses
    if masses.shape != modes.masses.shape or not np.allclose(masses, modes.masses):
        raise DataError(f"{reader.trajectory.path} holds {len(masses)} atoms that are not the {len(modes.masses)} of "
                        "the normal modes", "compute the modes of the structure that was simulated")
