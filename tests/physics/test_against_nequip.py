"""Proof against the reference implementation: nequip's `NequIPGNNModel`, imported, gives the same numbers.

Needs nequip (tests/requirements-nequip.txt) and is skipped without it:

    export NEQUIP_COMPARISON=docs/nequip-comparison.md
    ../venv-nequip/bin/python -m pytest -s tests/physics/test_against_nequip.py

prints the table of differences and writes it to that file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import e3nn
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from safetensors.torch import save_file

from toolkit.interfaces.nequip_import import import_nequip
from toolkit.models.potential import load_potential
from toolkit.storage import write_text_atomic

pytest.importorskip("nequip")
from nequip.data import AtomicDataDict, compute_neighborlist_  # noqa: E402
from nequip.data.ase import from_ase  # noqa: E402
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper  # noqa: E402
from nequip.model import NequIPGNNModel  # noqa: E402
from nequip.utils.global_state import set_global_state  # noqa: E402

TOLERANCE = 1e-9
SHIFTS = {"C": -1029.1, "H": -13.6, "O": -2042.9}
QUANTITIES = ("energy", "network energy", "atomic energies", "forces", "stress")


def _molecule() -> Atoms:
    atoms = molecule("CH3COOH")
    atoms.rattle(0.1, seed=1)
    return atoms


def _crystal() -> Atoms:
    """Six atoms in a skewed cell whose edges and heights are shorter than every r_max used here."""
    rng = np.random.default_rng(2)
    corners = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.5, 0.5, 0.5], [0.25, 0.2, 0.75]])
    cell = [[3.3, 0.1, 0.2], [0.9, 3.4, -0.2], [-0.5, 0.6, 3.2]]
    return Atoms("COHCHO", scaled_positions=corners + rng.normal(scale=0.03, size=corners.shape), cell=cell, pbc=True)


SYSTEMS = {"molecule": _molecule, "crystal": _crystal}


def _arguments(l_max: int, parity: bool) -> dict:
    """Arguments of NequIPGNNModel: sizes drawn at random, each option on in some cases and off in others."""
    rng = np.random.default_rng([l_max, parity])
    case = 2 * l_max + parity
    names = [str(name) for name in rng.permutation(list(SHIFTS))]
    p = int(rng.integers(4, 9))
    arguments = {
        "seed": case, "model_dtype": "float64", "type_names": names, "r_max": round(float(rng.uniform(3.6, 4.6)), 3),
        "num_layers": int(rng.integers(3, 5)), "l_max": l_max, "parity": parity,
        "num_features": [int(n) for n in rng.choice([3, 4, 5, 6, 7], size=l_max + 1, replace=False)],
        "type_embed_num_features": int(rng.integers(4, 9)), "num_bessels": int(rng.integers(5, 9)),
        "bessel_trainable": case != 3, "polynomial_cutoff_p": p,
        "avg_num_neighbors": round(float(rng.uniform(5, 20)), 2),
        "radial_mlp_depth": case % 4, "radial_mlp_width": int(rng.integers(6, 12)),
        "readout_mlp_hidden_layers_depth": case % 3, "readout_mlp_hidden_layers_width": [None, 5, 9][case % 3],
        "per_type_energy_shifts": SHIFTS,
        "per_type_energy_scales": [{"C": 31.0, "H": 17.0, "O": 45.0}, 25.0, None][case % 3],
        "per_type_energy_scales_trainable": case == 1, "per_type_energy_shifts_trainable": case == 6,
    }
    if case % 4 in (1, 2):
        arguments["per_edge_type_cutoff"] = {"H": 2.8, "O": {"C": 3.1, "H": 2.9}}
    if case in (0, 3, 4, 7):  # those with large scales, so that the repulsion does not drown the network
        arguments["pair_potential"] = {"_target_": "nequip.nn.pair_potential.ZBL", "units": "metal",
                                       "chemical_species": names, "polynomial_cutoff_p": p}
    return arguments


@contextmanager
def _nequips_defaults() -> Iterator[None]:
    """nequip works with global settings; ours must not depend on them, so they last only while nequip runs."""
    dtype, e3nn_defaults = torch.get_default_dtype(), dict(e3nn.get_optimization_defaults())
    set_global_state()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        e3nn.set_optimization_defaults(**e3nn_defaults)


def _build_reference(arguments: dict) -> torch.nn.Module:
    with _nequips_defaults():
        model = NequIPGNNModel(**arguments).eval()
    roots = model.model.func.bessel_encode.bessel_weights
    if arguments["bessel_trainable"]:
        roots.data += 0.1 * torch.randn(roots.shape, generator=torch.Generator().manual_seed(0), dtype=roots.dtype)
    return model


def _reference(model: torch.nn.Module, arguments: dict, atoms: Atoms) -> dict[str, np.ndarray]:
    with _nequips_defaults():
        data = ChemicalSpeciesToAtomTypeMapper(arguments["type_names"])(from_ase(atoms))
        output = model(compute_neighborlist_(data, arguments["r_max"]))
    arrays = {key: value.detach().numpy() for key, value in output.items()}
    result = {"energy": arrays[AtomicDataDict.TOTAL_ENERGY_KEY].item(), "forces": arrays[AtomicDataDict.FORCE_KEY],
              "energies": arrays[AtomicDataDict.PER_ATOM_ENERGY_KEY][:, 0]}
    return {**result, "stress": arrays[AtomicDataDict.STRESS_KEY][0]} if atoms.pbc.all() else result


def _ours(state: dict[str, torch.Tensor], arguments: dict, atoms: Atoms, folder: Path) -> dict[str, np.ndarray]:
    """Through files, as a user does it."""
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, folder / "nequip.safetensors")
    (folder / "nequip.json").write_text(json.dumps(arguments))
    import_nequip(folder / "nequip.safetensors", folder / "nequip.json", folder / "model")
    return load_potential(folder / "model", device="cpu", dtype="float64").predict(atoms)


def _differences(expected: dict, found: dict, atoms: Atoms) -> dict[str, float]:
    """Relative differences: of the energy, of the energy without shifts per Σ|atomic energies|, and the largest of each
    array per its RMS."""
    shifts = np.array([SHIFTS[symbol] for symbol in atoms.get_chemical_symbols()])
    network = expected["energies"] - shifts
    rms = {"atomic energies": np.sqrt(np.mean(network**2)), "forces": np.sqrt(np.mean(expected["forces"] ** 2))}
    assert np.ptp(network) > 1e-2, "the model is too flat for the comparison to mean anything"
    assert rms["forces"] > 1e-2
    differences = {
        "energy": abs(found["energy"] - expected["energy"]) / abs(expected["energy"]),
        "network energy": abs((found["energies"] - shifts).sum() - network.sum()) / np.abs(network).sum(),
        "atomic energies": np.abs(found["energies"] - expected["energies"]).max() / rms["atomic energies"],
        "forces": np.abs(found["forces"] - expected["forces"]).max() / rms["forces"],
    }
    if "stress" in expected:
        scale = np.sqrt(np.mean(expected["stress"] ** 2))
        assert scale > 1e-4
        differences["stress"] = np.abs(found["stress"] - expected["stress"]).max() / scale
    return differences


@pytest.fixture(scope="module")
def table() -> Iterator[list[tuple]]:
    """Rows (l_max, parity, system, arguments, differences), printed at the end and written where asked for."""
    rows: list[tuple] = []
    yield rows
    lines = ["| l_max | parity | system | channels | layers | options | " + " | ".join(QUANTITIES) + " |",
             "|" + "---|" * (6 + len(QUANTITIES))]
    for l_max, parity, system, arguments, differences in rows:
        options = [word for word, on in (
            (f"radial depth {arguments['radial_mlp_depth']}", True),
            (f"readout depth {arguments['readout_mlp_hidden_layers_depth']}", True),
            ("moved Bessel roots", arguments["bessel_trainable"]),
            ("pair cutoffs", "per_edge_type_cutoff" in arguments), ("ZBL", "pair_potential" in arguments)) if on]
        cells = [l_max, "on" if parity else "off", system, ", ".join(map(str, arguments["num_features"])),
                 arguments["num_layers"], ", ".join(options),
                 *(f"{differences[q]:.1e}" if q in differences else "–" for q in QUANTITIES)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    print("\n" + "\n".join(lines))
    if os.environ.get("NEQUIP_COMPARISON"):
        write_text_atomic(os.environ["NEQUIP_COMPARISON"], _document(lines))


def _document(lines: list[str]) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("nequip", "torch", "e3nn"))
    return "\n".join([
        "# Our NequIP against the reference implementation",
        "",
        "Networks of `nequip` (`NequIPGNNModel`, random hyper-parameters and weights) were imported by",
        "`toolkit import nequip` and evaluated by both programs in float64 on one CPU thread: a rattled acetic acid",
        "molecule and a skewed C/H/O crystal whose cell is smaller than the cutoff. Relative differences: energy;",
        "energy without the atomic shifts per Σ|atomic energies|; largest difference of atomic energies, forces",
        f"and stress per their RMS. The test demands at most {TOLERANCE:.0e} everywhere, and rejects an import with",
        "two path columns exchanged.",
        "",
        f"Versions: {versions}. Command (`tests/requirements-nequip.txt` says how to make the environment):",
        "",
        "    export NEQUIP_COMPARISON=docs/nequip-comparison.md",
        "    ../venv-nequip/bin/python -m pytest -s tests/physics/test_against_nequip.py",
        "",
        *lines, ""])


@pytest.mark.parametrize("system", sorted(SYSTEMS, reverse=True))
@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize("l_max", [0, 1, 2, 3])
def test_imported_model_gives_nequips_numbers(l_max, parity, system, table, tmp_path):
    arguments, atoms = _arguments(l_max, parity), SYSTEMS[system]()
    reference = _build_reference(arguments)
    found = _ours(reference.state_dict(), arguments, atoms, tmp_path)
    differences = _differences(_reference(reference, arguments, atoms), found, atoms)
    table.append((l_max, parity, system, arguments, differences))
    assert max(differences.values()) < TOLERANCE, differences


@pytest.mark.parametrize("key", ["layer1_convnet.conv.edge_mlp.mlp.4.weight", "layer2_convnet.conv.sc.weight"])
def test_exchanged_paths_or_channels_are_rejected(key, tmp_path):
    arguments, atoms = _arguments(1, False), _molecule()
    reference = _build_reference(arguments)
    expected = _reference(reference, arguments, atoms)
    state = dict(reference.state_dict())
    weight = state[f"model.func.{key}"].clone()
    size = arguments["num_features"][0]
    weight[..., :2 * size] = torch.cat([weight[..., size:2 * size], weight[..., :size]], dim=-1)
    state[f"model.func.{key}"] = weight
    assert max(_differences(expected, _ours(state, arguments, atoms, tmp_path), atoms).values()) > 1e-3


def test_every_option_is_on_and_off_somewhere():
    cases = [_arguments(l_max, parity) for l_max in range(4) for parity in (False, True)]
    for option in ("per_edge_type_cutoff", "pair_potential"):
        assert {option in case for case in cases} == {True, False}
    assert {case["radial_mlp_depth"] for case in cases} == {0, 1, 2, 3}
    assert {case["readout_mlp_hidden_layers_depth"] for case in cases} == {0, 1, 2}
    assert any(len(set(case["num_features"])) == 4 for case in cases)
