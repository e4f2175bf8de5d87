"""Errors on labelled frames as docs/alloys.md has them, for potentials that are not ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms


def frame_errors(predict: Callable[[Atoms], tuple[float, np.ndarray]], frames: Sequence[Atoms]) -> dict[str, float]:
    """Mean absolute and root mean square errors of energies, meV/atom, and force components, meV/Å.

    predict : a frame without labels -> energy, eV, and forces (N, 3), eV/Å
    """
    energy, forces = [], []
    for labelled in frames:
        energy_eV, forces_eV_per_A = predict(labelled.copy())
        energy.append((energy_eV - labelled.get_potential_energy()) / len(labelled))
        forces.append((forces_eV_per_A - labelled.get_forces()).ravel())
    energy_meV, forces_meV = 1e3 * np.array(energy), 1e3 * np.concatenate(forces)
    return {"frames": len(frames), "energy_mae_meV_per_atom": np.abs(energy_meV).mean(),
            "energy_rmse_meV_per_atom": np.sqrt((energy_meV**2).mean()), "energy_bias_meV_per_atom": energy_meV.mean(),
            "forces_mae_meV_per_A": np.abs(forces_meV).mean(), "forces_rmse_meV_per_A": np.sqrt((forces_meV**2).mean())}
