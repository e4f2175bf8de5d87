"""What of a state is kept in a frame of the trajectory."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from toolkit.md.layout import Layout
from toolkit.md.state import MDState


def observe(state: MDState, datasets: Layout) -> dict[str, Tensor]:
    """The frame's tensors by the names of the file's datasets, each with R rows; those of the device, unread.

    datasets : of the trajectory, `layout.layout`
    """
    frame = {"positions": state.positions.float(), "velocities": state.velocities.float(),
             "potential_energy": state.potential_energies, "kinetic_energy": state.kinetic_energies}
    if "conserved_energy" in datasets:
        frame["conserved_energy"] = state.conserved_energies
    if "cell" in datasets:
        frame |= {"cell": state.cell, "pressure": state.pressures}
    return frame


def to_numpy(frame: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """The same arrays on the host."""
    return {name: values.cpu().numpy() for name, values in frame.items()}


class FrameBuffer:
    """Frames kept on the device until somebody reads them all at once. capacity : how many"""

    def __init__(self, state: MDState, datasets: Layout, capacity: int) -> None:
        self._datasets = datasets
        self._frames = {name: values.new_zeros((capacity, *values.shape))
                        for name, values in observe(state, datasets).items()}
        self._used = 0

    def add(self, state: MDState) -> None:
        """Keep a frame, without waiting for the device."""
        for name, values in observe(state, self._datasets).items():
            self._frames[name][self._used].copy_(values)
        self._used += 1

    def take(self) -> dict[str, np.ndarray]:
        """All frames (T, R, …) by name, oldest first; the buffer is empty afterwards."""
        taken = {name: values[:self._used].cpu().numpy().copy() for name, values in self._frames.items()}
        self._used = 0
        return taken

    def clear(self) -> None:
        """Forget the frames."""
        self._used = 0
