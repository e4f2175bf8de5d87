"""Spectra of a trajectory file as plain results: vibrational density of states and infrared absorption."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.analysis.infrared import infrared_spectrum
from toolkit.analysis.peaks import spectrum_peaks
from toolkit.analysis.sampling import SamplingCheck, check_sampling
from toolkit.analysis.spectra import (NYQUIST_MARGIN, cut_segments, nyquist_cm1, segment_frames, verlet_corrected_cm1,
                                      vibrational_density)
from toolkit.errors import DataError
from toolkit.jobs.frames import FrameReader, open_frames

RESOLUTION_CM1 = 4.0
CHECKED_SEGMENTS = 8


def trajectory_vdos(path: str | Path, resolution_cm1: float = RESOLUTION_CM1, skip_ps: float = 0.0,
                    highest_cm1: float | None = None, replica: int | None = None) -> dict[str, Any]:
    """Vibrational density of states, total and by element, in modes per cm⁻¹, with a table of peaks.

    highest_cm1 : highest mode, for the check that frames are close enough; default: measured from the trajectory,
        by comparing velocities with positions (`analysis.sampling`), which also finds out a wrong time axis
    Peaks have `frequency_cm1` as found, `corrected_cm1` without the shift of the integrator at this time step,
    `height`, `width_cm1` and `modes` (area). The curves end at 1.2 times the highest mode.
    Raises DataError when the run is too short, frames are too far apart, or it has several temperatures.
    """
    with open_frames(path, skip_ps, replica=replica) as reader:
        reader.require_one_temperature()
        trajectory = reader.trajectory
        length = segment_frames(resolution_cm1, reader.interval_fs, reader.num_frames)
        sampling = _sampling(reader, length, required=highest_cm1 is None)
        highest = sampling.highest_cm1 if highest_cm1 is None else highest_cm1
        density = vibrational_density(
            reader.segments("velocities", length), trajectory.atomic_numbers, trajectory.masses, reader.interval_fs,
            degrees_of_freedom=trajectory.degrees_of_freedom, highest_cm1=highest)
        shown = density.frequency_cm1 <= NYQUIST_MARGIN * highest
        curves = {name: {"degrees_of_freedom": float(values.sum() * density.resolution_cm1),
                         "values": values[shown].tolist(), "stderr": stderr[shown].tolist()}
                  for name, values, stderr in zip(density.names, density.values, density.stderr, strict=True)}
        return {"quantity": "modes per cm⁻¹", **_axis(reader, highest, length, density.num_segments),
                "temperature_K": density.temperature_K, "folded_fraction": sampling.folded_fraction,
                "frequency_cm1": density.frequency_cm1[shown].tolist(), "curves": curves,
                "peaks": _peak_table(density.frequency_cm1, density.values[0], density.stderr[0],
                                     trajectory.inner_timestep_fs, "modes")}


def trajectory_ir(path: str | Path, dipoles: str | Path, resolution_cm1: float = RESOLUTION_CM1, skip_ps: float = 0.0,
                  highest_cm1: float | None = None, replica: int | None = None) -> dict[str, Any]:
    """Infrared absorption in km/mol per cm⁻¹ from the dipole moments of all frames, with a table of peaks.

    dipoles : NumPy file (.npy), (T, 3) or (T, R, 3), e·Å, one for each frame and replica of the trajectory
    Peaks have `frequency_cm1`, `corrected_cm1`, `height`, `width_cm1` and `intensity_km_per_mol` (area).
    Raises DataError for a file of another shape, and as `trajectory_vdos`.
    """
    with open_frames(path, skip_ps, replica=replica) as reader:
        reader.require_one_temperature()
        trajectory = reader.trajectory
        moments = _read_dipoles(dipoles, trajectory.num_frames, trajectory.num_replicas)
        length = segment_frames(resolution_cm1, reader.interval_fs, reader.num_frames)
        highest = _sampling(reader, length).highest_cm1 if highest_cm1 is None else highest_cm1
        temperature = reader.temperature_K
        found = infrared_spectrum(_living_segments(moments[reader.start:], reader.alive, length),
                                  reader.interval_fs, temperature_K=temperature, highest_cm1=highest)
        shown = found.frequency_cm1 <= NYQUIST_MARGIN * highest
        return {"quantity": "km/mol per cm⁻¹", **_axis(reader, highest, length, found.num_segments),
                "quantum_correction": "harmonic", "temperature_K": temperature,
                "frequency_cm1": found.frequency_cm1[shown].tolist(), "values": found.values[shown].tolist(),
                "stderr": found.stderr[shown].tolist(),
                "peaks": _peak_table(found.frequency_cm1, found.values, found.stderr, trajectory.inner_timestep_fs,
                                     "intensity_km_per_mol")}


def _sampling(reader: FrameReader, length: int, *, required: bool = True) -> SamplingCheck:
    """What the first segments say about the time axis. required : raise DataError when they contradict it"""
    trajectory = reader.trajectory
    pieces = (islice(_unstrained(reader, name, length), CHECKED_SEGMENTS) for name in ("positions", "velocities"))
    found = check_sampling(*pieces, trajectory.atomic_numbers, trajectory.masses, reader.interval_fs,
                           timestep_fs=trajectory.inner_timestep_fs)
    if required:
        config = trajectory.config
        found.require(reader.interval_fs, config.friction_per_fs if config.ensemble == "langevin" else 0.0)
    return found


def _unstrained(reader: FrameReader, name: str, length: int) -> Iterator[np.ndarray]:
    """Segments (L, N, 3) of positions or velocities, taken from the cell h of each frame to the first, x h⁻¹ h₀.

    A barostat moves atoms along with the cell, which their velocities say nothing about.
    """
    segments, first = reader.segments(name, length), reader.trajectory.cell
    if not reader.trajectory.variable_cell:
        return segments
    pairs = zip(segments, reader.segments("cells", length), strict=True)
    return (frames @ np.linalg.inv(cells) @ first for frames, cells in pairs)


def _axis(reader: FrameReader, highest_cm1: float, length: int, num_segments: int) -> dict[str, Any]:
    return {"frame_interval_fs": reader.interval_fs, "nyquist_cm1": nyquist_cm1(reader.interval_fs),
            "highest_cm1": highest_cm1, "segment_ps": length * reader.interval_fs * 1e-3, "n_segments": num_segments}


def _peak_table(frequency_cm1: np.ndarray, values: np.ndarray, stderr: np.ndarray, timestep_fs: float,
                area: str) -> dict[str, list[float]]:
    """Columns of the peak table; `area` names the last."""
    peaks = spectrum_peaks(frequency_cm1, values, stderr)
    found = np.array([peak.frequency_cm1 for peak in peaks])
    return {"frequency_cm1": found.tolist(), "corrected_cm1": verlet_corrected_cm1(found, timestep_fs).tolist(),
            "height": [peak.height for peak in peaks], "width_cm1": [peak.width_cm1 for peak in peaks],
            area: [peak.area for peak in peaks]}


def _read_dipoles(path: str | Path, num_frames: int, num_replicas: int) -> np.ndarray:
    """(T, R, 3), e·Å."""
    try:
        moments = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read the dipole moments {path}: {error}", "give a NumPy file (.npy)") from None
    if moments.shape not in ((num_frames, 3), (num_frames, num_replicas, 3)) or moments.dtype.kind != "f":
        raise DataError(f"{path} holds {moments.dtype} of shape {moments.shape}, expected real numbers of shape "
                        f"({num_frames}, {num_replicas}, 3), one moment for each frame and replica")
    return moments.reshape(num_frames, -1, 3)


def _living_segments(moments: np.ndarray, alive: np.ndarray, length: int) -> Iterator[np.ndarray]:
    for replica in range(moments.shape[1]):
        yield from cut_segments(moments[:alive[:, replica].sum(), replica], length)
