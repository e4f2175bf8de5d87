"""Ten ways in which real data sets are broken, each with the findings that name it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from toolkit.units import BOHR_A, KCAL_PER_MOL_EV

Frames = list[Atoms]

CONSEQUENCES = frozenset({"force_scale", "stress_scale"})
"""Findings that are true as well when only the positions are in Bohr: eV/Å and eV/Å³ do not go with them."""


@dataclass(frozen=True)
class Corruption:
    """apply : (frames, random generator) -> broken frames
    kinds : findings that name it, all of them expected;  consequences : findings that may come with it
    needs : "stress" or "molecules" where physics can only tell with them, or ""
    """

    apply: Callable[[Frames, np.random.Generator], Frames]
    kinds: frozenset[str]
    consequences: frozenset[str] = frozenset()
    needs: str = ""

    def applies_to(self, frames: Frames) -> bool:
        """Whether this set can be broken like that in a way that shows."""
        return {"": True, "stress": "stress" in frames[0].calc.results,
                "molecules": not frames[0].pbc.any()}[self.needs]


def relabelled(atoms: Atoms, numbers: np.ndarray | None = None, length: float = 1.0, **labels: object) -> Atoms:
    """A copy with other atomic numbers, lengths multiplied, and labels replaced (None removes)."""
    changed = Atoms(atoms.numbers if numbers is None else numbers, length * atoms.positions,
                    cell=length * atoms.cell.array, pbc=atoms.pbc)
    results = {key: value for key, value in {**atoms.calc.results, **labels}.items()
               if key in ("energy", "forces", "stress") and value is not None}
    changed.calc = SinglePointCalculator(changed, **results)
    return changed


def _scaled(frames: Frames, factor: float, *names: str) -> Frames:
    return [relabelled(atoms, **{name: factor * value for name, value in atoms.calc.results.items() if name in names})
            for atoms in frames]


def _some(frames: Frames, rng: np.random.Generator, share: float = 0.1) -> set[int]:
    return set(rng.choice(len(frames), max(1, int(share * len(frames))), replace=False).tolist())


def kcal_for_ev(frames: Frames, rng: np.random.Generator) -> Frames:
    """Every label in kcal/mol where the file means eV."""
    return _scaled(frames, 1.0 / KCAL_PER_MOL_EV, "energy", "forces", "stress")


def flipped_forces(frames: Frames, rng: np.random.Generator) -> Frames:
    """Gradients instead of forces."""
    return _scaled(frames, -1.0, "forces")


def bohr_for_angstrom(frames: Frames, rng: np.random.Generator) -> Frames:
    """Positions and cells in Bohr, labels as they were."""
    return [relabelled(atoms, length=1.0 / BOHR_A) for atoms in frames]


def shuffled_forces(frames: Frames, rng: np.random.Generator) -> Frames:
    """The forces of another frame with the same atoms."""
    order = np.arange(len(frames))
    keys = [atoms.numbers.tobytes() for atoms in frames]
    for key in sorted(set(keys)):
        same = np.array([t for t, other in enumerate(keys) if other == key])
        order[same] = rng.permutation(same)
    return [relabelled(atoms, forces=frames[source].calc.results["forces"])
            for atoms, source in zip(frames, order, strict=True)]


def wrong_stress_sign(frames: Frames, rng: np.random.Generator) -> Frames:
    """Pressure instead of stress."""
    return _scaled(frames, -1.0, "stress")


def duplicated_frames(frames: Frames, rng: np.random.Generator) -> Frames:
    """A tenth of the frames once more, at the end."""
    return [*frames, *(frames[t] for t in sorted(_some(frames, rng)))]


def not_a_number(frames: Frames, rng: np.random.Generator) -> Frames:
    """One force component of some frames is NaN."""
    chosen, broken = _some(frames, rng), []
    for t, atoms in enumerate(frames):
        forces = atoms.calc.results["forces"].copy()
        if t in chosen:
            forces[rng.integers(len(forces)), rng.integers(3)] = np.nan
        broken.append(relabelled(atoms, forces=forces))
    return broken


def missing_energies(frames: Frames, rng: np.random.Generator) -> Frames:
    """Some frames without energy."""
    chosen = _some(frames, rng)
    return [relabelled(atoms, energy=None) if t in chosen else atoms for t, atoms in enumerate(frames)]


def permuted_species(frames: Frames, rng: np.random.Generator) -> Frames:
    """The same wrong order of elements in every frame of a kind."""
    orders = {len(atoms): rng.permutation(len(atoms)) for atoms in frames}
    return [relabelled(atoms, numbers=atoms.numbers[orders[len(atoms)]]) for atoms in frames]


CORRUPTIONS = {
    "kcal for eV": Corruption(kcal_for_ev, frozenset({"energy_unit"})),
    "flipped forces": Corruption(flipped_forces, frozenset({"force_sign"})),
    "Bohr for Å": Corruption(bohr_for_angstrom, frozenset({"length_unit"}), CONSEQUENCES),
    "shuffled forces": Corruption(shuffled_forces, frozenset({"shuffled_forces"})),
    "wrong stress sign": Corruption(wrong_stress_sign, frozenset({"stress_sign"}), needs="stress"),
    "duplicated frames": Corruption(duplicated_frames, frozenset({"duplicates"})),
    "NaN": Corruption(not_a_number, frozenset({"nan"})),
    "missing energies": Corruption(missing_energies, frozenset({"missing_energy"})),
    "permuted species": Corruption(permuted_species, frozenset({"permuted_species"}), needs="molecules"),
}
"""Name -> corruption of one file. The tenth, leaked test frames, takes two files."""


def leak(train: Sequence[Atoms], test: Sequence[Atoms], rng: np.random.Generator) -> tuple[Frames, Frames]:
    """Some training frames put among the test frames, molecules turned and moved."""
    leaked = [relabelled(train[t]) for t in sorted(_some(list(train), rng))]
    for atoms in leaked:
        if not atoms.pbc.any():
            axis, angle = rng.normal(size=3), float(rng.uniform(20.0, 340.0))
            turned = atoms.copy()
            turned.rotate(angle, axis)
            forces = Atoms(atoms.numbers, atoms.calc.results["forces"])
            forces.rotate(angle, axis)
            atoms.positions[:] = turned.positions + rng.normal(size=3)
            atoms.calc.results["forces"] = forces.positions
    return list(train), [*test, *leaked]
