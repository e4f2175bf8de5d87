"""Spectra of motion that is known exactly: where the lines are, how many modes they hold, and traps on the axis."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.analysis.infrared import infrared_spectrum
from toolkit.analysis.peaks import spectrum_peaks
from toolkit.analysis.sampling import check_sampling
from toolkit.analysis.spectra import (cut_segments, nyquist_cm1, power_density, require_nyquist, segment_frames,
                                      verlet_corrected_cm1, verlet_shifted_cm1, vibrational_density)
from toolkit.errors import DataError
from toolkit.units import AMU_A2_PER_FS2_EV, KB_EV_PER_K, PER_FS_CM1

NUMBERS, MASSES = np.array([6, 1]), np.array([12.011, 1.008])
MODES_CM1 = np.array([[151.3, 820.17, 1710.9], [3000.7, 3102.2, 3420.1]])
TEMPERATURE_K = 300.0


def oscillators(frames: int, interval_fs: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities (T, 2, 3) of six independent oscillators, each with the energy kT."""
    phases = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, (2, 3))
    omega = 2.0 * np.pi * MODES_CM1 / PER_FS_CM1
    speed = np.sqrt(2.0 * KB_EV_PER_K * TEMPERATURE_K / (MASSES * AMU_A2_PER_FS2_EV))[:, None]
    angle = omega * interval_fs * np.arange(frames)[:, None, None] + phases
    return speed / omega * np.sin(angle), speed * np.cos(angle)


def density_of(velocities: np.ndarray, interval_fs: float, resolution_cm1: float = 4.0, highest_cm1: float = 3420.0):
    length = segment_frames(resolution_cm1, interval_fs, len(velocities))
    return vibrational_density(cut_segments(velocities, length), NUMBERS, MASSES, interval_fs, degrees_of_freedom=6,
                               highest_cm1=highest_cm1)


@pytest.mark.parametrize("resolution_cm1", [2.0, 5.0, 10.0])
def test_lines_lie_where_the_oscillators_are_and_each_holds_one_mode(resolution_cm1):
    found = density_of(oscillators(40_000, 1.0)[1], 1.0, resolution_cm1)
    peaks = spectrum_peaks(found.frequency_cm1, found.values[0])
    expected = np.sort(MODES_CM1.ravel())
    assert len(peaks) == 6
    assert np.abs([peak.frequency_cm1 for peak in peaks] - expected).max() < 0.02 * resolution_cm1
    assert [peak.area for peak in peaks] == pytest.approx(np.ones(6), abs=0.01)
    assert found.temperature_K == pytest.approx(TEMPERATURE_K, rel=1e-3)
    nearest = np.abs(found.frequency_cm1 - expected[:, None]).min(axis=1)
    assert nearest.max() > 0.1  # the points of the axis alone would miss


def test_degrees_of_freedom_and_elements():
    found = density_of(oscillators(40_000, 1.0)[1], 1.0)
    assert found.names == ("total", "H", "C")
    assert found.values.sum(axis=1) * found.resolution_cm1 == pytest.approx([6.0, 3.0, 3.0], rel=1e-3)
    assert found.modes_between(2900.0, 3500.0) == pytest.approx([3.0, 3.0, 0.0], abs=0.01)
    hot = oscillators(40_000, 1.0)[1] * np.array([[1.0], [2.0]])
    assert density_of(hot, 1.0).modes_between(0.0, 5000.0) == pytest.approx([6.0, 4.8, 1.2], rel=1e-3)


def test_integral_of_a_spectrum_is_the_mean_square():
    noise = np.random.default_rng(3).standard_normal((60_000, 1))
    density = np.mean([power_density(segment, 2.0)[1] for segment in cut_segments(noise, 600)], axis=0)
    assert density.sum() * (PER_FS_CM1 / (600 * 2.0)) == pytest.approx(np.mean(noise**2), rel=0.02)
    assert density[5:-5].std() / density.mean() < 0.15  # white


def test_error_bars_of_a_noisy_spectrum():
    rng = np.random.default_rng(4)
    segments = rng.standard_normal((400, 64, 2, 3))
    found = vibrational_density(segments, NUMBERS, np.ones(2), 1.0, degrees_of_freedom=6, highest_cm1=3000.0)
    flat = 6.0 / nyquist_cm1(1.0)
    scaled = ((found.values[0] - flat) / found.stderr[0])[2:-2]
    assert 0.7 < scaled.std() < 1.4
    assert np.isnan(vibrational_density(segments[:1], NUMBERS, np.ones(2), 1.0, degrees_of_freedom=6,
                                        highest_cm1=3000.0).stderr).all()


def test_nyquist_is_refused_below_the_margin():
    require_nyquist(4.0, 3420.0)  # 4169.6 cm⁻¹
    with pytest.raises(DataError, match="at least every 4.1 fs"):
        require_nyquist(4.2, 3420.0)
    velocities = oscillators(2000, 4.2)[1]
    with pytest.raises(DataError, match="show frequencies up to 3971"):
        density_of(velocities, 4.2)


