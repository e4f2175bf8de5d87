"""Spectra of molecular dynamics whose frequencies are known: springs, a Morse bond, and what the file says of time."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from ase import Atoms
from md_systems import ExternalField
from torch import Tensor

from toolkit.analysis.peaks import spectrum_peaks
from toolkit.analysis.spectra import segment_frames, verlet_corrected_cm1, verlet_shifted_cm1, vibrational_density
from toolkit.config import MDConfig
from toolkit.errors import DataError
from toolkit.jobs.analyses_spectra import trajectory_ir, trajectory_vdos
from toolkit.md.simulation import simulate
from toolkit.models.pair import HarmonicSprings, pair_potential
from toolkit.units import AMU_A2_PER_FS2_EV, PER_FS_CM1

STIFFNESS, LENGTH_A = 140.0, 1.1
NITROGEN = Atoms("N2", [[0.0, 0.0, 0.0], [LENGTH_A + 0.02, 0.0, 0.0]])
EXACT_CM1 = PER_FS_CM1 / (2.0 * np.pi) * np.sqrt(STIFFNESS / (0.5 * NITROGEN.get_masses()[0] * AMU_A2_PER_FS2_EV))


@pytest.fixture(scope="module")
def springs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diatomic that vibrates along x, 4 ps."""
    return run_springs(tmp_path_factory.mktemp("springs") / "n2.h5", steps=4000, save_every=2)


def run_springs(path: Path, steps: int, save_every: int) -> Path:
    """Stretched at the start and at rest, so that it does not turn; at a time step of 1 fs."""
    config = MDConfig(ensemble="nve", temperature_K=0.0, timestep_fs=1.0, steps=steps, save_every=save_every)
    simulate(pair_potential(HarmonicSprings(("N",), STIFFNESS, LENGTH_A, 3.0)), NITROGEN, config, path).close()
    return path


def test_springs_vibrate_at_root_k_over_mu_once_the_integrator_is_allowed_for(springs):
    found = trajectory_vdos(springs, resolution_cm1=8.4)
    assert found["frame_interval_fs"] == 2.0
    (shown,), (corrected,), (modes,) = (found["peaks"][name] for name in ("frequency_cm1", "corrected_cm1", "modes"))
    assert corrected == pytest.approx(EXACT_CM1, abs=0.5)
    assert shown == pytest.approx(verlet_shifted_cm1(EXACT_CM1, 1.0), abs=0.5)
    assert abs(shown - EXACT_CM1) > 15.0  # so large is what the correction takes away
    assert modes == pytest.approx(found["curves"]["total"]["degrees_of_freedom"], rel=0.01)


def test_infrared_line_of_the_same_run(springs, tmp_path):
    from toolkit.md.trajectory import Trajectory

    with Trajectory(springs) as trajectory:
        positions = trajectory.positions()[:, 0].astype(np.float64)
    np.save(tmp_path / "mu.npy", 0.3 * (positions[:, 1] - positions[:, 0]))
    found = trajectory_ir(springs, tmp_path / "mu.npy", resolution_cm1=8.4)
    assert found["peaks"]["corrected_cm1"] == pytest.approx([EXACT_CM1], abs=0.5)
    np.save(tmp_path / "short.npy", np.zeros((7, 3)))
    with pytest.raises(DataError, match="one moment for each frame"):
        trajectory_ir(springs, tmp_path / "short.npy")
    (tmp_path / "text.npy").write_text("hello")
    with pytest.raises(DataError, match="cannot read the dipole moments"):
        trajectory_ir(springs, tmp_path / "text.npy")


def test_an_axis_wrong_by_the_save_interval_is_noticed(springs, tmp_path):
    """The trap of a published study: frames of every tenth step on the axis of every step. Here the file knows."""
    path = run_springs(tmp_path / "n2.h5", steps=600, save_every=5)
    assert trajectory_vdos(path)["peaks"]["corrected_cm1"] == pytest.approx([EXACT_CM1], abs=2.0)
    with h5py.File(path, "r+") as file:
        file.attrs["save_interval_steps"] = 1
    with pytest.raises(DataError, match="do not fit the positions"):
        trajectory_vdos(path)


def test_frames_too_far_apart_are_refused(tmp_path):
    path = run_springs(tmp_path / "n2.h5", steps=1200, save_every=40)  # Nyquist 417 cm⁻¹
    with pytest.raises(DataError, match="save frames more often"):
        trajectory_vdos(path)
    with pytest.raises(DataError, match="save a frame at least every 5"):
        trajectory_vdos(run_springs(tmp_path / "b.h5", steps=300, save_every=6))  # 2780 cm⁻¹, above the mode, too near


DEPTH_EV, MORSE_PER_A, MASS = 4.5, 2.0, 1.008
HARMONIC_CM1 = PER_FS_CM1 / (2.0 * np.pi) * MORSE_PER_A * np.sqrt(2.0 * DEPTH_EV / (MASS * AMU_A2_PER_FS2_EV))


def morse_field(positions: Tensor) -> tuple[Tensor, Tensor]:
    """D (1 − e^{−ax})² along x (Morse, Phys. Rev. 34, 57 (1929)); free along y and z."""
    decay = torch.exp(-MORSE_PER_A * positions[:, 0])
    forces = torch.zeros_like(positions)
    forces[:, 0] = -2.0 * DEPTH_EV * MORSE_PER_A * (1.0 - decay) * decay
    return DEPTH_EV * (1.0 - decay) ** 2, forces


def test_morse_bond_shifts_to_the_red_with_its_energy():
    """ω(E) = ω₀ √(1 − E/D), exactly, for the classical oscillator of energy E. BAOAB without friction is Verlet."""
    config = MDConfig(ensemble="langevin", friction_per_fs=0.0, temperature_K=4000.0, timestep_fs=0.25, steps=8000,
                      save_every=8, replicas=12, seed=3)
    trajectory = simulate(ExternalField(morse_field), Atoms("H", [[0.0, 0.0, 0.0]], masses=[MASS]), config)
    velocities = trajectory.velocities().astype(np.float64)[..., :1] * [1.0, 0.0, 0.0]
    energies = 0.5 * MASS * AMU_A2_PER_FS2_EV * velocities[0, :, 0, 0] ** 2
    expected = HARMONIC_CM1 * np.sqrt(1.0 - energies / DEPTH_EV)
    found = []
    for replica in range(12):
        density = vibrational_density([velocities[:, replica]], np.array([1]), np.array([MASS]),
                                      trajectory.frame_interval_fs, degrees_of_freedom=1, highest_cm1=HARMONIC_CM1)
        line = max(spectrum_peaks(density.frequency_cm1, density.values[0]), key=lambda peak: peak.height)
        found.append(float(verlet_corrected_cm1(line.frequency_cm1, 0.25)))
    assert (HARMONIC_CM1 - expected).max() > 150.0  # a harmonic bond would not move
    assert np.abs(found - expected).max() < 1.0


def test_segments_follow_the_resolution():
    assert segment_frames(4.0, 2.0, 100_000) == 4170
    assert segment_frames(4.0, 2.0, 1000) == 1000
