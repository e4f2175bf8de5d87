"""Molecular dynamics seen mode by mode: what each normal mode's velocity does in a trajectory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from toolkit.analysis.blocks import block_mean
from toolkit.analysis.normal_modes import NormalModes, center_of_mass
from toolkit.analysis.peaks import spectrum_peaks
from toolkit.analysis.shape import superposition_rotations
from toolkit.analysis.spectra import power_density, require_nyquist, verlet_corrected_cm1
from toolkit.analysis.streaming import BlockSums
from toolkit.errors import DataError
from toolkit.units import AMU_A2_PER_FS2_EV, KB_EV_PER_K

PEAK_SMOOTHING_BINS = 1.5
BAND_CM1, BAND_SHARE = 50.0, 0.08
"""A mode is looked for within 50 cm⁻¹ or 8 % of its harmonic frequency, whichever is more."""


@dataclass(frozen=True)
class ModeSpectra:
    """M modes of a trajectory on F frequencies. Error bars come from blocks of the trajectory.

    frequency_cm1 : (F,);  density : (M, F), cm, spectrum of each mode's velocity, integral 1
    harmonic_cm1 : (M,), from the Hessian
    centre_cm1, centre_stderr_cm1 : (M,), median of the spectrum in the band around the harmonic frequency, corrected
        for the integrator (`verlet_corrected_cm1`); NaN for imaginary modes, which have no band
    width_cm1 : (M,), between the quartiles there: for a Lorentzian the full width at half maximum
    band_share : (M,), part of the mode's kinetic energy in its band; small where modes mix or turn into one another
    kinetic_K, kinetic_stderr_K : (M,), 2 ⟨E_kin⟩ / k of the mode: the temperature where equipartition holds
    """

    frequency_cm1: np.ndarray
    density: np.ndarray
    harmonic_cm1: np.ndarray
    centre_cm1: np.ndarray
    centre_stderr_cm1: np.ndarray
    width_cm1: np.ndarray
    band_share: np.ndarray
    kinetic_K: np.ndarray
    kinetic_stderr_K: np.ndarray
    num_segments: int

    @property
    def shift_cm1(self) -> np.ndarray:
        """Anharmonic shift at this temperature: centre minus harmonic, (M,)."""
        return self.centre_cm1 - self.harmonic_cm1

    def rows(self) -> list[dict[str, float]]:
        """One row of plain numbers per mode, for tables and JSON."""
        names = ("harmonic_cm1", "centre_cm1", "centre_stderr_cm1", "shift_cm1", "width_cm1", "band_share", "kinetic_K",
                 "kinetic_stderr_K")
        return [{"mode": k, **{name: float(getattr(self, name)[k]) for name in names}}
                for k in range(len(self.harmonic_cm1))]


@dataclass(frozen=True)
class Peak:
    """A peak of the vibrational spectrum, its height of the highest, and the modes that make it with their shares."""

    frequency_cm1: float
    height: float
    modes: tuple[tuple[int, float], ...]


def mode_spectra(segments: Iterable[tuple[np.ndarray, np.ndarray]], modes: NormalModes, frame_interval_fs: float,
                 timestep_fs: float) -> ModeSpectra:
    """Project a trajectory on normal modes, mode velocity = Σ_i √m_i e_i · R (v_i − v_cm), and analyse each by Welch.

    R turns each frame into the Eckart frame of the minimum. Only one segment is in memory at a time.

    segments : positions, Å, and velocities, Å/fs, each (L, N, 3), of one length L, without gap
    frame_interval_fs : between frames;  timestep_fs : of the velocity Verlet or BAOAB integrator
    Raises DataError without segments, and for frames too far apart for the highest mode.
    """
    require_nyquist(frame_interval_fs, float(modes.frequencies_cm1.max()))
    power, kinetic, x = BlockSums(), BlockSums(), np.zeros(0)
    for positions, velocities in segments:
        moving = mode_velocities(modes, positions, velocities)
        x, density = power_density(moving, frame_interval_fs)
        power.add(density.T, 1)
        kinetic.add(density.sum(axis=0) * x[1], 1)  # the mean square under the window: pieces that overlap stay apart
    if not power.count:
        raise DataError("found no segment, expected at least one", "run longer or accept a lower resolution")
    harmonic, density = modes.frequencies_cm1, power.mean()
    bands = np.abs(x - harmonic[:, None]) <= np.maximum(BAND_CM1, BAND_SHARE * harmonic)[:, None]
    bands &= harmonic[:, None] > 0.0
    lower, centre, upper = (_quantile(x, density * bands, share) for share in (0.25, 0.5, 0.75))
    centres = np.stack([_quantile(x, block * bands, 0.5) for block in power.blocks()])
    to_kelvin = AMU_A2_PER_FS2_EV / KB_EV_PER_K
    return ModeSpectra(
        x, density / density.sum(axis=1, keepdims=True) / x[1], harmonic, verlet_corrected_cm1(centre, timestep_fs),
        block_mean(centres)[1], upper - lower, (density * bands).sum(axis=1) / density.sum(axis=1),
        kinetic.mean() * to_kelvin, kinetic.stderr() * to_kelvin, power.count)


def mode_temperatures(frames: Iterable[tuple[np.ndarray, np.ndarray]],
                      modes: NormalModes) -> tuple[np.ndarray, np.ndarray]:
    """2 ⟨E_kin⟩ / k of each mode and its standard error from blocks, (M,), K, where frames may lie far apart.

    frames : positions and velocities, chunks (t, N, 3) about equally long. Raises DataError when there are none.
    """
    kinetic = BlockSums()
    for positions, velocities in frames:
        kinetic.add((mode_velocities(modes, positions, velocities) ** 2).sum(axis=0), len(positions))
    if not kinetic.count:
        raise DataError("found no frame, expected at least one", "run longer")
    to_kelvin = AMU_A2_PER_FS2_EV / KB_EV_PER_K
    return kinetic.mean() * to_kelvin, kinetic.stderr() * to_kelvin


def mode_velocities(modes: NormalModes, positions: np.ndarray, velocities: np.ndarray) -> np.ndarray:
    """Velocities along the modes in the Eckart frame (a crystal does not turn), (T, M), Å √amu/fs.

    positions, velocities : (T, N, 3). Raises DataError for another number of atoms.
    """
    if positions.shape != velocities.shape or positions.shape[1:] != modes.positions.shape:
        raise DataError(f"found frames of shape {positions.shape} and {velocities.shape}, expected "
                        f"(T, {len(modes.masses)}, 3)", "the modes belong to another structure")
    positions, velocities = positions.astype(np.float64), velocities.astype(np.float64)
    turned = velocities - center_of_mass(velocities, modes.masses)
    if modes.turns:
        turned = np.einsum("tab,tnb->tna", eckart_rotations(modes, positions), turned)
    return turned.reshape(len(turned), -1) @ (modes.eigenvectors * np.sqrt(modes.masses)[:, None]).reshape(
        len(modes.eigenvectors), -1).T


def eckart_rotations(modes: NormalModes, positions: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) that bring frames (T, N, 3) closest to the minimum, weighted by mass.

    They fulfil Eckart's condition Σ m x₀ × R x = 0 (Kudin and Dymarsky, J. Chem. Phys. 122, 224105 (2005)), found as in
    Kabsch, Acta Cryst. A 32, 922 (1976). Of a linear molecule the axis is turned the shortest way.
    """
    arms = positions - center_of_mass(positions, modes.masses)
    reference = modes.positions - center_of_mass(modes.positions, modes.masses)
    if not modes.linear:
        return superposition_rotations(arms, reference, modes.masses)
    left, _, right = np.linalg.svd(np.einsum("n,na,tnb->tab", modes.masses, reference, arms))
    return _shortest_turns(right[:, 0], left[:, :, 0])


