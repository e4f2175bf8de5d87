"""How torsion angles are distributed: histograms, free-energy profiles with error bars, and maps of pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.analysis.streaming import BlockSums, Frames, as_chunks
from toolkit.errors import DataError
from toolkit.units import KB_EV_PER_K

FULL_TURN_DEG = 360.0


@dataclass(frozen=True)
class TorsionProfiles:
    """Distributions of K torsion angles on B bins.

    angle_deg : (B,), bin centres, −180 … 180
    probability, probability_stderr : (K, B), 1/degree, error from blocks of frames, NaN when there is one
    free_energy_eV, free_energy_stderr_eV : (K, B), −kT ln p above its minimum; NaN where no frame ever was
    """

    angle_deg: np.ndarray
    probability: np.ndarray
    probability_stderr: np.ndarray
    free_energy_eV: np.ndarray
    free_energy_stderr_eV: np.ndarray
    num_frames: int


@dataclass(frozen=True)
class TorsionMap:
    """Joint distribution of two torsions: angle_deg (B,) for both; probability (B, B), 1/degree², rows the first;
    free_energy_eV (B, B) above the minimum, NaN where no frame ever was."""

    angle_deg: np.ndarray
    probability: np.ndarray
    free_energy_eV: np.ndarray


def torsion_profiles(angles_deg: Frames, temperature_K: float, bins: int = 72) -> TorsionProfiles:
    """Free energy along each torsion, F(φ) = −kT ln p(φ), with error kT δp/p.

    An error bar of zero or NaN where few frames were means that it is not known. Where the molecule turns only a few
    times in the whole run, blocks are not independent and the true error is larger.

    angles_deg : (T, K), or chunks (t, K) of it
    Raises DataError without frames, and for angles that are not finite.
    """
    sums = BlockSums()
    for chunk in as_chunks(angles_deg):
        if len(chunk):
            sums.add(np.stack([_counts(chunk[:, [k]], bins) for k in range(chunk.shape[1])]), len(chunk))
    width = FULL_TURN_DEG / bins
    probability, stderr = _mean(sums) / width, sums.stderr() / width
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(probability > 0.0, stderr / probability, np.nan)
    return TorsionProfiles(_centers(bins), probability, stderr, free_energy_eV(probability, temperature_K),
                           KB_EV_PER_K * temperature_K * relative, sums.count)


def torsion_maps(angles_deg: Frames, pairs: list[tuple[int, int]], temperature_K: float,
                 bins: int = 36) -> list[TorsionMap]:
    """Joint distribution of pairs (k, l) of torsions, as of φ and ψ (Ramachandran). angles_deg : (T, K), or chunks."""
    sums = BlockSums(num_blocks=1)
    for chunk in as_chunks(angles_deg):
        if len(chunk) and pairs:
            sums.add(np.stack([_counts(chunk[:, pair], bins) for pair in pairs]), len(chunk))
    if not pairs:
        return []
    probability = (_mean(sums) / (FULL_TURN_DEG / bins) ** 2).reshape(-1, bins, bins)
    return [TorsionMap(_centers(bins), p, free_energy_eV(p[None], temperature_K)[0]) for p in probability]


def free_energy_eV(probability: np.ndarray, temperature_K: float) -> np.ndarray:
    """−kT ln p above the minimum of each row, (K, …), eV; NaN where p is zero. Raises DataError unless T > 0."""
    if not temperature_K > 0.0:
        raise DataError(f"found a temperature of {temperature_K} K, expected a positive one")
    axes = tuple(range(1, probability.ndim))
    with np.errstate(divide="ignore"):
        relative = np.log(probability.max(axis=axes, keepdims=True)) - np.log(probability)
    return np.where(probability > 0.0, KB_EV_PER_K * temperature_K * relative, np.nan)


def _counts(angles: np.ndarray, bins: int) -> np.ndarray:
    """Frames in each bin of the product of the columns, flat. angles : (t, d)"""
    if not np.isfinite(angles).all():
        raise DataError("found torsion angles that are not finite", "leave out the frames of retired replicas")
    columns = np.floor((angles + 0.5 * FULL_TURN_DEG) * (bins / FULL_TURN_DEG)).astype(np.int64) % bins
    flat = np.ravel_multi_index(tuple(columns.T), (bins,) * angles.shape[1])
    return np.bincount(flat, minlength=bins ** angles.shape[1])


def _mean(sums: BlockSums) -> np.ndarray:
    if sums.count == 0:
        raise DataError("found no frames, expected at least one")
    return sums.mean()


def _centers(bins: int) -> np.ndarray:
    return (np.arange(bins) + 0.5) * (FULL_TURN_DEG / bins) - 0.5 * FULL_TURN_DEG
