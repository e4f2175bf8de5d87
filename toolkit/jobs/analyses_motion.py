"""Slow motion in a trajectory file as plain results: torsions with their free energies, and diffusion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.analysis.bond_graph import BondGraph, Torsions, neighboring_pairs, rotatable_torsions, torsion_of
from toolkit.analysis.diffusion import CAGE_A2, Diffusion, diffusion, mean_squared_displacement, yeh_hummer_cm2_per_s
from toolkit.analysis.internal_coordinates import AtomPaths, torsions_deg
from toolkit.analysis.torsions import torsion_maps, torsion_profiles
from toolkit.errors import DataError
from toolkit.jobs.analyses import first_bonds, thinned_series
from toolkit.jobs.frames import FrameReader, open_frames

MSD_BLOCKS = 10


def trajectory_torsions(path: str | Path, skip_ps: float = 0.0, stride: int = 1, bins: int = 72,
                        atoms: Sequence[int] | None = None, replica: int | None = None) -> dict[str, Any]:
    """Signed torsion angles about all rotatable bonds (or of four given atoms): distribution and free energy.

    Returns `angle_deg` (bin centres), `torsions` {name: {is_methyl, most_probable_deg, probability_per_deg, … _stderr,
    free_energy_eV, … _stderr}}, `maps` {"name | name": {probability_per_deg2, free_energy_eV}} of neighbouring torsions
    with `map_angle_deg`, a thinned `series` in degrees, and the `temperature_K` used (`FrameReader.temperature_K`).
    Raises DataError when the structure has no rotatable bond, and for a run at several temperatures.
    """
    with open_frames(path, skip_ps, stride, replica) as reader:
        reader.require_one_temperature()
        torsions = _torsions(first_bonds(reader), next(reader.chunks()), atoms)
        paths = torsions.paths
        temperature = reader.temperature_K
        profiles = torsion_profiles(_angles(reader, paths), temperature, bins)
        pairs = neighboring_pairs(torsions)
        maps = torsion_maps(_angles(reader, paths), pairs, temperature, bins // 2)
        series = thinned_series(reader, lambda frames: torsions_deg(paths.points(frames)))
    curves = {name: {"is_methyl": bool(torsions.is_methyl[k]),
                     "most_probable_deg": float(profiles.angle_deg[profiles.probability[k].argmax()]),
                     "probability_per_deg": profiles.probability[k].tolist(),
                     "probability_per_deg_stderr": profiles.probability_stderr[k].tolist(),
                     "free_energy_eV": profiles.free_energy_eV[k].tolist(),
                     "free_energy_eV_stderr": profiles.free_energy_stderr_eV[k].tolist()}
              for k, name in enumerate(torsions.names)}
    joint = {f"{torsions.names[k]} | {torsions.names[m]}": {
        "probability_per_deg2": found.probability.tolist(), "free_energy_eV": found.free_energy_eV.tolist()}
        for (k, m), found in zip(pairs, maps, strict=True)}
    return {"n_frames": profiles.num_frames, "temperature_K": temperature, "angle_deg": profiles.angle_deg.tolist(),
            "torsions": curves, "map_angle_deg": maps[0].angle_deg.tolist() if maps else [], "maps": joint,
            "series": series}


def trajectory_msd(path: str | Path, skip_ps: float = 0.0, stride: int = 1, fit_from_ps: float | None = None,
                   fit_to_ps: float | None = None, viscosity_mPa_s: float | None = None,
                   replica: int | None = None) -> dict[str, Any]:
    """Mean squared displacement, Å², and diffusion constants, cm²/s, of all atoms and of each element.

    The run is cut into at least 10 independent blocks (replicas, and parts of them when there are fewer); lags reach to
    half a block. The line is fitted from `fit_from_ps` to `fit_to_ps`, default a tenth to a half of the longest lag.
    In what is periodic, displacements are those about the centre of mass, which a Langevin bath pushes about; in a slab or a
    wire, those along its periodic directions.
    A constant is null where there is none: nothing is periodic, or the MSD does not grow as the lag (see `Diffusion`).
    viscosity_mPa_s : adds the finite-size correction of Yeh and Hummer for a cubic box
    Raises DataError when the run is too short, and for a run at several temperatures.
    """
    with open_frames(path, skip_ps, stride, replica) as reader:
        reader.require_one_temperature()
        trajectory = reader.trajectory
        blocks = reader.windows(parts=-(-MSD_BLOCKS // reader.num_replicas))
        dimensions = int(trajectory.pbc.sum())
        if dimensions:
            blocks = (_about_the_centre(block, trajectory.masses) for block in blocks)
        if dimensions in (1, 2):
            blocks = (_along(block, trajectory.cell[trajectory.pbc]) for block in blocks)
        msd = mean_squared_displacement(blocks, trajectory.atomic_numbers, reader.interval_fs)
        window = (None if ps is None else 1e3 * ps for ps in (fit_from_ps, fit_to_ps))
        found = diffusion(msd, *window, dimensions=dimensions or 3)
        correction, note = _finite_size(reader, viscosity_mPa_s)
    diffuses = found.diffusive & trajectory.pbc.any()
    curves = {name: {"diffusion_cm2_per_s": float(found.coefficient_cm2_per_s[k]) if diffuses[k] else None,
                     "diffusion_cm2_per_s_stderr": float(found.stderr_cm2_per_s[k]) if diffuses[k] else None,
                     "exponent": float(found.exponents[0, k]), "exponent_stderr": float(found.exponents_stderr[0, k]),
                     "values_A2": msd.values[k].tolist(), "stderr_A2": msd.stderr[k].tolist()}
              for k, name in enumerate(msd.names)}
    note += _no_line_note(found) if trajectory.pbc.any() else ""
    return {"n_blocks": len(msd.blocks), "lag_ps": (1e-3 * msd.lag_fs).tolist(),
            "fit_from_ps": 1e-3 * found.fit_from_fs, "fit_to_ps": 1e-3 * found.fit_to_fs,
            "finite_size_correction_cm2_per_s": correction, "finite_size_note": f"{note}{_bath_note(reader)}", "curves": curves}


def parse_atoms(text: str) -> tuple[int, ...]:
    """Four atom numbers from text such as "1,0,6,9". Raises DataError for anything else."""
    words = text.split(",")
    if len(words) != 4 or not all(word.strip().isdecimal() for word in words):
        raise DataError(f"found the atoms {text!r}, expected four numbers such as 1,0,6,9", "count atoms from 0")
    return tuple(int(word) for word in words)


def _torsions(graph: BondGraph, frames: np.ndarray, atoms: Sequence[int] | None) -> Torsions:
    if atoms is not None:
        paths = torsion_of(graph, tuple(atoms))
        return Torsions((graph.label(paths.atoms[0]),), paths, np.array([False]))
    found = rotatable_torsions(graph, frames)
    if not found.names:
        raise DataError("found no rotatable bond, expected a molecule with single bonds outside of rings",
                        "give the four atoms of a torsion")
    return found


def _angles(reader: FrameReader, paths: AtomPaths) -> Iterator[np.ndarray]:
    return (torsions_deg(paths.points(chunk)) for chunk in reader.chunks())


def _no_line_note(found: Diffusion) -> str:
    """Whose MSD is not that of diffusion, how it grows (in halves of the lags), and what to do."""
    reasons = [f"{name} as lag^{' … '.join(f'{power:.2f}' for power in found.exponents[-2:, k])} to {found.moved_A2[k]:.2g} Å²"
               for k, (name, fits) in enumerate(zip(found.names, found.diffusive, strict=True)) if not fits]
    if not reasons:
        return ""
    return (f"; no diffusion constant where the MSD does not grow as the lag, beyond {CAGE_A2:g} Å² ({', '.join(reasons)}): "
            "atoms of a solid stay, else run longer or fit later")


def _bath_note(reader: FrameReader) -> str:
    """What a Langevin bath does to diffusion, and that a molecule alone has none."""
    if not reader.trajectory.pbc.any():
        return "; nothing is periodic here: atoms that are bound to each other vibrate and turn, they do not diffuse"
    if reader.trajectory.ensemble != "langevin":
        return ""
    return "; the friction of the Langevin bath slows diffusion: take it from nve or csvr"


def _about_the_centre(block: Iterator[np.ndarray], masses: np.ndarray) -> Iterator[np.ndarray]:
    """Chunks of positions (t, R, N, 3), Å, without the motion of the centre of mass."""
    shares = masses / masses.sum()
    return (positions - np.einsum("a,tran->trn", shares, positions)[:, :, None] for positions in block)


def _along(block: Iterator[np.ndarray], vectors: np.ndarray) -> Iterator[np.ndarray]:
    """Chunks of positions (t, R, N, 3), Å, without what is not along the line or plane of cell vectors (d, 3)."""
    basis = np.linalg.qr(vectors.T)[0]
    return (positions @ basis @ basis.T for positions in block)


def _finite_size(reader: FrameReader, viscosity_mPa_s: float | None) -> tuple[float | None, str]:
    """The correction of Yeh and Hummer, where it can be computed, and a sentence about it."""
    trajectory = reader.trajectory
    metric = trajectory.cell @ trajectory.cell.T
    box_length = float(np.sqrt(metric[0, 0]))
    if not trajectory.pbc.all():
        directions = int(trajectory.pbc.sum())
        where = f"displacements along the {directions} periodic direction{'s' * (directions > 1)} only; " if directions else ""
        return None, f"{where}not periodic along all three: no finite-size correction"
    if trajectory.variable_cell:
        return None, "the box changes: displacements contain its breathing, take diffusion from constant volume"
    if not np.allclose(metric, metric[0, 0] * np.eye(3), rtol=1e-3, atol=1e-3 * metric[0, 0]):
        return None, "the box is not cubic: diffusion depends on its shape, compare boxes of several sizes"
    if viscosity_mPa_s is None:
        return None, ("diffusion in a periodic box is too slow by 2.837 kT / (6π η L) (Yeh & Hummer 2004): give the "
                      "viscosity η for the correction")
    correction = yeh_hummer_cm2_per_s(reader.temperature_K, box_length, viscosity_mPa_s)
    return correction, "add this to the diffusion constants (Yeh & Hummer 2004)"
