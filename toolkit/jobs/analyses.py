"""Structure along a trajectory file, as plain results for the pages and the command line alike.

Distances, bonds and angles, size and deviation from a reference; spectra are in `analyses_spectra`, torsions and
diffusion in `analyses_motion`. All read the file piece by piece, and all replicas while they are alive, or one: `replica`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.analysis.bond_graph import BondGraph, find_bonds
from toolkit.analysis.internal_coordinates import angles_deg, bond_lengths
from toolkit.analysis.observables import ObservableStatistics, observable_statistics
from toolkit.analysis.rdf import radial_distribution
from toolkit.analysis.shape import kabsch_rmsd, radius_of_gyration
from toolkit.errors import DataError
from toolkit.jobs.frames import FrameReader, open_frames
from toolkit.jobs.sources import starting_structure

SERIES_FRAMES, SERIES_REPLICAS = 2000, 8
"""Time series are thinned to so many frames of the first replicas; averages use all frames."""


def trajectory_rdf(path: str | Path, r_max_A: float = 6.0, bin_width_A: float = 0.02, skip_ps: float = 0.0,
                   stride: int = 1, replica: int | None = None) -> dict[str, Any]:
    """Radial distribution (crystal, liquid), neighbours by distance (slab, wire) or distance distribution (molecule).

    Returns `r_A`, `pairs` {name: {values, stderr, coordination}}, `quantity` with its unit, `n_frames` and, per pair,
    the highest peak. Raises DataError when no frame is left after `skip_ps`.
    """
    with open_frames(path, skip_ps, stride, replica) as reader:
        trajectory = reader.trajectory
        cell = reader.cells() if trajectory.variable_cell else reader.cell
        rdf = radial_distribution(reader.chunks(), trajectory.atomic_numbers, cell, r_max_A, bin_width_A)
    curves = {}
    for row, name in enumerate(rdf.pairs):
        values = rdf.values[row]
        curves[name] = {"peak_A": float(rdf.r_A[values.argmax()]), "peak_value": float(values.max()),
                        "values": values.tolist(), "stderr": rdf.stderr[row].tolist(),
                        "coordination": rdf.coordination[row].tolist()}
    return {"quantity": rdf.quantity, "n_frames": rdf.num_frames, "r_A": rdf.r_A.tolist(), "pairs": curves}


def trajectory_bonds(path: str | Path, skip_ps: float = 0.0, stride: int = 1, replica: int | None = None) -> dict[str, Any]:
    """Mean, standard error, spread and range of all covalent bonds and angles of the first frame.

    Returns `n_frames`, `bonds_A` and `angles_deg`, each {name such as "C0-C1": {mean, stderr, std, minimum, maximum}}.
    Raises DataError for a run at several temperatures.
    """
    with open_frames(path, skip_ps, stride, replica) as reader:
        reader.require_one_temperature()
        graph = first_bonds(reader)
        bonds, angles = graph.bonds(), graph.angles()
        found = observable_statistics(np.hstack([bond_lengths(bonds.points(chunk)), angles_deg(angles.points(chunk))])
                                      for chunk in reader.chunks())
    names = [graph.label(atoms) for paths in (bonds, angles) for atoms in paths.atoms]
    rows = _rows(found)
    count = len(bonds.atoms)
    return {"n_frames": found.num_frames, "bonds_A": dict(zip(names[:count], rows[:count], strict=True)),
            "angles_deg": dict(zip(names[count:], rows[count:], strict=True))}


def trajectory_gyration(path: str | Path, skip_ps: float = 0.0, stride: int = 1, replica: int | None = None) -> dict[str, Any]:
    """Radius of gyration, mass-weighted, of all atoms: `radius_of_gyration_A` {mean, …}, `series` and `n_frames`."""
    with open_frames(path, skip_ps, stride, replica) as reader:
        masses = reader.trajectory.masses
        return _scalar("radius_of_gyration_A", reader, lambda frames: radius_of_gyration(frames, masses))


def trajectory_rmsd(path: str | Path, reference: str | None = None, skip_ps: float = 0.0, stride: int = 1,
                    heavy_only: bool = False, replica: int | None = None) -> dict[str, Any]:
    """Deviation from a reference after superposition (Kabsch): `rmsd_A` {mean, …}, `series` and `n_frames`.

    reference : the same atoms as a file, embedded:NAME …; default the first frame used
    heavy_only : leave hydrogen out
    Raises DataError when the reference has other atoms.
    """
    with open_frames(path, skip_ps, stride, replica) as reader:
        numbers = reader.trajectory.atomic_numbers
        target = next(reader.chunks())[0] if reference is None else _reference_positions(reference, numbers)
        chosen = np.flatnonzero(numbers > 1) if heavy_only else np.arange(len(numbers))
        return _scalar("rmsd_A", reader, lambda frames: kabsch_rmsd(frames[:, chosen], target[chosen]))


def first_bonds(reader: FrameReader) -> BondGraph:
    """The covalent bonds of the first frame. Raises DataError when some cross the boundary of a cell that changes."""
    graph = find_bonds(reader.trajectory.atomic_numbers, next(reader.chunks())[0], reader.cell)
    if reader.trajectory.variable_cell and graph.offsets.any():
        raise DataError("found bonds across the boundary of a cell that changes with time",
                        "start the run from whole molecules, or analyse a run at constant volume")
    return graph


def thinned_series(reader: FrameReader, compute: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    """`time_ps` and, for each of the first replicas, the values (t, …) computed from its frames (t, N, 3), in lists."""
    times, positions = reader.sample(SERIES_FRAMES, SERIES_REPLICAS)
    lives = np.isfinite(positions).all(axis=(2, 3)).sum(axis=0)
    values = [compute(positions[:frames, row]).tolist() for row, frames in enumerate(lives)]
    return {"time_ps": times.tolist(), "replicas": values}


def _scalar(name: str, reader: FrameReader, compute: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    found = observable_statistics(compute(chunk)[:, None] for chunk in reader.chunks())
    return {"n_frames": found.num_frames, name: _rows(found)[0], "series": thinned_series(reader, compute)}


def _rows(found: ObservableStatistics) -> list[dict[str, float]]:
    names = ("mean", "stderr", "std", "minimum", "maximum")
    return [{name: float(getattr(found, name)[k]) for name in names} for k in range(len(found.mean))]


def _reference_positions(source: str, atomic_numbers: np.ndarray) -> np.ndarray:
    atoms = starting_structure(source, 0)
    if not np.array_equal(atoms.numbers, atomic_numbers):
        raise DataError(f"{source} holds {atoms.get_chemical_formula()}, expected the atoms of the trajectory in its "
                        "order")
    return atoms.positions
