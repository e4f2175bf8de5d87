"""Is the time axis right, and are frames saved often enough? Positions and velocities must tell the same story."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d

from toolkit.analysis.spectra import nyquist_cm1, power_by_element
from toolkit.errors import DataError
from toolkit.units import PER_FS_CM1

LINE_POINTS = 9
"""Spectra are compared over so many points, as a line that is wider than its distance from zero is lopsided."""
ENERGY_BELOW = 0.99
MAX_FOLDED = 0.03


@dataclass(frozen=True)
class SamplingCheck:
    """What a piece of trajectory says about its own frequencies.

    highest_cm1 : below this lies 99 % of the kinetic energy of every element
    folded_fraction : largest share, over the elements, of kinetic energy that the axis shows at a wrong frequency
    """

    highest_cm1: float
    folded_fraction: float

    def require(self, frame_interval_fs: float, friction_per_fs: float = 0.0) -> None:
        """Raise DataError when more than 3 % of the kinetic energy of an element lies at the wrong frequency.

        The random forces of a Langevin bath of friction γ give every velocity a spectrum that ends as γ/ω²: beyond the Nyquist
        frequency π/Δt lies a share (2/π²) γΔt, whatever the interval Δt, which is no fault of the axis and allowed for.
        """
        if self.folded_fraction > MAX_FOLDED + 2.0 * friction_per_fs * frame_interval_fs / np.pi**2:
            limit = nyquist_cm1(frame_interval_fs)
            raise DataError(f"found velocities that do not fit the positions: the spectrum of frames every "
                            f"{frame_interval_fs:g} fs, up to {limit:.0f} cm⁻¹, shows {self.folded_fraction:.0%} of an "
                            "element's motion at the wrong frequency",
                            "save frames more often; under a Langevin bath, whose noise reaches every frequency, take spectra from "
                            "nve or csvr, or say where the modes end (--highest-cm1)")


def check_sampling(positions: Iterable[np.ndarray], velocities: Iterable[np.ndarray], atomic_numbers: np.ndarray,
                   masses: np.ndarray, frame_interval_fs: float, *, timestep_fs: float) -> SamplingCheck:
    """Compare the spectrum of the velocities, S_v, with that of the positions, S_x, at each frequency.

    v = dx/dt makes S_v = ω² S_x for any motion, once ω is the true frequency. Motion beyond the Nyquist frequency
    appears folded back to a smaller ω, where S_v is then larger than ω² S_x; so does everything on an axis drawn with a
    wrong interval. (Of velocity Verlet x and v obey S_v = (sin ωh / h)² S_x, h the time step.)

    positions, velocities : the same segments (L, N, 3) of both, Å and Å/fs, each without gap;  masses : (N,), amu
    """
    _, frequency, displacement = power_by_element(positions, atomic_numbers, masses, frame_interval_fs)
    motion = power_by_element(velocities, atomic_numbers, masses, frame_interval_fs)[2].mean()
    omega = 2.0 * np.pi / PER_FS_CM1 * frequency
    expected = (np.sin(omega * timestep_fs) / timestep_fs)**2 * displacement.mean()
    energy = np.cumsum(motion, axis=1)
    moving = energy[:, -1] > 0.0
    if not moving.any():
        raise DataError("found velocities that are all zero, expected motion")
    wrong = np.abs(uniform_filter1d(motion - expected, LINE_POINTS))[moving, LINE_POINTS:].sum(axis=1)
    below = (energy[moving] < ENERGY_BELOW * energy[moving, -1:]).sum(axis=1)
    return SamplingCheck(float(frequency[below].max()), float((wrong / energy[moving, -1]).max()))
