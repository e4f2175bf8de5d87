"""Modes followed through a motion that is known exactly: a molecule on its harmonic energy surface."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from scipy.signal import lfilter
from scipy.spatial.transform import Rotation

from tests.synthetic_trajectories import write_trajectory
from toolkit.analysis.mode_spectra import (
    ModeSpectra,
    eckart_rotations,
    match_peaks,
    mode_spectra,
    mode_velocities,
)
from toolkit.analysis.normal_modes import NormalModes, center_of_mass, normal_modes
from toolkit.analysis.spectra import cut_segments
from toolkit.config import MDConfig
from toolkit.errors import DataError
from toolkit.interfaces.relaxation import cartesian_hessian
from toolkit.jobs.mode_analysis import spectra_of_modes
from toolkit.md.simulation import simulate
from toolkit.models.pair import HarmonicSprings, pair_potential
from toolkit.models.potential import Potential
from toolkit.units import AMU_A2_PER_FS2_EV, KB_EV_PER_K, PER_FS_CM1

BOND = 1.2


def triangle() -> Atoms:
    """Three unequal atoms, bent, at rest for springs of length BOND between all of them."""
    return Atoms("OCH", [[0.0, 0.0, 0.0], [BOND, 0.0, 0.0], [BOND / 2, BOND * np.sqrt(0.75), 0.0]])


def springs() -> Potential:
    return pair_potential(HarmonicSprings(("C", "O", "H"), 40.0, BOND, 2.0))


def modes_of(atoms: Atoms) -> NormalModes:
    return normal_modes(cartesian_hessian(springs(), atoms), atoms.positions, atoms.get_masses())


def sigmas_from(samples: np.ndarray, expected: float) -> float:
    """How many standard errors the mean of independent samples lies from the expected value."""
    return float((samples.mean() - expected) / (samples.std(ddof=1) / np.sqrt(len(samples))))


def oscillating(modes: NormalModes, times_fs: np.ndarray, amplitude: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """All modes at their own frequencies, each with the same kinetic energy: positions and velocities, (T, N, 3)."""
    omega = 2.0 * np.pi * modes.frequencies_cm1 / PER_FS_CM1
    phases = np.arange(len(omega)) + times_fs[:, None] * omega
    shapes = modes.eigenvectors / np.sqrt(modes.masses)[:, None]
    return (modes.positions + np.einsum("tm,mna->tna", amplitude * np.sin(phases) / omega, shapes),
            np.einsum("tm,mna->tna", amplitude * np.cos(phases), shapes))


def spectra_of(modes: NormalModes, positions: np.ndarray, velocities: np.ndarray, interval: float, timestep: float,
               length: int) -> ModeSpectra:
    pairs = zip(cut_segments(positions, length), cut_segments(velocities, length), strict=True)
    return mode_spectra(pairs, modes, interval, timestep)


def test_each_mode_is_found_at_its_frequency_however_the_molecule_tumbles():
    modes = modes_of(triangle())
    times = np.arange(16384) * 1.0
    positions, velocities = oscillating(modes, times)
    spin = Rotation.from_rotvec(times[:, None] * [0.0, 0.0, 2e-3])  # 10 cm⁻¹
    turn = spin.as_matrix() @ Rotation.random(rng=1).as_matrix()
    turned = np.einsum("tab,tnb->tna", turn, positions) + [3.0, -1.0, 0.5] + times[:, None, None] * [1e-3, 0.0, 0.0]
    moving = np.einsum("tab,tnb->tna", turn, velocities) + [1e-3, 0.0, 0.0]
    found = spectra_of(modes, turned, moving, 1.0, 1e-6, 8192)
    assert np.abs(found.shift_cm1).max() < 0.5 and found.band_share.min() > 0.99
    np.testing.assert_allclose(found.kinetic_K / found.kinetic_K[0], 1.0, atol=0.01)
    assert [peak.modes[0][0] for peak in match_peaks(found, 1e-6)] == [0, 1, 2]
    unturned = mode_velocities(replace(modes, linear=False), turned, velocities)
    assert not np.allclose(unturned, mode_velocities(modes, turned, moving), atol=1e-4)  # velocities must turn along


def test_eckart_conditions_hold_and_a_wrong_weight_breaks_them():
    modes = modes_of(triangle())
    positions, _ = oscillating(modes, np.linspace(0.0, 400.0, 50), amplitude=0.1)
    positions = positions @ Rotation.random(rng=2).as_matrix()
    arms = positions - center_of_mass(positions, modes.masses)
    reference = modes.positions - center_of_mass(modes.positions, modes.masses)

    def violation(rotations: np.ndarray) -> float:
        aligned = np.einsum("tab,tnb->tna", rotations, arms)
        return float(np.abs((modes.masses[:, None] * np.cross(reference, aligned)).sum(axis=1)).max())

    rotations = eckart_rotations(modes, positions)
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0)
    assert violation(rotations) < 1e-12
    assert violation(eckart_rotations(replace(modes, masses=np.ones(3)), positions)) > 1e-3


def test_a_linear_molecule_keeps_its_bends_apart():
    """The turn about the axis is free; taken at random it would mix the two bends with noise."""
    atoms = Atoms("OCO", [[0.0, 0.0, -BOND], [0.0, 0.0, 0.0], [0.0, 0.0, BOND]])
    masses = atoms.get_masses()
    bends = np.array([[[1.0, 0, 0], [-2 * masses[0] / masses[1], 0, 0], [1.0, 0, 0]]]) * np.sqrt(masses)[:, None]
    bends = np.concatenate([bends, bends[..., [1, 0, 2]]]) / np.linalg.norm(bends)
    modes = NormalModes(np.array([600.0, 700.0]), bends, np.ones(2), np.zeros(5), np.zeros(5), atoms.positions, masses,
                        linear=True)
    times = np.arange(8192) * 1.0
    tumble = Rotation.from_rotvec(times[:, None] * [1e-3, 0.0, 0.0]).as_matrix()
    positions, velocities = (np.einsum("tab,tnb->tna", tumble, x) for x in oscillating(modes, times))
    found = spectra_of(modes, positions, velocities, 1.0, 1e-6, 8192)
    assert np.abs(found.shift_cm1).max() < 0.5 and found.band_share.min() > 0.99


def test_the_error_bar_of_a_mode_temperature_is_its_scatter():
    """A mode that remembers its amplitude for 500 fs; ten times as long, in segments that overlap by half."""
    masses, temperature, omega = np.array([12.0, 12.0]), 300.0, 2.0 * np.pi * 1000.0 / PER_FS_CM1
    modes = NormalModes(np.array([1000.0]), np.array([[[1.0, 0, 0], [-1.0, 0, 0]]]) / np.sqrt(2.0), np.array([12.0]),
                        np.zeros(3), np.zeros(3), np.array([[0.0, 0, 0], [1.5, 0, 0]]), masses, False)
    times, decay, rng = np.arange(3600) * 5.0, np.exp(-5.0 / 500.0), np.random.default_rng(0)
    positions = np.broadcast_to(modes.positions, (len(times), 2, 3))
    found = []
    for _ in range(150):
        noise = rng.normal(size=(len(times) + 600, 2)) * np.sqrt(1.0 - decay**2)
        amplitude = lfilter([1.0], [1.0, -decay], noise, axis=0)[600:]
        speed = amplitude[:, 0] * np.cos(omega * times) + amplitude[:, 1] * np.sin(omega * times)
        speed *= np.sqrt(KB_EV_PER_K * temperature / AMU_A2_PER_FS2_EV / masses.sum())
        velocities = speed[:, None, None] * np.array([[1.0, 0, 0], [-1.0, 0, 0]])
        spectra = spectra_of(modes, positions, velocities, 5.0, 1e-6, 600)
        found.append((spectra.kinetic_K[0], spectra.kinetic_stderr_K[0]))
    means, errors = np.array(found).T
    assert abs(sigmas_from(means, temperature)) < 4.0
    assert means.std(ddof=1) / np.sqrt((errors**2).mean()) == pytest.approx(1.1, abs=0.2)  # 1.6 where segments count as strangers


def test_the_blue_shift_of_velocity_verlet_is_taken_out():
    atoms = Atoms("CH", [[0.0, 0.0, 0.0], [0.0, 0.0, BOND]])
    modes = normal_modes(cartesian_hessian(springs(), atoms), atoms.positions, atoms.get_masses())
    config = MDConfig(ensemble="nve", temperature_K=0.1, timestep_fs=1.0, steps=4096, save_every=1)
    run = simulate(springs(), atoms, config)
    found = spectra_of(modes, run.positions()[:, 0], run.velocities()[:, 0], 1.0, 1.0, 4096)
    assert np.abs(found.shift_cm1).max() < 0.5
    assert found.frequency_cm1[found.density.argmax()] - modes.frequencies_cm1[0] > 30.0


def test_an_imaginary_mode_has_no_place_in_the_spectrum():
    modes = modes_of(triangle())
    positions, velocities = oscillating(modes, np.arange(8192.0))
    saddle = replace(modes, frequencies_cm1=np.concatenate([[-300.0], modes.frequencies_cm1[1:]]))
    found = spectra_of(saddle, positions, velocities, 1.0, 1e-6, 4096)
    unknown = (found.centre_cm1, found.centre_stderr_cm1, found.shift_cm1, found.width_cm1)
    assert all(np.isnan(values[0]) for values in unknown) and found.band_share[0] == 0.0
    assert np.abs(found.shift_cm1[1:]).max() < 0.5 and np.isfinite(found.kinetic_K).all()


def test_every_mode_holds_half_kT_and_unweighted_modes_do_not():
    """BAOAB's velocities are colder by 1 − (ω Δt/2)² (Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013))."""
    atoms, timestep = triangle(), 0.5
    config = MDConfig(temperature_K=100.0, timestep_fs=timestep, friction_per_fs=0.05, steps=1200, save_every=150,
                      replicas=200, seed=2)
    run = simulate(springs(), atoms, config)
    positions, velocities = run.positions(start=3), run.velocities(start=3)

    def sigmas(modes: NormalModes) -> np.ndarray:
        moving = np.stack([mode_velocities(modes, positions[:, r], velocities[:, r]) for r in range(200)])
        kinetic_K = (moving**2).mean(axis=1) * AMU_A2_PER_FS2_EV / KB_EV_PER_K
        expected = 100.0 * (1.0 - (np.pi * timestep * modes.frequencies_cm1 / PER_FS_CM1) ** 2)
        return np.array([sigmas_from(kinetic_K[:, k], expected[k]) for k in range(3)])

    modes = modes_of(atoms)
    assert np.abs(sigmas(modes)).max() < 3.0
    assert np.abs(sigmas(replace(modes, masses=np.full(3, modes.masses.mean())))).max() > 6.0


