"""The distribution of angles between neighbours of one atom: 60° and 90° in close packing, 109.5° in diamond."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import vesin

from toolkit.analysis.streaming import BlockSums
from toolkit.errors import DataError


@dataclass(frozen=True)
class BondAngles:
    """Probability density of the angle j-i-k over all atoms i and pairs of their neighbours, 1/degree, B bins.

    angle_deg : (B,), bin centres;  density, stderr : (B,), from blocks of frames; the integral is 1. Points without
        order give ½ sin θ.
    mean_neighbors : neighbours within the cutoff
    """

    angle_deg: np.ndarray
    density: np.ndarray
    stderr: np.ndarray
    mean_neighbors: float


def bond_angles(frames: Iterable[tuple[np.ndarray, np.ndarray]], cutoff_A: float,
                bin_width_deg: float = 2.0) -> BondAngles:
    """Angles between neighbours closer than `cutoff_A`.

    frames : positions (N, 3), Å, and cell (3, 3), rows, Å, of each frame, periodic along all three
    Raises DataError when there are no frames, or no atom ever has two neighbours.
    """
    edges = np.linspace(0.0, 180.0, max(1, round(180.0 / bin_width_deg)) + 1)
    sums, neighbors = BlockSums(), []
    for positions, cell in frames:
        cosines, per_atom = _cosines(np.asarray(positions, np.float64), np.asarray(cell, np.float64), cutoff_A)
        sums.add(np.histogram(np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0))), edges)[0].astype(float), 1)
        neighbors.append(per_atom)
    total = sums.mean().sum() if neighbors else 0.0
    if not total:
        raise DataError(f"found no atom with two neighbours within {cutoff_A:g} Å", "choose a larger cutoff")
    scale = 1.0 / (total * np.diff(edges))
    return BondAngles(0.5 * (edges[1:] + edges[:-1]), sums.mean() * scale, sums.stderr() * scale,
                      float(np.mean(neighbors)))


def _cosines(positions: np.ndarray, cell: np.ndarray, cutoff_A: float) -> tuple[np.ndarray, float]:
    """Cosines of all angles, (A,), and the mean number of neighbours."""
    search = vesin.NeighborList(cutoff=cutoff_A, full_list=True)
    centers, vectors = search.compute(positions, cell, periodic=True, quantities="iD")
    order = np.argsort(centers, kind="stable")
    counts = np.bincount(centers, minlength=len(positions))
    slots = np.arange(len(centers)) - np.repeat(np.cumsum(counts) - counts, counts)
    unit = np.zeros((len(positions), max(int(counts.max(initial=0)), 1), 3))
    unit[centers[order], slots] = vectors[order] / np.linalg.norm(vectors[order], axis=1, keepdims=True)
    first, second = np.triu_indices(unit.shape[1], 1)
    cosines = (unit[:, first] * unit[:, second]).sum(axis=2)
    return cosines[second < counts[:, None]], float(counts.mean())
