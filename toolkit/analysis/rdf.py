"""How far atoms are from each other: the radial distribution function of a crystal or liquid, the neighbours at each
distance in a slab or wire, the distance distribution of a molecule, total and for each pair of elements, with error
bars from blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement, repeat

import numpy as np
import vesin
from ase.data import chemical_symbols
from ase.geometry import complete_cell
from scipy.spatial import cKDTree

from toolkit.analysis.blocks import block_mean
from toolkit.analysis.streaming import BlockSums, Frames, as_chunks
from toolkit.errors import DataError

ALL_PAIRS_ATOMS = 64
"""Molecules up to this size: all distances at once are faster than a search."""
G_OF_R, NEIGHBOURS, DENSITY = "g(r)", "neighbours per atom, 1/Å", "probability density, 1/Å"
MIN_VOLUME_A3 = 1e-6
MAX_GRID_CELLS = 9e4
"""vesin 0.6 divides by zero on flat or long boxes with more than 1e5 cells in its grid."""


@dataclass(frozen=True)
class RadialDistribution:
    """Curves for P pairs of elements ("total" first) on B bins.

    r_A : (B,), bin centres, Å;  pairs : "total", "C-C", "C-H", …
    values : (P, B)
    stderr : (P, B), from blocks of frames; NaN when there is one block
    coordination : (P, B), mean number of second-element atoms around a first-element atom up to the bin's outer edge
    quantity : what the values are. Crystals, liquids: "g(r)", 1 for an ideal gas. Slabs, wires, which have no density:
        "neighbours per atom, 1/Å", of the second element around an atom of the first, the derivative of `coordination`.
        Molecules: "probability density, 1/Å", of the distance, whose integral over all r is 1
    """

    r_A: np.ndarray
    pairs: tuple[str, ...]
    values: np.ndarray
    stderr: np.ndarray
    coordination: np.ndarray
    quantity: str
    num_frames: int

    @property
    def periodic(self) -> bool:
        """True when images were counted, along one to three vectors."""
        return self.quantity != DENSITY

    def of(self, pair: str) -> np.ndarray:
        """The curve (B,) of a pair such as "C-H", in either order. Raises DataError when there is none."""
        for name in (pair, "-".join(reversed(pair.split("-")))):
            if name in self.pairs:
                return self.values[self.pairs.index(name)]
        raise DataError(f"found no pair {pair!r}, expected one of {list(self.pairs)}")


def radial_distribution(frames: Frames, atomic_numbers: np.ndarray, cell: Frames | None, r_max: float,
                        bin_width: float = 0.02) -> RadialDistribution:
    """Distribution of interatomic distances up to r_max (Å).

    g_ab(r) = V ⟨pairs (a, b) in the shell⟩ / (N_a N_b · 4π/3 (r₊³ − r₋³)), every atom a with every b but itself and
    with all periodic images, so r_max may exceed half the cell. (An ideal gas of N atoms gives 1 − 1/N for a = b.)
    What slabs, wires and molecules have instead: `RadialDistribution.quantity`.

    frames : (T, N, 3), Å, or chunks (t, N, 3) of it one after another, of which only one is in memory at a time;
        error bars are from 10 to 20 blocks of them
    atomic_numbers : (N,);  cell : (3, 3) rows, Å, zeros for the open directions of slabs and wires, or None for a
        molecule; for a box that changes (T, 3, 3), or chunks like those of the frames (V above is then its mean)
    Raises DataError for frames that are not finite or of another shape, and for a cell without volume.
    """
    counter = _PairCounter(np.asarray(atomic_numbers), r_max, bin_width, periodic=cell is not None)
    boxes = repeat(cell) if cell is None or np.ndim(cell) == 2 else as_chunks(cell)
    sums = BlockSums()
    for chunk, box in zip(as_chunks(frames), boxes, strict=False):
        counts = counter.count(chunk, box)
        if len(chunk):
            sums.add(counts, len(chunk))
    if sums.count == 0:
        raise DataError("found no frames, expected at least one")
    if len(atomic_numbers) < 2 and cell is None:
        raise DataError("found a single atom, expected at least two to have a distance")
    return counter.curves(sums.mean(), sums.blocks(), sums.count)


class _PairCounter:
    """Histograms of ordered pairs (a, b): row a·n + b for n elements."""

    def __init__(self, atomic_numbers: np.ndarray, r_max: float, bin_width: float, *, periodic: bool) -> None:
        if not 0.0 < bin_width <= r_max < np.inf:
            raise DataError(f"found bin_width {bin_width} and r_max {r_max}, expected 0 < bin_width ≤ r_max")
        self._periodic, self._open = periodic, False
        self._volume = 0.0
        self._edges = np.arange(round(r_max / bin_width) + 1) * bin_width
        elements, self._kinds, self._numbers = np.unique(atomic_numbers, return_inverse=True, return_counts=True)
        self._symbols = [chemical_symbols[z] for z in elements]
        self._search = vesin.NeighborList(cutoff=float(self._edges[-1]), full_list=True, n_threads=1)

    def _check_box(self, box: np.ndarray) -> None:
        if not abs(np.linalg.det(box)) > MIN_VOLUME_A3:
            raise DataError("found a cell without volume: g(r) needs a density, so a cell periodic along three vectors",
                            "give cell=None for molecules, and zeros for the open directions of slabs and wires")
        heights = 1.0 / np.linalg.norm(np.linalg.inv(box), axis=0)
        if np.prod(np.maximum(heights / self._edges[-1], 1.0)) > MAX_GRID_CELLS:
            raise DataError(f"found a cell of {' × '.join(f'{h:.3g}' for h in heights)} Å, too large for r_max "
                            f"{self._edges[-1]:g} Å", "raise r_max, or analyse a molecule with cell=None")

    def count(self, chunk: np.ndarray, cell: np.ndarray | None) -> np.ndarray:
        """Ordered pairs summed over the frames (t, N, 3), (n², B). cell : (3, 3), or (t, 3, 3) one for each frame."""
        chunk = np.asarray(chunk)
        if chunk.ndim != 3 or chunk.shape[1:] != (len(self._kinds), 3) or not np.isfinite(chunk).all():
            raise DataError(f"found frames of shape {chunk.shape}, expected (T, {len(self._kinds)}, 3), all finite",
                            "leave out the frames of retired replicas")
        n, bins = len(self._symbols), len(self._edges) - 1
        histogram = np.zeros(n * n * bins, dtype=np.int64)
        for i, j, distances in self._distances(chunk, cell):
            columns = np.minimum((distances * (bins / self._edges[-1])).astype(np.int64), bins - 1)
            histogram += np.bincount((self._kinds[i] * n + self._kinds[j]) * bins + columns, minlength=len(histogram))
        histogram = histogram.reshape(n, n, bins)
        if not self._periodic:
            histogram = histogram + histogram.transpose(1, 0, 2)
        return histogram.reshape(n * n, bins)

    def _distances(self, chunk: np.ndarray,
                   cell: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Pairs (i, j) within the last edge, and their distances, Å: a frame or many at a time.

        Each pair in both directions in crystals, once in molecules.
        """
        if cell is not None:
            for positions, box in zip(chunk.astype(np.float64), self._boxes(cell, chunk), strict=True):
                yield self._search.compute(points=positions, box=box, periodic=True, quantities="ijd")
        elif len(self._kinds) <= ALL_PAIRS_ATOMS:
            i, j = np.triu_indices(len(self._kinds), 1)
            distances = np.linalg.norm(chunk[:, j].astype(np.float64) - chunk[:, i], axis=2)
            frame, pair = np.nonzero(distances < self._edges[-1])
            yield i[pair], j[pair], distances[frame, pair]
        else:
            for positions in chunk.astype(np.float64):
                i, j = cKDTree(positions).query_pairs(self._edges[-1], output_type="ndarray").T
                yield i, j, np.linalg.norm(positions[j] - positions[i], axis=1)

    def _boxes(self, cell: np.ndarray, chunk: np.ndarray) -> np.ndarray:
        """A box for each frame, (t, 3, 3), periodic along all vectors, of which the volume is kept."""
        boxes = np.ascontiguousarray(np.broadcast_to(np.asarray(cell, dtype=np.float64), (len(chunk), 3, 3)))
        if boxes.any() and not boxes.any(axis=2).all():
            self._open = True
            boxes = np.stack([_closed(*pair, self._edges[-1]) for pair in zip(boxes, chunk, strict=True)])
        for box in boxes if self._open or np.ndim(cell) == 3 else boxes[:1]:
            self._check_box(box)
        self._volume += np.abs(np.linalg.det(boxes)).sum()
        return boxes

    def curves(self, mean: np.ndarray, blocks: np.ndarray, num_frames: int) -> RadialDistribution:
        """From ordered pairs per frame, on average (n², B) and by block (blocks, n², B), to the normalised curves."""
        rows = self._pair_rows()
        select = np.stack([row for _, row, _, _ in rows])  # (P, n²)
        centers = np.asarray([number for _, _, number, _ in rows])
        possible = np.asarray([number for _, _, _, number in rows])
        if not self._periodic:
            quantity, scale = DENSITY, 1.0 / (possible[:, None] * np.diff(self._edges))
        elif self._open:
            quantity, scale = NEIGHBOURS, 1.0 / (centers[:, None] * np.diff(self._edges))
        else:
            shells = 4.0 / 3.0 * np.pi * np.diff(self._edges**3)
            quantity, scale = G_OF_R, self._volume / num_frames / (possible[:, None] * shells)
        _, stderr = block_mean(select @ blocks * scale)
        return RadialDistribution(
            r_A=0.5 * (self._edges[1:] + self._edges[:-1]), pairs=tuple(name for name, *_ in rows),
            values=select @ mean * scale, stderr=stderr,
            coordination=np.cumsum(select @ mean, axis=1) / centers[:, None], quantity=quantity, num_frames=num_frames)

    def _pair_rows(self) -> list[tuple[str, np.ndarray, int, int]]:
        """For each curve: its name, which histogram rows it adds up, number of centres, number of possible pairs."""
        n, total = len(self._symbols), int(self._numbers.sum())
        not_itself = 0 if self._periodic else 1  # a crystal's atom does meet its own images
        rows = [("total", np.ones(n * n), total, total * (total - not_itself))]
        for a, b in combinations_with_replacement(range(n), 2):
            first, second = int(self._numbers[a]), int(self._numbers[b])
            possible = first * (second - (not_itself if a == b else 0))
            rows.append((f"{self._symbols[a]}-{self._symbols[b]}", np.eye(1, n * n, a * n + b)[0], first, possible))
        return [row for row in rows if row[3] > 0]


def _closed(cell: np.ndarray, positions: np.ndarray, r_max: float) -> np.ndarray:
    """The cell (3, 3), its zero rows replaced by normals so long that images along them lie beyond r_max, Å."""
    box = complete_cell(cell)
    extent = np.ptp(positions @ np.linalg.inv(box), axis=0)
    return box * np.where(cell.any(axis=1), 1.0, extent + 1.01 * r_max)[:, None]
