"""Infrared absorption from the dipole moment along a trajectory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from ase import units

from toolkit.analysis.spectra import power_density, require_nyquist
from toolkit.analysis.streaming import BlockSums
from toolkit.errors import DataError
from toolkit.units import AMU_A2_PER_FS2_EV, KB_EV_PER_K, PER_FS_CM1

KM_PER_MOL = 1e-3 * units._Nav * units._e**2 / (12.0 * units._eps0 * units._c**2 * units._amu)
"""Integrated absorption of a mode with |∂μ/∂Q|² = 1 e²/amu, km/mol (974.88)."""


@dataclass(frozen=True)
class InfraredSpectrum:
    """Molar absorption at F frequencies; the area of a band is its integrated intensity, km/mol.

    frequency_cm1 : (F,);  values, stderr : (F,), km/mol per cm⁻¹ (= km/mol·cm); stderr from blocks of segments
    """

    frequency_cm1: np.ndarray
    values: np.ndarray
    stderr: np.ndarray
    num_segments: int


def infrared_spectrum(segments: Iterable[np.ndarray], frame_interval_fs: float, *, temperature_K: float,
                      highest_cm1: float) -> InfraredSpectrum:
    """A(ν) = N_A / (12 ε₀ c² kT) · ω² S_μ(ν), with S_μ the spectrum of the dipole moment, summed over x, y and z.

    This includes the harmonic quantum correction βħω / (1 − exp(−βħω)), which turns the classical line shape into the
    quantum one of a harmonic oscillator and cancels the (1 − exp(−βħω)) of absorption less emission (Ramírez,
    López-Ciudad, Kumar & Marx, J. Chem. Phys. 121, 3973 (2004)). A harmonic mode so gets its quantum intensity
    974.88 km/mol · |∂μ/∂Q|² / (e²/amu), whatever the temperature.

    segments : dipole moments (L, 3), e·Å, of one length L, each without gap; of crystals without jumps by a quantum of
        polarisation
    frame_interval_fs : between the frames;  highest_cm1 : highest mode, as for `vibrational_density`
    Raises DataError without segments, for values that are not finite, and when the Nyquist frequency is too low.
    """
    require_nyquist(frame_interval_fs, highest_cm1)
    if not temperature_K > 0.0:
        raise DataError(f"found a temperature of {temperature_K} K, expected a positive one")
    sums, frequency = BlockSums(), np.zeros(0)
    for segment in segments:
        if segment.ndim != 2 or segment.shape[1] != 3 or not np.isfinite(segment).all():
            raise DataError(f"found dipole moments of shape {segment.shape}, expected (L, 3), all finite")
        frequency, density = power_density(segment - segment.mean(axis=0), frame_interval_fs)
        sums.add(density.sum(axis=1), 1)
    if sums.count == 0:
        raise DataError("found no segment, expected at least one", "run longer or accept a lower resolution")
    omega = 2.0 * np.pi / PER_FS_CM1 * frequency
    scale = KM_PER_MOL * omega**2 * AMU_A2_PER_FS2_EV / (KB_EV_PER_K * temperature_K)
    return InfraredSpectrum(frequency, scale * sums.mean(), scale * sums.stderr(), sums.count)
