"""What inner steps cost and keep: speed of Langevin dynamics, and the energy of a simulation without a bath.

OMP_NUM_THREADS=1 python benchmarks/inner_steps.py ethanol ethanol_s embedded:ethanol
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import toolkit
from toolkit.md.summary import summarize

PLANS = ((1.0, 1), (2.0, 2), (3.0, 3), (4.0, 4), (5.0, 5), (6.0, 6), (8.0, 8))
"""Time steps, fs, and how many inner steps each has."""
TURNS, STEPS, REPLICAS, NVE_FS = 3, 12, 64, 4000.0


def speeds(pot: toolkit.Potential, inner: toolkit.Potential, atoms: object) -> dict[tuple[float, int], float]:
    """Simulated fs of all replicas in a second of processor time, median of several turns of all plans."""
    found: dict[tuple[float, int], list[float]] = {plan: [] for plan in PLANS}
    for turn in range(TURNS + 1):
        for h, n in PLANS:
            config = toolkit.MDConfig(timestep_fs=h, inner_steps=n, steps=STEPS, save_every=STEPS, replicas=REPLICAS)
            begin = time.process_time()
            toolkit.simulate(pot, atoms, config, inner=inner if n > 1 else None)
            if turn:  # the first compiles
                found[h, n].append(REPLICAS * STEPS * h / (time.process_time() - begin))
    return {plan: float(np.median(values)) for plan, values in found.items()}


def conserved(pot: toolkit.Potential, inner: toolkit.Potential, atoms: object, h: float, n: int) -> str:
    """Spread and drift of the total energy at 300 K."""
    config = toolkit.MDConfig(ensemble="nve", temperature_K=300.0, timestep_fs=h, inner_steps=n, save_every=1, replicas=2,
                              steps=round(NVE_FS / h), seed=1, rescale_initial_temperature=True)
    run = toolkit.simulate(pot, atoms, config, inner=inner if n > 1 else None)
    spread = 1e3 * run.conserved_energy_eV.std(axis=0).mean() / len(run.atomic_numbers)
    found = summarize(run)
    name = "energy_drift_meV_per_atom_per_ps"
    return f"{spread:.2f} meV/atom, drift {found[name]:+.3f} ± {found[f'{name}_stderr']:.3f} meV/atom/ps"


def main() -> None:
    """Print a line for each plan as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "inner", "structure"):
        parser.add_argument(name)
    asked = parser.parse_args()
    pot, inner = (toolkit.load(name) for name in (asked.model, asked.inner))
    atoms = toolkit.read_frames(asked.structure).frames[0]
    found = speeds(pot, inner, atoms)
    for h, n in PLANS:
        print(f"{h:g} fs, {n} inner: {found[h, n]:.0f} fs/s ({found[h, n] / found[PLANS[0]]:.2f} x), "
              f"{conserved(pot, inner, atoms, h, n)}", flush=True)


if __name__ == "__main__":
    main()
