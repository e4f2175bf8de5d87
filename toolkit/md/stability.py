"""How many replicas are still whole after a time, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.analysis.proportions import wilson_interval
from toolkit.md.trajectory import Trajectory


@dataclass(frozen=True)
class StableFraction:
    """Fraction of replicas not yet retired at each time, with a confidence interval.

    times_fs, fraction, low, high : (T,)
    """

    times_fs: np.ndarray
    fraction: np.ndarray
    low: np.ndarray
    high: np.ndarray


def stable_fraction(trajectory: Trajectory, times_fs: np.ndarray | None = None) -> StableFraction:
    """The fraction s(t) of R replicas that lived longer than t, with Wilson's 95 % interval.

    All replicas are watched equally long, so each time is one binomial trial of R (`wilson_interval`); replicas
    must be independent, which different seeds of noise and velocities make them.
    times_fs : (T,); by default the start, the time of every break, and the end
    """
    breaks = np.sort([broken.time_fs for broken in trajectory.breaks])
    if times_fs is None:
        end = trajectory.steps_done * trajectory.timestep_fs
        times_fs = np.unique(np.concatenate([[0.0], breaks, [end]]))
    num_replicas = trajectory.num_replicas
    whole = num_replicas - np.searchsorted(breaks, times_fs, side="right")
    low, high = zip(*(wilson_interval(int(k), num_replicas) for k in whole), strict=True)
    return StableFraction(np.asarray(times_fs, dtype=np.float64), whole / num_replicas,
                          np.asarray(low), np.asarray(high))
