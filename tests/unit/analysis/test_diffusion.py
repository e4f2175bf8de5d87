"""Mean squared displacements that are known exactly: random walks, Langevin flights, and plain counting."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.analysis.diffusion import DIFFUSIVE_WITHIN, diffusion, mean_squared_displacement, yeh_hummer_cm2_per_s
from toolkit.errors import DataError

NUMBERS = np.array([1, 1, 8])
INTERVAL_FS = 2.0
STEPS_A = np.array([0.3, 0.3, 0.1])[:, None]
EXACT_CM2_PER_S = STEPS_A[:, 0] ** 2 / (2.0 * INTERVAL_FS) * 0.1


def walks(blocks: int, frames: int, replicas: int = 1, seed: int = 1) -> np.ndarray:
    """Random walks (B, T, R, 3 atoms, 3): D = σ² / (2 Δt) along each axis."""
    steps = np.random.default_rng(seed).standard_normal((blocks, frames, replicas, 3, 3)) * STEPS_A
    return np.cumsum(steps, axis=1)


@pytest.mark.parametrize("pieces", [1, 7, 100, 403])
def test_every_lag_is_exact_whatever_the_pieces(pieces):
    walk = walks(1, 403, replicas=2)[0]
    found = mean_squared_displacement([np.array_split(walk, pieces)], NUMBERS, INTERVAL_FS)
    lags = np.rint(found.lag_fs / INTERVAL_FS).astype(int)
    assert lags[:17].tolist() == [*range(1, 17), 18] and lags[-1] == 192 and found.names == ("total", "H", "O")
    for column, lag in enumerate(lags):
        stride = 1 if lag <= 16 else 1 << int(np.ceil(np.log2(lag / 16)))
        moved = walk[lag::stride] - walk[:-lag:stride]
        per_atom = (moved**2).sum(axis=-1).mean(axis=(0, 1))
        assert found.values[:, column] == pytest.approx([per_atom.mean(), per_atom[:2].mean(), per_atom[2]])


def test_a_random_walk_has_its_diffusion_constant_and_an_honest_error():
    runs = ([[block] for block in walks(12, 2000, seed=seed)] for seed in range(40))
    found = [diffusion(mean_squared_displacement(run, NUMBERS, INTERVAL_FS)) for run in runs]
    exact = np.array([EXACT_CM2_PER_S.mean(), EXACT_CM2_PER_S[0], EXACT_CM2_PER_S[2]])
    errors = np.array([one.coefficient_cm2_per_s - exact for one in found])
    assert np.abs(errors.mean(axis=0) / (errors.std(axis=0) / np.sqrt(40))).max() < 3.0
    assert 0.8 < (errors / [one.stderr_cm2_per_s for one in found]).std() < 1.4
    assert found[0].stderr_cm2_per_s[0] < 0.2 * exact[0]  # so that a factor of two would be seen


def test_langevin_flight_is_ballistic_first_and_diffusive_later():
    """MSD(t) = 6 D (t − (1 − e^{−γt}) / γ) (Ornstein & Uhlenbeck 1930) of exactly sampled free Brownian motion."""
    friction, diffusivity, frames, atoms = 0.01, 0.02, 1500, 200
    rng = np.random.default_rng(7)
    decay = np.exp(-friction * INTERVAL_FS)
    variance = diffusivity * friction
    joint = np.array([[variance * (1.0 - decay**2), diffusivity * (1.0 - decay) ** 2],
                      [diffusivity * (1.0 - decay) ** 2,
                       diffusivity / friction * (2.0 * friction * INTERVAL_FS - 3.0 + 4.0 * decay - decay**2)]])
    velocity = np.sqrt(variance) * rng.standard_normal((atoms, 3))
    positions = np.zeros((frames, 1, atoms, 3))
    for t in range(1, frames):
        noise = rng.standard_normal((atoms, 3, 2)) @ np.linalg.cholesky(joint).T
        positions[t, 0] = positions[t - 1, 0] + velocity * (1.0 - decay) / friction + noise[..., 1]
        velocity = decay * velocity + noise[..., 0]
    blocks = [[positions[:, :, k:k + 20]] for k in range(0, atoms, 20)]
    msd = mean_squared_displacement(blocks, np.full(20, 8), INTERVAL_FS)
    expected = 6.0 * diffusivity * (msd.lag_fs - (1.0 - np.exp(-friction * msd.lag_fs)) / friction)
    assert np.abs((msd.values[0] - expected) / msd.stderr[0]).max() < 4.0
    assert msd.values[0, 1] / msd.values[0, 0] == pytest.approx(4.0, rel=0.02)  # flight: lag squared
    found = diffusion(msd, fit_from_fs=500.0)
    assert abs(found.coefficient_cm2_per_s[0] - 0.1 * diffusivity) < 3.5 * found.stderr_cm2_per_s[0]
    early = diffusion(msd, fit_to_fs=60.0, fit_from_fs=0.0)
    assert early.coefficient_cm2_per_s[0] < 0.5 * 0.1 * diffusivity  # too early to be a straight line


def test_a_solid_on_the_way_from_flight_to_its_plateau_does_not_diffuse():
    """Phonons of 1 … 5 THz: in lags about a tenth of a picosecond the MSD has the power 1, and means nothing."""
    random, times = np.random.default_rng(1), 11.0 * np.arange(64)
    def block(amplitude: float) -> list[np.ndarray]:
        frequency, phase = random.uniform(1e-3, 5e-3, (30, 3)), random.uniform(0.0, 2.0 * np.pi, (30, 100, 3))
        waves = np.cos(2.0 * np.pi * times[:, None, None, None] * frequency[:, None] + phase)
        return [amplitude * waves.sum(axis=1)[:, None]]

    for amplitude in (0.02, 0.2):  # of a solid, and of one whose atoms would move far
        found = diffusion(mean_squared_displacement([block(amplitude) for _ in range(10)], np.full(100, 79), 11.0))
        assert found.exponents.shape == (3, 2) and abs(found.exponents[0, 0] - 1.0) < DIFFUSIVE_WITHIN
        assert found.exponents[1, 0] > 1.3 > 0.7 > found.exponents[2, 0] and not found.diffusive.any()


def test_atoms_that_stay_in_their_cages_do_not_diffuse():
    """A random walk of any size has the power 1; one of a tenth of an Ångström is too small to be told from rattling."""
    steps = np.random.default_rng(2).normal(size=(10, 400, 1, 50, 3))
    for size, moves in ((0.002, False), (0.2, True)):
        blocks = [[np.cumsum(size * block, axis=0)] for block in steps]
        found = diffusion(mean_squared_displacement(blocks, np.full(50, 8), INTERVAL_FS))
        assert abs(found.exponents[0, 0] - 1.0) < DIFFUSIVE_WITHIN and found.diffusive.all() == moves == found.diffusive.any()


def test_finite_size_correction_of_water():
    """Yeh & Hummer (2004): TIP3P at 298 K in a box of 18.6 Å, η 0.31 mPa·s, is too slow by about 1.07e-5 cm²/s."""
    assert yeh_hummer_cm2_per_s(298.0, 18.6, 0.31) == pytest.approx(1.07e-5, rel=0.01)
    assert yeh_hummer_cm2_per_s(298.0, 37.2, 0.31) == pytest.approx(0.5 * yeh_hummer_cm2_per_s(298.0, 18.6, 0.31))


def test_what_is_too_short_is_refused():
    with pytest.raises(DataError, match="at least 4 frames"):
        mean_squared_displacement([], NUMBERS, 1.0)
    with pytest.raises(DataError, match="equally long"):
        mean_squared_displacement([[np.zeros((8, 1, 3, 3))], [np.zeros((9, 1, 3, 3))]], NUMBERS, 1.0)
    msd = mean_squared_displacement([[walks(1, 50)[0]]], NUMBERS, 1.0)
    with pytest.raises(DataError, match="expected at least 2"):
        diffusion(msd, fit_from_fs=1000.0)