def match_peaks(spectra: ModeSpectra, timestep_fs: float, min_height: float = 0.02,
                min_share: float = 0.1) -> list[Peak]:
    """Peaks of the sum over all modes, each mode at its temperature, and which modes have the power there.

    The assignment is by motion, not by frequency: a mode belongs to a peak where its own velocity oscillates.
    min_height : prominence, of the highest peak;  min_share : of a peak's power, for a mode to be named
    """
    x, power = spectra.frequency_cm1, spectra.density * spectra.kinetic_K[:, None]
    found = spectrum_peaks(x, gaussian_filter1d(power.sum(axis=0), PEAK_SMOOTHING_BINS), min_height)
    highest = max((peak.height for peak in found), default=1.0)
    peaks = []
    for peak in found:
        inside = power[:, np.abs(x - peak.frequency_cm1) <= max(x[1], 0.5 * peak.width_cm1)].sum(axis=1)
        shares = inside / inside.sum()
        named = tuple((int(k), float(shares[k])) for k in np.argsort(-shares) if shares[k] >= min_share)
        peaks.append(Peak(float(verlet_corrected_cm1(peak.frequency_cm1, timestep_fs)), peak.height / highest, named))
    return peaks


def _shortest_turns(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) that take unit vectors `start` to `end`, (T, 3), about the axis across both (Rodrigues)."""
    cosine = np.einsum("ta,ta->t", start, end)[:, None, None]
    across = np.cross(start, end)
    skew = np.cross(np.eye(3)[None], across[:, None])  # rows e_a × w, so that skew @ v = w × v
    return np.eye(3) + skew + skew @ skew / (1.0 + cosine)


def _quantile(x: np.ndarray, density: np.ndarray, share: float) -> np.ndarray:
    """Where the cumulated density, (M, F) on x (F,), reaches `share` of its total; linear inside a bin.

    NaN where the total is 0.
    """
    edges = np.concatenate([[x[0]], 0.5 * (x[1:] + x[:-1]), [x[-1]]])
    cumulated = np.pad(np.cumsum(density * np.diff(edges), axis=1), ((0, 0), (1, 0)))
    return np.array([np.interp(share * row[-1], row, edges) if row[-1] > 0.0 else np.nan for row in cumulated])
