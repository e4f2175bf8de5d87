"""Analyses of a trajectory file as plain results, for the pages and the command line alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.analysis.rdf import radial_distribution
from toolkit.errors import DataError
from toolkit.md.trajectory import Trajectory

CHUNK_FRAMES = 200


def trajectory_rdf(path: str | Path, r_max_A: float = 6.0, bin_width_A: float = 0.02, skip_ps: float = 0.0) -> dict[str, Any]:
    """Radial distribution (crystal, liquid) or distance distribution (molecule) of all replicas while they were alive.

    Returns `r_A`, `pairs` {name: {values, stderr, coordination}}, `quantity` with its unit, `n_frames` and, per pair,
    the highest peak. Raises DataError when no frame is left after `skip_ps`.
    """
    with Trajectory(path) as trajectory:
        frames_per_ps = 1e3 / (trajectory.timestep_fs * trajectory.save_interval_steps)
        skip = round(skip_ps * frames_per_ps)
        periodic = bool(trajectory.pbc.all())
        chunks = (chunk for replica in range(trajectory.num_replicas)
                  for chunk in trajectory.chunks("positions", CHUNK_FRAMES, replica, skip))
        if skip >= trajectory.num_frames:
            raise DataError(f"{path} has {trajectory.num_frames / frames_per_ps:.3g} ps, found --skip-ps {skip_ps}",
                            "skip less or run longer")
        rdf = radial_distribution(chunks, trajectory.atomic_numbers, trajectory.cell if periodic else None, r_max_A,
                                  bin_width_A)
    curves = {}
    for row, name in enumerate(rdf.pairs):
        values = rdf.values[row]
        curves[name] = {"peak_A": float(rdf.r_A[values.argmax()]), "peak_value": float(values.max()),
                        "values": values.tolist(), "stderr": rdf.stderr[row].tolist(),
                        "coordination": rdf.coordination[row].tolist()}
    return {"quantity": "g(r)" if rdf.periodic else "probability density, 1/Å", "n_frames": rdf.num_frames,
            "r_A": rdf.r_A.tolist(), "pairs": curves}
