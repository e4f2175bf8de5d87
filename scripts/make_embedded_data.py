"""Make the embedded data sets: GFN2-xTB Langevin trajectories of aspirin and ethanol at 500 K.

    python scripts/make_embedded_data.py aspirin                 # 16 minutes on one core
    python scripts/make_embedded_data.py ethanol --check 5       # recompute 5 stored frames and compare

Run from the repository with the package and `tblite` 0.8.0 installed (`pip install -e .[data]`).

Level of theory: GFN2-xTB (Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652, 2019). Sampling: BAOAB Langevin
(Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34), seeded. Stored positions lie on a grid of 2⁻¹⁶ Å and are
rounded *before* energy and forces are computed, each from a fresh self-consistent start, so that every stored frame can
be recomputed by itself. The trajectory is chaotic: the same machine and libraries give the same file, another machine
gives other frames of the same ensemble.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from itertools import combinations
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.data import covalent_radii
from scipy.optimize import minimize
from tblite.interface import Calculator, Result

from toolkit.units import AMU_A2_PER_FS2_EV, BOHR_A, HARTREE_EV, KB_EV_PER_K

FOLDER = Path(__file__).resolve().parents[1] / "toolkit" / "data" / "embedded"
POSITION_GRID_A = 2.0**-16
FORCE_GRID_EV_PER_A = 2.0**-18
SCF_ACCURACY = 0.01  # of stored frames, relative to tblite's default

ASPIRIN_SKETCH = """
C  1.39  0.00  0.00
C  0.70  1.20  0.00
C -0.69  1.20  0.00
C -1.39  0.00  0.00
C -0.70 -1.20  0.00
C  0.70 -1.20  0.00
C  2.88  0.00  0.00
C  1.70  2.95  1.21
C  2.45  4.25  1.29
O  3.48  1.05  0.00
O  3.55 -1.16  0.00
O  1.40  2.42  0.00
O  1.38  2.38  2.22
H  4.52 -1.06  0.00
H  1.74  5.08  1.31
H  3.06  4.27  2.20
H  3.10  4.35  0.42
H -1.23  2.14  0.00
H -2.47  0.00  0.00
H -1.24 -2.14  0.00
H  1.24 -2.14  0.00
"""
"""Acetylsalicylic acid drawn by hand (regular hexagon, textbook bond lengths), Å; relaxed before use."""


@dataclass(frozen=True)
class Sampling:
    """Settings of one trajectory."""

    seed: int
    num_frames: int = 1200
    temperature_K: float = 500.0
    timestep_fs: float = 1.0
    friction_per_fs: float = 0.02
    interval_fs: float = 100.0
    equilibration_fs: float = 2000.0


SAMPLING = {"aspirin": Sampling(seed=20261), "ethanol": Sampling(seed=20262)}
BOND_COUNTS = {"aspirin": {"CC": 8, "CO": 5, "CH": 7, "HO": 1}, "ethanol": {"CC": 1, "CO": 1, "CH": 5, "HO": 1}}


class XTB:
    """GFN2-xTB energy (eV), forces (eV/Å) and dipole (e·Å) of one molecule."""

    def __init__(self, numbers: np.ndarray, positions: np.ndarray, accuracy: float = 1.0) -> None:
        self._calculator = Calculator("GFN2-xTB", numbers, positions / BOHR_A)
        self._calculator.set("verbosity", 0)
        self._calculator.set("accuracy", accuracy)
        self._previous: Result | None = None

    def __call__(self, positions: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Evaluate at positions (N, 3), Å, starting from the previous charges."""
        self._calculator.update(positions=positions / BOHR_A)
        result = self._previous = self._calculator.singlepoint(self._previous)
        forces = -result.get("gradient") * (HARTREE_EV / BOHR_A)
        return float(result.get("energy")) * HARTREE_EV, forces, result.get("dipole") * BOHR_A


def starting_geometry(name: str) -> Atoms:
    """The molecule relaxed with GFN2-xTB; raises RuntimeError unless its bonds are those of its formula."""
    if name == "ethanol":
        atoms = molecule("CH3CH2OH")
    else:
        rows = [line.split() for line in ASPIRIN_SKETCH.split("\n") if line]
        atoms = Atoms([row[0] for row in rows], positions=[[float(x) for x in row[1:]] for row in rows])
    xtb = XTB(atoms.numbers, atoms.positions)

    def energy_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        energy, forces, _ = xtb(x.reshape(-1, 3))
        return energy, -forces.ravel()

    relaxed = minimize(energy_and_gradient, atoms.positions.ravel(), jac=True, method="L-BFGS-B",
                       options={"gtol": 1e-3})
    atoms.positions = relaxed.x.reshape(-1, 3)
    counts: dict[str, int] = {}
    for i, j in bonds(atoms.numbers, atoms.positions):
        pair = "".join(sorted(atoms.symbols[[i, j]]))
        counts[pair] = counts.get(pair, 0) + 1
    if counts != BOND_COUNTS[name]:
        raise RuntimeError(f"{name} relaxed to bonds {counts}, expected {BOND_COUNTS[name]}")
    return atoms


def bonds(numbers: np.ndarray, positions: np.ndarray) -> frozenset[tuple[int, int]]:
    """Pairs closer than 1.3 times the sum of their covalent radii."""
    radii = covalent_radii[numbers]
    return frozenset((i, j) for i, j in combinations(range(len(numbers)), 2)
                     if np.linalg.norm(positions[i] - positions[j]) < 1.3 * (radii[i] + radii[j]))


