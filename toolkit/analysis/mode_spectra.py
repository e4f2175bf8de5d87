"""Molecular dynamics seen mode by mode: what each normal mode's velocity does in a trajectory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks, peak_widths

from toolkit.analysis.blocks import block_mean
from toolkit.analysis.normal_modes import NormalModes, center_of_mass
from toolkit.analysis.streaming import BlockSums
from toolkit.analysis.welch import WelchSpectrum
from toolkit.errors import DataError
from toolkit.units import AMU_A2_PER_FS2_EV, KB_EV_PER_K, PER_FS_CM1

DEFAULT_RESOLUTION_CM1 = 2.0
PEAK_SMOOTHING_BINS = 1.5
FramePairs = Iterable[tuple[np.ndarray, np.ndarray]]
"""Positions (t, N, 3), Å, and velocities (t, N, 3), Å/fs, chunk after chunk of one replica."""


@dataclass(frozen=True)
class ModeSpectra:
    """M modes of a trajectory on F wavenumbers. Error bars come from blocks of the trajectory.

    wavenumbers_cm1 : (F,);  density : (M, F), cm, spectrum of each mode's velocity, integral 1
    harmonic_cm1 : (M,), from the Hessian
    centre_cm1, centre_stderr : (M,), median of the spectrum, freed from the integrator's error (see `true_wavenumber`)
    width_cm1 : (M,), between its quartiles, which is the full width at half maximum of a Lorentzian
    peak_cm1 : (M,), its highest point, freed likewise
    kinetic_K, kinetic_stderr_K : (M,), 2 E_kin / k of the mode: the temperature at equipartition
    """

    wavenumbers_cm1: np.ndarray
    density: np.ndarray
    harmonic_cm1: np.ndarray
    centre_cm1: np.ndarray
    centre_stderr_cm1: np.ndarray
    width_cm1: np.ndarray
    peak_cm1: np.ndarray
    kinetic_K: np.ndarray
    kinetic_stderr_K: np.ndarray
    num_segments: int

    @property
    def shift_cm1(self) -> np.ndarray:
        """Anharmonic shift at this temperature: centre minus harmonic, (M,)."""
        return self.centre_cm1 - self.harmonic_cm1

    def rows(self) -> list[dict[str, float]]:
        """One row of plain numbers per mode, for tables and JSON."""
        columns = {"harmonic_cm1": self.harmonic_cm1, "centre_cm1": self.centre_cm1,
                   "centre_stderr_cm1": self.centre_stderr_cm1, "shift_cm1": self.shift_cm1, "width_cm1": self.width_cm1,
                   "peak_cm1": self.peak_cm1, "kinetic_K": self.kinetic_K, "kinetic_stderr_K": self.kinetic_stderr_K}
        return [{"mode": k, **{name: float(column[k]) for name, column in columns.items()}}
                for k in range(len(self.harmonic_cm1))]


def mode_spectra(replicas: Iterable[FramePairs], modes: NormalModes, frame_interval_fs: float, timestep_fs: float,
                 resolution_cm1: float = DEFAULT_RESOLUTION_CM1) -> ModeSpectra:
    """Project a trajectory on normal modes, mode velocity = Σ_i √m_i e_i · R (v_i − v_cm), and analyse each.

    R turns each frame into the Eckart frame of the minimum. Frames are read chunk by chunk, never all at once.

    replicas : for each replica its frames, from after the equilibration on
    frame_interval_fs : between frames;  timestep_fs : of the velocity Verlet or BAOAB integrator
    Raises DataError when all replicas are shorter than one segment (33 ps / resolution in cm⁻¹).
    """
    welch, kinetic = WelchSpectrum(frame_interval_fs, resolution_cm1), BlockSums()
    for pairs in replicas:
        for positions, velocities in pairs:
            moving = mode_velocities(modes, positions, velocities)
            welch.add(moving)
            kinetic.add((moving**2).sum(axis=0), len(moving))
        welch.new_series()
    wavenumbers, density = welch.wavenumbers_cm1, welch.mean()
    lower, centre, upper = (_quantile(wavenumbers, density, share) for share in (0.25, 0.5, 0.75))
    centres = np.stack([true_wavenumber(_quantile(wavenumbers, block, 0.5), timestep_fs) for block in welch.blocks()])
    to_kelvin = AMU_A2_PER_FS2_EV / KB_EV_PER_K
    return ModeSpectra(
        wavenumbers, density / density.sum(axis=1, keepdims=True) / wavenumbers[1], modes.frequencies_cm1,
        true_wavenumber(centre, timestep_fs), block_mean(centres)[1], upper - lower,
        true_wavenumber(wavenumbers[density.argmax(axis=1)], timestep_fs), kinetic.mean() * to_kelvin, kinetic.stderr() * to_kelvin,
        welch.num_segments)


def mode_velocities(modes: NormalModes, positions: np.ndarray, velocities: np.ndarray) -> np.ndarray:
    """Velocities along the modes in the Eckart frame, (T, M), Å √amu/fs. positions, velocities : (T, N, 3)."""
    if positions.shape != velocities.shape or positions.shape[1:] != modes.positions.shape:
        raise DataError(f"found frames of shape {positions.shape} and {velocities.shape}, expected "
                        f"(T, {len(modes.masses)}, 3)", "the modes belong to another structure")
    positions, velocities = positions.astype(np.float64), velocities.astype(np.float64)
    turned = np.einsum("tab,tnb->tna", eckart_rotations(modes, positions),
                       velocities - center_of_mass(velocities, modes.masses))
    return np.einsum("tna,mna->tm", turned, modes.eigenvectors * np.sqrt(modes.masses)[:, None])


def eckart_rotations(modes: NormalModes, positions: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) that bring frames (T, N, 3) closest to the minimum, weighted by mass.

    They fulfil Eckart's condition Σ m x₀ × R x = 0 (Kudin and Dymarsky, J. Chem. Phys. 122, 224105 (2005)), found as in
    Kabsch, Acta Cryst. A 32, 922 (1976). Of a linear molecule the axis is turned the shortest way.
    """
    arms = positions - center_of_mass(positions, modes.masses)
    reference = modes.positions - center_of_mass(modes.positions, modes.masses)
    if len(reference) < 2:
        return np.broadcast_to(np.eye(3), (len(positions), 3, 3))
    correlation = np.einsum("n,na,tnb->tab", modes.masses, reference, arms)
    left, _, right = np.linalg.svd(correlation)
    if modes.linear:
        return _shortest_turns(right[:, 0], left[:, :, 0])
    left[:, :, 2] *= np.linalg.det(left @ right)[:, None]
    return left @ right


