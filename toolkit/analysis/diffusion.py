"""Mean squared displacement at all time scales in bounded memory, and the diffusion constants that follow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from ase import units
from ase.data import chemical_symbols

from toolkit.analysis.blocks import block_mean
from toolkit.errors import DataError

LAGS_PER_LEVEL = 16
DIFFUSIVE_WITHIN = 0.2
"""How far from 1 the power of the lag may be, where its error bar does not allow more."""
CAGE_A2 = 0.5
"""MSD below which atoms have not left their sites: in solids it stays below 0.2 Å² (Lindemann)."""
FIT_WINDOW = (0.1, 0.5)
"""Part of the longest lag over which the line is fitted, by default: longer lags have few independent origins."""
A2_PER_FS_CM2_PER_S = 0.1
YEH_HUMMER_XI = 2.837297


@dataclass(frozen=True)
class MeanSquaredDisplacement:
    """MSD of all atoms and of each element at L lags, from B independent blocks.

    lag_fs : (L,);  names : "total", "H", "C", …;  values, stderr : (P, L), Å²;  blocks : (B, P, L), Å²
    """

    lag_fs: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray
    stderr: np.ndarray
    blocks: np.ndarray


@dataclass(frozen=True)
class Diffusion:
    """Diffusion constants, (P,), cm²/s, from lines through the MSD between two lags, with standard errors.

    exponents, exponents_stderr : (K, P), the power of the lag by which the MSD grows there, and in both halves where there
        are lags enough: 1 is diffusion, 2 is flight, 0 are atoms that stay; NaN for atoms that do not move at all
    moved_A2 : (P,), the largest MSD there
    """

    names: tuple[str, ...]
    coefficient_cm2_per_s: np.ndarray
    stderr_cm2_per_s: np.ndarray
    exponents: np.ndarray
    exponents_stderr: np.ndarray
    moved_A2: np.ndarray
    fit_from_fs: float
    fit_to_fs: float

    @property
    def diffusive(self) -> np.ndarray:
        """(P,), whether atoms have left their sites and the MSD grows as the lag, in both halves too, since one that bends
        from flight to a plateau has the power 1 on the way: within 0.2 or within three standard errors."""
        straight = np.abs(self.exponents - 1.0) <= np.fmax(DIFFUSIVE_WITHIN, 3.0 * self.exponents_stderr)
        return straight.all(axis=0) & (self.moved_A2 > CAGE_A2)


def mean_squared_displacement(blocks: Iterable[Iterable[np.ndarray]], atomic_numbers: np.ndarray,
                              frame_interval_fs: float) -> MeanSquaredDisplacement:
    """⟨|r(t + τ) − r(t)|²⟩ over atoms and all origins t in a block, at lags τ from one frame to half a block.

    Lags beyond 16 frames grow by powers of two, 8 in each, with origins as far apart as the lags: the multiple-tau
    scheme (Ramírez, Sukumaran, Vorselaars & Likhtman, J. Chem. Phys. 133, 154103 (2010)) without its averaging, so
    that every value is exact. Memory: a few hundred frames.

    blocks : each an iterable of chunks (t, R, N, 3), Å, not wrapped, in order and without gap; all equally long. Every
        block and every one of its R replicas counts as one independent sample
    Raises DataError for blocks shorter than 4 frames or of different lengths.
    """
    elements = np.unique(atomic_numbers)
    members = np.stack([np.ones(len(atomic_numbers)), *(np.asarray(atomic_numbers) == z for z in elements)])
    members /= members.sum(axis=1, keepdims=True)
    samples, lags = [], np.zeros(0, dtype=np.int64)
    for block in blocks:
        levels = _Levels()
        for chunk in block:
            levels.add(np.asarray(chunk, dtype=np.float64))
        if samples and levels.num_frames != length:
            raise DataError(f"found blocks of {length} and {levels.num_frames} frames, expected all equally long")
        length = levels.num_frames
        lags, per_atom = levels.result()
        samples.append(np.einsum("lrn,pn->rpl", per_atom, members))
    if not samples or not len(lags):
        raise DataError("found no block of at least 4 frames", "run longer, save more often or use fewer blocks")
    joined = np.concatenate(samples)
    values, stderr = block_mean(joined)
    names = ("total", *(chemical_symbols[z] for z in elements))
    return MeanSquaredDisplacement(lags * frame_interval_fs, names, values, stderr, joined)


def diffusion(msd: MeanSquaredDisplacement, fit_from_fs: float | None = None, fit_to_fs: float | None = None,
              dimensions: int = 3) -> Diffusion:
    """D = slope / 2d of straight lines through the MSD in d dimensions (Einstein 1905), fitted to each block for the standard
    error.

    Points are weighted by 1 / lag, as long lags are the less certain ones. In a periodic box D depends on the box: see
    `yeh_hummer_cm2_per_s`.
    fit_from_fs, fit_to_fs : default a tenth to a half of the longest lag; begin where the MSD is a straight line
    Raises DataError when fewer than 2 lags lie between.
    """
    longest = float(msd.lag_fs[-1])
    start = FIT_WINDOW[0] * longest if fit_from_fs is None else fit_from_fs
    end = FIT_WINDOW[1] * longest if fit_to_fs is None else fit_to_fs
    inside = (msd.lag_fs >= start) & (msd.lag_fs <= end)
    if inside.sum() < 2:
        raise DataError(f"found {inside.sum()} lags between {start:g} and {end:g} fs, expected at least 2",
                        f"lags reach from {msd.lag_fs[0]:g} to {longest:g} fs")
    lags, weights = msd.lag_fs[inside], 1.0 / msd.lag_fs[inside]
    centered = lags - np.average(lags, weights=weights)
    fit = weights * centered / (weights * centered**2).sum()
    mean, stderr = block_mean(msd.blocks[:, :, inside] @ fit / (2.0 * dimensions) * A2_PER_FS_CM2_PER_S)
    return Diffusion(msd.names, mean, stderr, *_exponents(msd.blocks[:, :, inside], lags), msd.values[:, inside].max(axis=1),
                     start, end)


def _exponents(blocks: np.ndarray, lags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes of log MSD over log lag, (K, P), and standard errors, from lines through each block (B, P, L): all lags, and
    the shorter and the longer half of them (of their logarithms) where each has two."""
    logs, places = np.log(np.where(blocks > 0.0, blocks, np.nan)), np.log(lags)
    early = places < 0.5 * (places[0] + places[-1])
    parts = [np.ones_like(early), early, ~early]
    found = [block_mean(logs[:, :, part] @ (places[part] - places[part].mean()) / places[part].var() / part.sum())
             for part in (parts if 2 <= early.sum() <= len(lags) - 2 else parts[:1])]
    means, errors = zip(*found, strict=True)
    return np.array(means), np.array(errors)


