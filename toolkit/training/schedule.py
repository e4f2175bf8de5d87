"""Batch sizes, and learning rates: warm-up, then constant, cosine, or reduced on plateaus of the validation loss."""

from __future__ import annotations

import math

from toolkit.config import OptimizerConfig


STEPS_PER_EPOCH = 200
MAX_BATCH_SIZE = 64


def choose_batch_size(batch_size: int | str, num_frames: int) -> int:
    """The number of frames per step; "auto" makes about 200 steps an epoch of at most 64 frames, on every machine."""
    if batch_size == "auto":
        return min(max(num_frames // STEPS_PER_EPOCH, 1), MAX_BATCH_SIZE)
    return int(batch_size)


def learning_rate(config: OptimizerConfig, epoch: float, max_epochs: int, plateau_scale: float,
                  time_share: float = 0.0) -> float:
    """Learning rate at a (fractional) epoch. `plateau_scale` is the product of plateau reductions so far.

    time_share : the part of the time for the run that has passed; a cosine follows it where it is ahead of the epochs
    """
    if epoch < config.warmup_epochs:  # what the schedule says, for a time that may end before the warm-up does, less
        after = learning_rate(config, config.warmup_epochs, max_epochs, plateau_scale, time_share)
        return after * (epoch + 1e-3) / config.warmup_epochs
    floor = min(config.min_learning_rate, config.learning_rate)
    if config.schedule == "constant":
        return config.learning_rate
    if config.schedule == "plateau":
        return max(config.learning_rate * plateau_scale, floor)
    progress = max((epoch - config.warmup_epochs) / max(max_epochs - config.warmup_epochs, 1), time_share)
    return floor + 0.5 * (config.learning_rate - floor) * (1.0 + math.cos(math.pi * min(progress, 1.0)))