def sample(atoms: Atoms, sampling: Sampling) -> np.ndarray:
    """Positions (T, N, 3), Å, on the grid and centred, one every `interval_fs` of a BAOAB trajectory."""
    rng = np.random.default_rng(sampling.seed)
    xtb = XTB(atoms.numbers, atoms.positions)
    masses = atoms.get_masses()[:, None] * AMU_A2_PER_FS2_EV
    thermal_speed = np.sqrt(KB_EV_PER_K * sampling.temperature_K / masses)
    decay = math.exp(-sampling.friction_per_fs * sampling.timestep_fs)
    noise = math.sqrt(1.0 - decay**2) * thermal_speed
    dt = sampling.timestep_fs
    stride = round(sampling.interval_fs / dt)
    skipped = round(sampling.equilibration_fs / dt)

    positions = atoms.positions.copy()
    velocities = thermal_speed * rng.standard_normal(positions.shape)
    forces = xtb(positions)[1]
    saved, started = [], time.perf_counter()
    for step in range(1, skipped + stride * sampling.num_frames + 1):
        velocities += 0.5 * dt * forces / masses                                        # B
        positions += 0.5 * dt * velocities                                              # A
        velocities = decay * velocities + noise * rng.standard_normal(positions.shape)  # O
        positions += 0.5 * dt * velocities                                              # A
        forces = xtb(positions)[1]
        velocities += 0.5 * dt * forces / masses                                        # B
        if step > skipped and (step - skipped) % stride == 0:
            centred = positions - np.average(positions, axis=0, weights=atoms.get_masses())
            saved.append(np.round(centred / POSITION_GRID_A) * POSITION_GRID_A)
            if len(saved) % 50 == 0:
                print(f"{len(saved)} frames, {1e3 * (time.perf_counter() - started) / step:.2f} ms/step", flush=True)
    return np.array(saved)


def label(numbers: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies (T,) eV, forces (T, N, 3) eV/Å on their grid and dipoles (T, 3) e·Å of positions (T, N, 3), Å."""
    labels = [XTB(numbers, frame, SCF_ACCURACY)(frame) for frame in positions]
    energies, forces, dipoles = (np.array(values) for values in zip(*labels, strict=True))
    return energies, np.round(forces / FORCE_GRID_EV_PER_A) * FORCE_GRID_EV_PER_A, dipoles


def metadata(name: str, sampling: Sampling, energies: np.ndarray) -> dict[str, object]:
    """What the file says about itself."""
    fluctuation = energies - energies.mean()
    autocorrelation = float(np.mean(fluctuation[1:] * fluctuation[:-1]) / energies.var())
    return {
        "name": name, "method": "GFN2-xTB", "charge": 0, "ensemble": "Langevin (BAOAB), one trajectory in time order",
        "temperature_K": sampling.temperature_K, "timestep_fs": sampling.timestep_fs,
        "friction_per_fs": sampling.friction_per_fs, "interval_fs": sampling.interval_fs,
        "equilibration_fs": sampling.equilibration_fs, "seed": sampling.seed,
        "energy_autocorrelation_next_frame": round(autocorrelation, 3),
        "energy_unit": "eV", "length_unit": "Å", "dipole_unit": "e Å", "scf_accuracy": SCF_ACCURACY,
        "tblite": version("tblite"), "made_by": "scripts/make_embedded_data.py", "licence": "CC0-1.0",
    }


def make(name: str, path: Path) -> None:
    """Sample, label and write one data set; raises RuntimeError when the molecule reacts on the way."""
    atoms, sampling = starting_geometry(name), SAMPLING[name]
    intact = bonds(atoms.numbers, atoms.positions)
    positions = sample(atoms, sampling)
    broken = [t for t, frame in enumerate(positions) if bonds(atoms.numbers, frame) != intact]
    if broken:
        raise RuntimeError(f"{name}: bonds changed in frames {broken[:10]}")
    energies, forces, dipoles = label(atoms.numbers, positions)
    about = metadata(name, sampling, energies)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path, atomic_numbers=atoms.numbers.astype(np.uint8), positions=positions.astype(np.float32), energies=energies,
        forces=forces.astype(np.float32), dipoles=dipoles.astype(np.float32), metadata=np.array(json.dumps(about)))
    print(f"{path}: {path.stat().st_size / 1024:.0f} kB, {about}")


def check(path: Path, num_frames: int) -> bool:
    """Recompute some stored frames, spread over the file; True when energies and forces agree to 0.1 meV (/Å)."""
    with np.load(path, allow_pickle=False) as stored:
        chosen = np.linspace(0, len(stored["energies"]) - 1, num_frames).round().astype(int)
        positions = stored["positions"][chosen].astype(np.float64)
        energies, forces, dipoles = label(stored["atomic_numbers"].astype(int), positions)
        errors = {"energy_eV": np.abs(energies - stored["energies"][chosen]).max(),
                  "forces_eV_per_A": np.abs(forces - stored["forces"][chosen]).max(),
                  "dipole_e_A": np.abs(dipoles - stored["dipoles"][chosen]).max()}
    print(f"{path.name}: frames {chosen.tolist()}, largest differences {errors}")
    return all(error < 1e-4 for error in errors.values())


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(SAMPLING))
    parser.add_argument("--output", type=Path, help="default: toolkit/data/embedded/NAME.npz")
    parser.add_argument("--check", type=int, metavar="N", help="recompute N stored frames instead of making the file")
    arguments = parser.parse_args()
    path = arguments.output or FOLDER / f"{arguments.name}.npz"
    if arguments.check:
        return 0 if check(path, arguments.check) else 1
    make(arguments.name, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