def yeh_hummer_cm2_per_s(temperature_K: float, box_length_A: float, viscosity_mPa_s: float) -> float:
    """What is to be added to D of a cubic periodic box: ξ kT / (6π η L), ξ = 2.837297, η the shear viscosity, cm²/s.

    Yeh & Hummer, J. Phys. Chem. B 108, 15873 (2004), eq. 12. Boxes are too small for the flow around a moving particle.
    Raises DataError for a viscosity that is not positive.
    """
    if not 0.0 < viscosity_mPa_s < np.inf:
        raise DataError(f"found a viscosity of {viscosity_mPa_s:g} mPa·s, expected more than 0", "water at 298 K has 0.89")
    thermal = units._k * temperature_K
    return 1e4 * YEH_HUMMER_XI * thermal / (6.0 * np.pi * (1e-3 * viscosity_mPa_s) * (1e-10 * box_length_A))


class _Levels:
    """Displacements of one block: level k sees every 2ᵏ-th frame and knows lags up to 16 of those."""

    def __init__(self) -> None:
        self.num_frames = 0
        self._tails: list[np.ndarray] = []
        self._seen: list[int] = []
        self._sums: list[np.ndarray] = []

    def add(self, chunk: np.ndarray, level: int = 0) -> None:
        """Go on with frames (t, R, N, 3)."""
        if level == 0:
            self.num_frames += len(chunk)
        if not len(chunk):
            return
        if level == len(self._tails):
            self._tails.append(chunk[:0])
            self._seen.append(0)
            self._sums.append(np.zeros((LAGS_PER_LEVEL + 1, *chunk.shape[1:3])))
        tail, seen = self._tails[level], self._seen[level]
        frames = np.concatenate([tail, chunk])
        for lag in self._lags(level):
            later = frames[max(len(tail), lag):]
            moved = later - frames[len(frames) - lag - len(later):len(frames) - lag] if len(later) else later
            self._sums[level][lag] += np.einsum("trnc,trnc->rn", moved, moved)
        self._tails[level] = frames[-LAGS_PER_LEVEL:]
        self._seen[level] += len(chunk)
        if level + 1 < len(self._tails):
            self.add(chunk[seen % 2::2], level + 1)
        elif self._seen[level] > 1:  # the next level begins, with all frames so far
            self.add(frames[::2], level + 1)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Lags (L,), frames, up to half the block, and mean squared displacements (L, R, N), Å²."""
        found = [(lag << level, sums[lag] / (seen - lag)) for level, (sums, seen) in
                 enumerate(zip(self._sums, self._seen, strict=True)) for lag in self._lags(level)
                 if lag << level <= self.num_frames // 2]
        return np.array([lag for lag, _ in found]), np.array([values for _, values in found])

    @staticmethod
    def _lags(level: int) -> range:
        return range(1 if level == 0 else LAGS_PER_LEVEL // 2 + 1, LAGS_PER_LEVEL + 1)
