"""Power spectra of long series by Welch's method, and the vibrational density of states from velocities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from scipy.signal import periodogram

from toolkit.analysis.blocks import block_mean
from toolkit.analysis.streaming import BlockSums
from toolkit.errors import DataError
from toolkit.units import AMU_A2_PER_FS2_EV, KB_EV_PER_K, PER_FS_CM1

NYQUIST_MARGIN = 1.2
"""The axis must reach so many times the highest mode, or what lies beyond is folded back onto wrong frequencies."""
MIN_SEGMENT_FRAMES = 16
VALUES_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class VibrationalDensity:
    """Density of vibrational states D(ν), total and by element: P = 1 + number of elements curves at F frequencies.

    frequency_cm1 : (F,), 0 … Nyquist;  names : "total", "H", "C", …
    values : (P, F), modes per cm⁻¹; the integral of the total is the number of degrees of freedom, and that of an
        element its share of the kinetic energy, 3 N_element at equipartition
    stderr : (P, F), from blocks of segments; NaN when there is one block
    temperature_K : from the kinetic energy of the frames used
    """

    frequency_cm1: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray
    stderr: np.ndarray
    temperature_K: float
    num_segments: int

    @property
    def resolution_cm1(self) -> float:
        """Distance between the points, 1 / (c · length of a segment)."""
        return float(self.frequency_cm1[1])

    def modes_between(self, low_cm1: float, high_cm1: float) -> np.ndarray:
        """Number of modes between two frequencies, (P,)."""
        inside = (self.frequency_cm1 >= low_cm1) & (self.frequency_cm1 <= high_cm1)
        return self.values[:, inside].sum(axis=1) * self.resolution_cm1


def vibrational_density(segments: Iterable[np.ndarray], atomic_numbers: np.ndarray, masses: np.ndarray,
                        frame_interval_fs: float, *, degrees_of_freedom: float,
                        highest_cm1: float) -> VibrationalDensity:
    """D(ν) ∝ Σ_i m_i |v̂_i(ν)|², the spectrum of mass-weighted velocities, averaged over segments.

    Welch, IEEE Trans. AU-15, 70 (1967). By the theorem of Wiener and Khinchin this is the Fourier transform of the
    velocity autocorrelation function. Each mode holds kT, so that the area counts modes (Dickey & Paskin, Phys. Rev.
    188, 1407 (1969)). The mean velocity is kept: D(0) is diffusion.

    segments : velocities (L, N, 3), Å/fs, of one length L, each without gap; from `cut_segments` for an array
    masses : (N,), amu;  frame_interval_fs : between the frames, not the time step of the dynamics
    degrees_of_freedom : 3N less what the dynamics keeps at rest
    highest_cm1 : highest mode; DataError when the Nyquist frequency is below 1.2 times that
    """
    require_nyquist(frame_interval_fs, highest_cm1)
    elements, frequency, power = power_by_element(segments, atomic_numbers, masses, frame_interval_fs)
    mean, blocks = _with_total(power.mean()), _with_total(power.blocks())
    energy = float(mean[0].sum() * frequency[1])  # Σ m ⟨v²⟩ = kT · degrees of freedom
    if not energy > 0.0:
        raise DataError("found velocities that are all zero, expected motion")
    scale = degrees_of_freedom / energy
    temperature = energy * AMU_A2_PER_FS2_EV / (degrees_of_freedom * KB_EV_PER_K)
    return VibrationalDensity(frequency, ("total", *elements), scale * mean, scale * block_mean(blocks)[1], temperature,
                              power.count)


def power_by_element(segments: Iterable[np.ndarray], atomic_numbers: np.ndarray, masses: np.ndarray,
                     frame_interval_fs: float) -> tuple[list[str], np.ndarray, BlockSums]:
    """Σ m |x̂|² over the atoms of each element: symbols, frequencies (F,), cm⁻¹, and spectra (elements, F) of segments.

    segments : (L, N, 3);  masses : (N,), amu;  the spectra have the unit of amu · segments² per cm⁻¹
    Raises DataError without segments, and for some that are not finite or of another shape.
    """
    elements, kinds = np.unique(atomic_numbers, return_inverse=True)
    roots = np.sqrt(np.asarray(masses, dtype=np.float64))[:, None]
    sums, frequency = BlockSums(), np.zeros(0)
    for segment in segments:
        if segment.ndim != 3 or segment.shape[1:] != (len(kinds), 3) or not np.isfinite(segment).all():
            raise DataError(f"found a segment of shape {segment.shape}, expected (L, {len(kinds)}, 3), all finite",
                            "leave out the frames of retired replicas")
        power = np.zeros((len(elements), len(segment) // 2 + 1))
        at_once = max(1, VALUES_AT_ONCE // (3 * len(segment)))
        for first in range(0, len(kinds), at_once):
            atoms = slice(first, first + at_once)
            frequency, density = power_density(segment[:, atoms] * roots[atoms], frame_interval_fs)
            np.add.at(power, kinds[atoms], density.sum(axis=2).T)
        sums.add(power, 1)
    if sums.count == 0:
        raise DataError("found no segment, expected at least one", "run longer or accept a lower resolution")
    return [chemical_symbols[z] for z in elements], frequency, sums


def power_density(series: np.ndarray, frame_interval_fs: float) -> tuple[np.ndarray, np.ndarray]:
    """One-sided spectrum of a series (L, …) along time, Hann window: frequencies (F,), cm⁻¹, and densities (F, …).

    The integral of a density over the frequencies is the mean square of the series.
    """
    return periodogram(np.asarray(series, dtype=np.float64), fs=PER_FS_CM1 / frame_interval_fs, window="hann",
                       detrend=False, axis=0)


def segment_frames(resolution_cm1: float, frame_interval_fs: float, num_frames: int) -> int:
    """Length of segments that resolve so much: 1 / (c · resolution · interval) frames, or all when there are fewer.

    Raises DataError when there are too few for any spectrum.
    """
    if num_frames < MIN_SEGMENT_FRAMES or not resolution_cm1 > 0.0:
        raise DataError(f"found {num_frames} frames and a resolution of {resolution_cm1} cm⁻¹, expected at least "
                        f"{MIN_SEGMENT_FRAMES} frames and a positive resolution", "run longer or save more often")
    return min(num_frames, max(MIN_SEGMENT_FRAMES, round(PER_FS_CM1 / (resolution_cm1 * frame_interval_fs))))


def cut_segments(series: np.ndarray, length: int, overlap: float = 0.5) -> Iterator[np.ndarray]:
    """Pieces (length, …) of a series (T, …); neighbours share a fraction `overlap`. A shorter remainder is left out."""
    hop = max(1, round(length * (1.0 - overlap)))
    for start in range(0, len(series) - length + 1, hop):
        yield series[start:start + length]


def nyquist_cm1(frame_interval_fs: float) -> float:
    """Highest frequency that frames so far apart can show, 1 / (2 c Δt), cm⁻¹."""
    return 0.5 * PER_FS_CM1 / frame_interval_fs


def require_nyquist(frame_interval_fs: float, highest_cm1: float) -> None:
    """Raise DataError when the Nyquist frequency is below 1.2 times the highest mode, or that is no frequency."""
    if not 0.0 < highest_cm1 < np.inf:
        raise DataError(f"found {highest_cm1:g} cm⁻¹ as the highest mode, expected more than 0", "leave it out to have it measured")
    limit = nyquist_cm1(frame_interval_fs)
    if not limit >= NYQUIST_MARGIN * highest_cm1:
        longest = 0.5 * PER_FS_CM1 / (NYQUIST_MARGIN * highest_cm1)
        raise DataError(f"frames every {frame_interval_fs:g} fs show frequencies up to {limit:.0f} cm⁻¹, found modes up "
                        f"to {highest_cm1:.0f} cm⁻¹, expected a limit at least {NYQUIST_MARGIN} times higher",
                        f"save a frame at least every {longest:.2g} fs")


def verlet_shifted_cm1(frequency_cm1: np.ndarray, timestep_fs: float) -> np.ndarray:
    """Frequency at which velocity Verlet (and BAOAB with weak friction) lets a harmonic oscillator vibrate.

    sin(ω′h/2) = ωh/2 (Hairer, Lubich & Wanner, Acta Numerica 12, 399 (2003), section 5): ω′ ≈ ω (1 + ω²h²/24), which is
    17 cm⁻¹ too high for 3600 cm⁻¹ at 0.5 fs. frequency_cm1 : any shape
    """
    phase = np.pi * timestep_fs / PER_FS_CM1
    return np.arcsin(phase * np.asarray(frequency_cm1)) / phase


def verlet_corrected_cm1(frequency_cm1: np.ndarray, timestep_fs: float) -> np.ndarray:
    """The harmonic frequency behind one found in a trajectory: inverse of `verlet_shifted_cm1`. Any shape."""
    phase = np.pi * timestep_fs / PER_FS_CM1
    return np.sin(phase * np.asarray(frequency_cm1)) / phase


def _with_total(power: np.ndarray) -> np.ndarray:
    """The sum over elements in front: (…, elements, F) → (…, 1 + elements, F)."""
    return np.concatenate([power.sum(axis=-2, keepdims=True), power], axis=-2)