def test_frames_too_far_apart_or_of_another_molecule_are_refused():
    modes = modes_of(triangle())
    positions, velocities = oscillating(modes, np.arange(100.0))
    with pytest.raises(DataError, match="frames every 8 fs"):
        mode_spectra([(positions, velocities)], modes, 8.0, 0.5)
    with pytest.raises(DataError, match="another structure"):
        mode_spectra([(positions[:, :2], velocities[:, :2])], modes, 1.0, 0.5)
    with pytest.raises(DataError, match="no segment"):
        mode_spectra([], modes, 1.0, 0.5)


def test_a_crystal_does_not_turn():
    """Velocities of a crystal are projected as they are; those of a molecule after turning the frame back."""
    modes = modes_of(triangle())
    positions, velocities = oscillating(modes, np.arange(50.0))
    turn = Rotation.from_rotvec([0.0, 0.0, 0.5]).as_matrix()
    turned = positions @ turn.T, velocities @ turn.T
    crystal = replace(modes, zero_modes_cm1=np.zeros(3))
    molecule_at_rest, crystal_at_rest = (mode_velocities(each, positions, velocities) for each in (modes, crystal))
    np.testing.assert_allclose(mode_velocities(modes, *turned), molecule_at_rest, atol=1e-9)
    np.testing.assert_allclose(crystal_at_rest, molecule_at_rest, atol=1e-5)
    assert np.abs(mode_velocities(crystal, *turned) - crystal_at_rest).max() > 1e-3


def test_memory_does_not_grow_with_the_trajectory(tmp_path: Path):
    modes = modes_of(triangle())

    def motion(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        positions, velocities = oscillating(modes, times)
        return positions[:, None], velocities[:, None]

    peaks = []
    for frames in (20_000, 120_000):
        path = write_trajectory(tmp_path / f"{frames}.h5", triangle(), motion, frames)
        tracemalloc.start()
        spectra, _ = spectra_of_modes(path, modes, 16.0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert spectra.num_segments > frames // 2100 - 2
    assert peaks[1] < peaks[0] + 120_000 * 20  # times, energies and flags; positions alone would be 72 bytes a frame