def true_wavenumber(shown_cm1: np.ndarray, timestep_fs: float) -> np.ndarray:
    """Wavenumber of a harmonic mode that velocity Verlet shows at `shown_cm1`: ω Δt/2 = sin(ω' Δt/2).

    The integrator shifts modes to the blue by ω³ Δt²/24, 17 cm⁻¹ at 3600 cm⁻¹ and 0.5 fs; BAOAB with weak friction does
    the same (Hairer, Lubich and Wanner, Acta Numerica 12, 399 (2003), section 5).
    """
    return shown_cm1 * np.sinc(shown_cm1 * (timestep_fs / PER_FS_CM1))


@dataclass(frozen=True)
class Peak:
    """A peak of the vibrational spectrum and the modes that make it: mode numbers and their shares of its power."""

    position_cm1: float
    height: float
    modes: tuple[tuple[int, float], ...]


def match_peaks(spectra: ModeSpectra, timestep_fs: float, min_height: float = 0.02,
                min_share: float = 0.1) -> list[Peak]:
    """Peaks of the sum over all modes, and which modes have the power there.

    The assignment is by motion, not by frequency: a mode belongs to a peak where its own velocity oscillates.
    min_height : prominence, of the highest peak;  min_share : of a peak's power, for a mode to be named
    """
    x, power = spectra.wavenumbers_cm1, spectra.density * spectra.kinetic_K[:, None]
    total = gaussian_filter1d(power.sum(axis=0), PEAK_SMOOTHING_BINS)
    places, _ = find_peaks(total, prominence=min_height * total.max())
    _, _, left, right = peak_widths(total, places, rel_height=0.5)
    peaks = []
    for place, first, last in zip(places, np.floor(left).astype(int), np.ceil(right).astype(int), strict=True):
        inside = power[:, first:last + 1].sum(axis=1)
        shares = inside / inside.sum()
        named = tuple((int(k), float(shares[k])) for k in np.argsort(-shares) if shares[k] >= min_share)
        peaks.append(Peak(float(true_wavenumber(x[place], timestep_fs)), float(total[place] / total.max()), named))
    return peaks


def _shortest_turns(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) that take unit vectors `start` to `end`, (T, 3), about the axis across both (Rodrigues)."""
    cosine = np.einsum("ta,ta->t", start, end)[:, None, None]
    across = np.cross(start, end)
    skew = np.cross(np.eye(3)[None], across[:, None])  # rows e_a × w: skew @ v = w × v
    return np.eye(3) + skew + skew @ skew / (1.0 + cosine)


def _quantile(x: np.ndarray, density: np.ndarray, share: float) -> np.ndarray:
    """Where the cumulated density, (M, F) on x (F,), reaches `share` of its total; linear inside a bin."""
    edges = np.concatenate([[x[0]], 0.5 * (x[1:] + x[:-1]), [x[-1]]])
    cumulated = np.pad(np.cumsum(density * np.diff(edges), axis=1), ((0, 0), (1, 0)))
    return np.array([np.interp(share * row[-1], row, edges) for row in cumulated])