def sampling_of(every: int, claimed_fs: float):
    positions, velocities = oscillators(40_000, 1.0)
    length = segment_frames(10.0, claimed_fs, len(velocities[::every]))
    return check_sampling(cut_segments(positions[::every], length), cut_segments(velocities[::every], length), NUMBERS,
                          MASSES, claimed_fs, timestep_fs=1e-6)


@pytest.mark.parametrize("every", [1, 3, 4])
def test_frames_that_are_close_enough_pass_and_tell_the_highest_mode(every):
    found = sampling_of(every, float(every))
    found.require(float(every))
    assert found.highest_cm1 == pytest.approx(3420.0, abs=25.0)


@pytest.mark.parametrize(("every", "claimed_fs"), [(6, 6.0), (7, 7.0), (10, 10.0), (10, 1.0), (1, 10.0), (2, 1.0)])
def test_folded_spectra_and_wrong_axes_are_found_out(every, claimed_fs):
    """Frames too far apart for the highest modes; frames saved every tenth step on the axis of every step."""
    with pytest.raises(DataError, match="do not fit the positions"):
        sampling_of(every, claimed_fs).require(claimed_fs)


def test_verlet_shift_and_its_inverse():
    frequency = np.array([100.0, 1700.0, 3600.0])
    shifted = verlet_shifted_cm1(frequency, 0.5)
    assert shifted[2] - 3600.0 == pytest.approx(17.4, abs=0.2)
    assert verlet_corrected_cm1(shifted, 0.5) == pytest.approx(frequency)


def test_peaks_of_gaussian_lines_are_exact_and_ripples_are_not_peaks():
    x = np.arange(0.0, 400.0, 3.0)
    line = 5.0 * np.exp(-0.5 * ((x - 101.3) / 6.0) ** 2) + 2.0 * np.exp(-0.5 * ((x - 250.8) / 4.0) ** 2)
    found = spectrum_peaks(x, line)
    assert [peak.frequency_cm1 for peak in found] == pytest.approx([101.3, 250.8], abs=0.01)
    assert found[0].width_cm1 == pytest.approx(6.0 * 2.3548, rel=0.05)
    assert found[0].area == pytest.approx(5.0 * 6.0 * np.sqrt(2.0 * np.pi), rel=0.01)
    ripple = line + 0.3 * (1.0 + np.cos(np.pi * np.arange(len(x))))
    assert len(spectrum_peaks(x, ripple)) > 2
    assert len(spectrum_peaks(x, ripple, stderr=np.full_like(x, 0.3))) == 2
    with pytest.raises(DataError, match="finite"):
        spectrum_peaks(x, line - 1.0)


@pytest.mark.parametrize(("values", "stderr"), [(np.zeros(20), None), (1.0 + np.eye(20)[5], np.ones(20))])
def test_a_spectrum_of_nothing_or_of_noise_has_no_peaks(values, stderr):
    assert spectrum_peaks(np.arange(20.0), values, stderr) == []


def dipoles(frames: int, interval_fs: float, charge: float) -> np.ndarray:
    """Of the hydrogen among the oscillators above, in a cage at rest, with a large constant part."""
    return charge * oscillators(frames, interval_fs)[0][:, 1] + np.array([0.0, 3.0, 0.0])


def test_infrared_intensity_of_a_charged_oscillator_is_the_harmonic_one():
    """974.88 km/mol · q²/m for each of the three modes, at any temperature."""
    moments = dipoles(40_000, 1.0, charge=0.4)
    found = infrared_spectrum(cut_segments(moments, 8000), 1.0, temperature_K=TEMPERATURE_K, highest_cm1=3420.0)
    peaks = spectrum_peaks(found.frequency_cm1, found.values)
    assert [peak.frequency_cm1 for peak in peaks] == pytest.approx(MODES_CM1[1], abs=0.1)
    assert [peak.area for peak in peaks] == pytest.approx(np.full(3, 974.88 * 0.4**2 / 1.008), rel=0.01)
    wrong = infrared_spectrum(cut_segments(moments, 8000), 1.0, temperature_K=2 * TEMPERATURE_K, highest_cm1=3420.0)
    assert wrong.values.sum() == pytest.approx(0.5 * found.values.sum())


@pytest.mark.parametrize(("moments", "words"), [(np.zeros((40, 2)), "shape"), (np.full((40, 3), np.nan), "finite"),
                                                (np.zeros((4, 3)), "no segment")])
def test_dipoles_without_a_spectrum_are_refused(moments, words):
    with pytest.raises(DataError, match=words):
        infrared_spectrum(cut_segments(moments, 32), 1.0, temperature_K=300.0, highest_cm1=3000.0)


def test_velocities_without_a_spectrum_are_refused():
    with pytest.raises(DataError, match="at least 16"):
        segment_frames(4.0, 1.0, 10)
    with pytest.raises(DataError, match="all zero"):
        density_of(np.zeros((400, 2, 3)), 1.0)
    with pytest.raises(DataError, match="all finite"):
        density_of(np.full((400, 2, 3), np.nan), 1.0)
