"""Error bars over frames, paired differences and energy offsets, against distributions whose answers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from toolkit.analysis.energy_zero import OFFSET, REST, describe_other_zero, energy_zero, has_other_zero
from toolkit.analysis.paired import FrameStatistic, composition_offset_eV, frame_statistics, mean_of
from toolkit.analysis.parity import Parity
from toolkit.errors import DataError

HALF_NORMAL = np.sqrt(2.0 / np.pi)
"""Mean of |x| for a normal x of unit width."""
FORCES, ENERGY = "forces_mae_meV_per_A", "energy_mae_meV_per_atom"


def labels(num_frames: int, seed: int = 0) -> Parity:
    """Perfect predictions on frames of 3 to 6 atoms of H and O."""
    random = np.random.default_rng(seed)
    sizes = random.integers(3, 7, num_frames)
    energy, forces = random.normal(size=num_frames), random.normal(size=(sizes.sum(), 3))
    return Parity(sizes, random.choice([1, 8], sizes.sum()), energy, energy, forces, forces)


def with_noise(parity: Parity, meV_per_A: float, seed: int) -> Parity:
    """Predictions whose force components err by normal noise of that width."""
    noise = np.random.default_rng(seed).normal(scale=1e-3 * meV_per_A, size=parity.forces_eV_per_A.shape)
    return replace(parity, forces_eV_per_A=parity.forces_eV_per_A + noise)


def test_a_model_differs_from_itself_by_exactly_nothing() -> None:
    found = frame_statistics(with_noise(labels(50), 20.0, seed=1))
    assert set(found) == {"energy_mae_meV", ENERGY, f"{ENERGY}_without_offset", FORCES, "forces_rmse_meV_per_A",
                          f"{FORCES}.H", f"{FORCES}.O"}
    for statistic in found.values():
        difference = statistic - statistic
        assert difference.value == 0.0 and difference.stderr == 0.0
    assert found[FORCES].value > 10.0 and found[FORCES].stderr > 0.0


def test_known_noise_is_found_as_known_difference() -> None:
    """Errors N(0, 20²) and the same errors + N(0, 15²), that is N(0, 25²): 5 meV/Å in RMS, 5 √(2/π) in the mean."""
    first = with_noise(labels(400), 20.0, seed=2)
    second = with_noise(first, 15.0, seed=3)
    a, b = frame_statistics(first), frame_statistics(second)
    for name, expected in ((FORCES, 5.0 * HALF_NORMAL), ("forces_rmse_meV_per_A", 5.0)):
        difference = b[name] - a[name]
        assert abs(difference.value - expected) < 3.0 * difference.stderr
        assert difference.value > 5.0 * difference.stderr
        assert difference.stderr < 0.8 * np.hypot(a[name].stderr, b[name].stderr)  # what pairing is for


def test_wrong_forces_are_found_out() -> None:
    good = with_noise(labels(40), 20.0, seed=4)
    flipped = replace(good, forces_eV_per_A=-good.forces_eV_per_A)
    difference = frame_statistics(flipped)[FORCES] - frame_statistics(good)[FORCES]
    assert difference.value > 1000.0 and difference.value > 20.0 * difference.stderr
    broken = good.forces_eV_per_A.copy()
    broken[7] = np.nan
    with pytest.raises(DataError, match="not finite in 3 predictions"):
        frame_statistics(replace(good, forces_eV_per_A=broken))


@pytest.mark.parametrize("memory", [0.0, 0.8])
def test_error_bars_cover_the_truth_also_for_correlated_frames(memory: float) -> None:
    """Deviations in units of the error bar have unit width, whether neighbouring frames resemble each other or not."""
    random = np.random.default_rng(5)
    deviations = []
    for _ in range(200):
        noise = random.normal(size=400)
        for t in range(1, len(noise)):
            noise[t] = memory * noise[t - 1] + np.sqrt(1.0 - memory**2) * noise[t]
        count = random.integers(3, 7, len(noise))
        statistic = mean_of((10.0 + noise) * count, count)
        deviations.append((statistic.value - 10.0) / statistic.stderr)
    assert 0.85 < np.std(deviations) < 1.25 and abs(np.mean(deviations)) < 3.0 / np.sqrt(200)


def test_frames_without_labels_do_not_count() -> None:
    total, count = np.array([3.0, 0.0, 5.0, 4.0, 8.0]), np.array([3, 0, 5, 2, 8])
    statistic = mean_of(total, count)
    assert statistic.value == pytest.approx(20.0 / 18.0) and statistic.influence.shape == (4,)
    assert statistic.influence.sum() == pytest.approx(0.0, abs=1e-12)
    assert mean_of(np.zeros(3), np.zeros(3)) is None and mean_of(total[:3], count[:3]).stderr is None
    assert FrameStatistic(0.0, np.zeros(5)).root().stderr == 0.0
    bare = replace(labels(30), label_energy_eV=np.full(30, np.nan))
    assert ENERGY not in frame_statistics(bare) and FORCES in frame_statistics(bare)


def test_another_zero_of_energy_is_taken_off_and_nothing_else() -> None:
    parity = labels(60)
    hydrogens = np.bincount(parity.frame_of_atom, weights=parity.atomic_numbers == 1)
    offset = 13.6 * hydrogens - 2041.0 * (parity.num_atoms - hydrogens)
    noise = np.random.default_rng(6).normal(scale=0.01, size=60)
    found = frame_statistics(replace(parity, energy_eV=parity.energy_eV + offset + noise))
    np.testing.assert_allclose(composition_offset_eV(replace(parity, energy_eV=parity.energy_eV + offset)), offset)
    assert found[ENERGY].value > 1e5 and found[FORCES].value == 0.0
    free = found[f"{ENERGY}_without_offset"]
    expected = 1e3 * np.abs(noise / parity.num_atoms).mean()
    assert free.value == pytest.approx(expected, rel=0.1) and free.value > 1.0
    said = energy_zero(replace(parity, energy_eV=parity.energy_eV + offset + noise))
    assert said[REST] == pytest.approx(free.value) and has_other_zero(said) and "mine lie -" in describe_other_zero(said, "mine")
    assert not has_other_zero(energy_zero(replace(parity, energy_eV=parity.energy_eV + noise)))
    few = replace(labels(3), energy_eV=labels(3).energy_eV + 1.0)
    assert energy_zero(few) == {OFFSET: None, REST: None} and not has_other_zero(energy_zero(few)) and not has_other_zero({})
    assert np.isnan(composition_offset_eV(few)).all() and f"{ENERGY}_without_offset" not in frame_statistics(few)
