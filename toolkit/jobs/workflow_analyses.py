"""What a workflow finds in its trajectories: structure of melt and glass, the volume on the way between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.analysis.bond_angles import bond_angles
from toolkit.analysis.coordination import coordination_numbers
from toolkit.analysis.glass_transition import glass_transition
from toolkit.analysis.rdf import RadialDistribution, radial_distribution
from toolkit.analysis.voronoi import voronoi_statistics
from toolkit.errors import DataError
from toolkit.jobs.frames import FrameReader, open_frames
from toolkit.md.summary import EQUILIBRATION_FRACTION
from toolkit.md.trajectory import Trajectory

VORONOI_FRAMES = 20
COMMON_CELLS = 8
CURVE_POINTS = 60
"""Points of V(T) that a run is averaged to."""


def structure(path: Path, r_max_A: float) -> dict[str, Any]:
    """g(r), coordination, bond angles and Voronoi statistics of a run at one temperature, without its first fifth."""
    with Trajectory(path) as trajectory:
        skip_ps = EQUILIBRATION_FRACTION * trajectory.times_fs[-1] * 1e-3
    with open_frames(path, skip_ps) as reader:
        trajectory = reader.trajectory
        rdf = radial_distribution(reader.chunks(), trajectory.atomic_numbers, reader.cells(), r_max_A, 0.05)
        symbols, counts = np.unique(trajectory.to_atoms(0).get_chemical_symbols(), return_counts=True)
        fractions = dict(zip(symbols.tolist(), (counts / counts.sum()).tolist(), strict=True))
        shell = coordination_numbers(rdf, fractions)
        angles = bond_angles(_frames(reader), shell.shell_A)
        few = max(1, reader.num_frames // VORONOI_FRAMES)
        cells = voronoi_statistics(frame for number, frame in enumerate(_frames(reader)) if number % few == 0)
    return {"n_frames": rdf.num_frames, "rdf": _curves(rdf), "coordination": asdict(shell),
            "bond_angles": {name: getattr(angles, name).tolist() for name in ("angle_deg", "density", "stderr")},
            "voronoi": {**asdict(cells), "indices": {" ".join(map(str, index)): share for index, share
                                                     in list(cells.indices.items())[:COMMON_CELLS]}}}


def volume_curve(path: Path) -> dict[str, list[float]]:
    """Time, ps, temperature, K, volume and potential energy per atom, Å³ and eV, as means over equal stretches."""
    with Trajectory(path) as trajectory:
        alive = trajectory.alive[:, 0]
        columns = {"time_ps": trajectory.times_fs * 1e-3, "temperature_K": trajectory.temperature_K[:, 0],
                   "volume_A3_per_atom": np.abs(np.linalg.det(trajectory.cells()[:, 0])) / trajectory.num_atoms,
                   "potential_energy_eV_per_atom": trajectory.potential_energy_eV[:, 0] / trajectory.num_atoms}
    pieces = np.array_split(np.flatnonzero(alive), min(CURVE_POINTS, int(alive.sum())))
    return {name: [float(values[piece].mean()) for piece in pieces] for name, values in columns.items()}


def transition(curve: dict[str, list[float]]) -> dict[str, Any]:
    """T_g of the curve of a quench with its error bar, or a note why there is none."""
    try:
        found = glass_transition(np.array(curve["temperature_K"]), np.array(curve["volume_A3_per_atom"]))
    except DataError as error:
        return {"note": str(error)}
    return {**asdict(found), "fitted_A3_per_atom": found.at(np.array(curve["temperature_K"])).tolist()}


def _frames(reader: FrameReader) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for positions, cells in zip(reader.chunks(), reader.cells(), strict=True):
        yield from zip(positions, cells, strict=True)


def _curves(rdf: RadialDistribution) -> dict[str, Any]:
    return {"r_A": rdf.r_A.tolist(),
            "pairs": {name: {"values": rdf.values[row].tolist(), "stderr": rdf.stderr[row].tolist()}
                      for row, name in enumerate(rdf.pairs)}}
