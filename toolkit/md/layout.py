"""What a trajectory file holds. T frames, R replicas, N atoms. Pages read trajectories, so this imports no torch."""

from __future__ import annotations

FORMAT = "toolkit-md-trajectory"
FORMAT_VERSION = 1

LAYOUT: dict[str, tuple[str, str, str]] = {
    "positions": ("f4", "TRN3", "Å, not wrapped"),
    "velocities": ("f4", "TRN3", "Å/fs"),
    "potential_energy": ("f8", "TR", "eV"),
    "kinetic_energy": ("f8", "TR", "eV"),
    "temperature": ("f8", "TR", "K"),
    "alive": ("?", "TR", "false once a replica is retired; its other entries are then NaN"),
    "time_fs": ("f8", "T", "fs"),
    "atomic_numbers": ("i8", "N", ""),
    "masses": ("f8", "N", "amu"),
    "break_step": ("i8", "R", "step at which a replica was retired, -1 while it lives"),
    "break_positions": ("f8", "RN3", "Å, the frame that broke"),
    "break_reason": ("S160", "R", "UTF-8"),
    "progress": ("i8", "2", "frames written, steps done"),
    "wall_s": ("f8", "1", "s, time spent in steps"),
}
"""Name -> dtype, shape, unit."""
FRAME_DATASETS = tuple(name for name, (_, shape, _) in LAYOUT.items() if shape.startswith("T"))


def one_line(error: Exception) -> str:
    """The message of an HDF5 error, which may hold a date with a line break."""
    return " ".join(str(error).split())
