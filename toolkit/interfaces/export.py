"""A trained potential as one file that torch alone reads, for other programs: energy, forces and stress from a neighbour list.

=================  ===============  ==============================================================================
input              shape, dtype     meaning
=================  ===============  ==============================================================================
`positions`        (N, 3) float64   Cartesian, Å
`atomic_numbers`   (N,) int64
`cell`             (3, 3) float64   rows are lattice vectors, Å; zeros when there is none
`edge_index`       (2, E) int64     all pairs within r_max, both ways: row 0 = centre i, row 1 = neighbour j
`cell_shifts`      (E, 3) float64   integer lattice shift S of j: r = x_j + S · cell − x_i
=================  ===============  ==============================================================================

The outputs, in this order: `energy` (), eV, `atomic_energies` (N,), `forces` (N, 3), eV/Å, and `stress` (3, 3),
+(1/V) dE/dε, eV/Å³, NaN without a cell; all float64. N and E may be any numbers.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from toolkit.data.graph import AtomicGraph
from toolkit.errors import ConfigError, ModelError
from toolkit.models.base import AtomisticModel
from toolkit.models.derivatives import evaluate
from toolkit.models.potential import Potential
from toolkit.storage import replacing

ABOUT = "toolkit.json"
"""Name of the description inside the file."""
OUTPUTS = ("energy", "atomic_energies", "forces", "stress")
SUFFIX = ".pt2"
TRACED_ATOMS, CHECKED_ATOMS = 6, (1, 2, 13)
SPACING_A, RATTLE_A = 1.9, 0.15
TOLERANCE_EV_PER_A = {torch.float64: 1e-9, torch.float32: 1e-3}
"""Between forces of the file and of the potential on crystals with forces of some eV/Å."""
WITHOUT_SCALARS = {torch.ops.aten._foreach_mul.ScalarList: lambda tensors, scalars: [
    tensor * scalar for tensor, scalar in zip(tensors, scalars, strict=True)]}
"""Operations that compiled files cannot hold -> the same by others."""
Program = Callable[..., dict[str, Tensor]]


def export_potential(potential: Potential, path: Path, *, compiled: bool = False) -> dict[str, Any]:
    """Write a potential on backend "reference" to `path` (*.pt2), after a comparison with itself on crystals of other sizes.

    compiled : machine code for this kind of machine (AOTInductor), which Python and C++ load and which is many times faster on
        small systems; needs a C++ compiler. Else a graph that `torch.export.load` reads wherever torch runs.
    Returns what the file says of itself with `file`, `bytes` and the `largest_force_difference_eV_per_A` found.
    Raises ModelError for a model with a long range or when the numbers differ, ConfigError for another suffix or without a
    compiler, StorageError when the file cannot be written.
    """
    _require_exportable(potential, path, compiled)
    program = _trace(potential)
    about = {"format_version": 1, "r_max_A": potential.r_max, "species": list(potential.species),
             "dtype": str(potential.dtype).removeprefix("torch."), "device": potential.device.type,
             "architecture": potential.config.architecture, "compiled": compiled, "torch": torch.__version__,
             "outputs": list(OUTPUTS)}
    with replacing(path) as temporary:
        file = temporary.with_name(temporary.name + SUFFIX)  # a suffix that torch insists on
        try:
            _write(program, file, about, compiled)
            difference = _largest_difference(potential, load_program(file, compiled=compiled))
            file.replace(temporary)
        finally:
            file.unlink(missing_ok=True)
    return {**about, "file": str(path), "bytes": path.stat().st_size, "largest_force_difference_eV_per_A": difference}


def load_program(path: Path, *, compiled: bool = False) -> Program:
    """What `export_potential` wrote. Only for files that you made: compiled ones are machine code."""
    if compiled:
        return torch._inductor.aoti_load_package(str(path))
    return torch.export.load(path).module()


def program_inputs(potential: Potential, atoms: Atoms) -> tuple[Tensor, ...]:
    """The inputs for a structure. Raises DataError for elements that the potential does not know."""
    graph = potential.graph(atoms)
    cell = graph.cell[0] if atoms.pbc.any() else torch.zeros_like(graph.cell[0])
    return graph.positions, graph.atomic_numbers, cell, graph.edge_index, graph.cell_shifts


def _require_exportable(potential: Potential, path: Path, compiled: bool) -> None:
    if path.suffix != SUFFIX:
        raise ConfigError(f"found the name {path.name!r} for an exported potential, expected one that ends in {SUFFIX}")
    if potential.backend != "reference":
        raise ConfigError(f"found a potential on backend {potential.backend!r}, whose kernels are no part of torch",
                          "load it with backend='reference'")
    if potential.config.long_range is not None:
        raise ModelError("found a model with a long range, whose sum over waves depends on the cell in a way no graph can hold",
                         "use it through the ASE calculator, or train one without")
    if compiled and shutil.which("g++") is None and shutil.which("clang++") is None:
        raise ConfigError("found no C++ compiler (g++ or clang++), which a compiled file needs",
                          "install one (apt-get install g++), or export without --compile")


def _trace(potential: Potential) -> torch.export.ExportedProgram:
    """Forward and backward pass as one graph of torch operations, for any number of atoms and edges."""
    model = _constants(potential)

    def energies_and_derivatives(positions: Tensor, atomic_numbers: Tensor, cell: Tensor, edge_index: Tensor,
                                 cell_shifts: Tensor) -> dict[str, Tensor]:
        volume = (cell[0] * torch.linalg.cross(cell[1], cell[2])).sum().abs()
        graph = AtomicGraph(positions=positions, atomic_numbers=atomic_numbers, cell=cell[None],
                            pbc=(volume > 0.0).expand(1, 3), edge_index=edge_index, cell_shifts=cell_shifts,
                            batch=torch.zeros_like(atomic_numbers), total_charge=positions.new_zeros(1))
        output = evaluate(model, graph, stress=True)
        return {"energy": output["energy"][0], "atomic_energies": output["atomic_energies"], "forces": output["forces"],
                "stress": output["stress"][0]}

    example = program_inputs(potential, _crystal(potential, TRACED_ATOMS))
    graph = make_fx(energies_and_derivatives, tracing_mode="symbolic", _allow_non_fake_inputs=True,
                    decomposition_table=WITHOUT_SCALARS)(*example)
    atoms, edges = torch.export.Dim("atoms", min=1), torch.export.Dim("edges", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(graph, example, dynamic_shapes=({0: atoms}, {0: atoms}, None, {1: edges}, {0: edges}),
                                   strict=False)


def _constants(potential: Potential) -> AtomisticModel:
    """A copy of the model, prepared, whose tensors are views of no others: tracing looks at what lies behind a view."""
    model = deepcopy(potential.model)
    model.prepare_inference()
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.detach().clone())
    return model


def _write(program: torch.export.ExportedProgram, path: Path, about: dict[str, Any], compiled: bool) -> None:
    text = json.dumps(about)
    if compiled:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch._inductor.aoti_compile_and_package(program, package_path=str(path),
                                                     inductor_configs={"aot_inductor.metadata": {ABOUT: text}})
    else:
        torch.export.save(program, path, extra_files={ABOUT: text})


def _largest_difference(potential: Potential, program: Program) -> float:
    """Between forces, eV/Å. Raises ModelError when it is more than rounding."""
    largest = 0.0
    for count in CHECKED_ATOMS:
        for periodic in (True, False):
            atoms = _crystal(potential, count)
            atoms.pbc = periodic
            found, expected = program(*program_inputs(potential, atoms)), potential.predict(atoms)
            difference = np.abs(found["forces"].cpu().numpy() - expected["forces"]).max()
            if not difference <= TOLERANCE_EV_PER_A[potential.dtype]:
                raise ModelError(f"the exported potential differs from its model by {difference:.1e} eV/Å on {atoms}",
                                 "this is a fault of the export: tell us the model and the version of torch")
            largest = max(largest, float(difference))
    return largest


def _crystal(potential: Potential, count: int) -> Atoms:
    """Atoms of all elements on a rattled lattice, in a cell."""
    width = int(np.ceil(count ** (1.0 / 3.0)))
    places = np.stack(np.unravel_index(np.arange(count), (width, width, width)), axis=1) * SPACING_A
    atoms = Atoms([potential.species[k % len(potential.species)] for k in range(count)], positions=places,
                  cell=3 * [width * SPACING_A + 0.5], pbc=True)
    atoms.rattle(RATTLE_A, seed=count)
    return atoms
