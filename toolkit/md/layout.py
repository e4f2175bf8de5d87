"""What a trajectory file holds. T frames, R replicas, N atoms. Pages read trajectories, so this imports no torch."""

from __future__ import annotations

FORMAT = "toolkit-md-trajectory"
FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)

Layout = dict[str, tuple[str, str, str]]
"""Name -> dtype, shape, unit."""
_FIRST_LAYOUT: Layout = {
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
_BATHS: Layout = {"conserved_energy": ("f8", "TR", "eV, potential + kinetic + what the baths hold")}
_CELLS: Layout = {"cell": ("f8", "TR33", "Å, rows are lattice vectors"), "pressure": ("f8", "TR", "eV/Å³")}


def layout(ensemble: str, version: int = FORMAT_VERSION) -> Layout:
    """The datasets of a file. Version 1 knew no baths; only "npt" has a cell that changes."""
    datasets = _FIRST_LAYOUT if version == 1 else _FIRST_LAYOUT | _BATHS
    return datasets | _CELLS if ensemble == "npt" else datasets


def frame_bytes(datasets: Layout, num_replicas: int, num_atoms: int) -> int:
    """Size of one frame."""
    sizes = {"T": 1, "R": num_replicas, "N": num_atoms, "3": 3}
    total = 0
    for dtype, shape, _ in datasets.values():
        if shape[0] == "T":
            count = 1
            for letter in shape:
                count *= sizes[letter]
            total += count * (1 if dtype == "?" else int(dtype[-1]))
    return total
