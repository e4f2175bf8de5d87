"""Exported potentials: the same numbers without this package, for any size; what cannot be exported says why."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write
from typer.testing import CliRunner

from toolkit.cli import app
from toolkit.config import ModelConfig
from toolkit.config_model import LongRangeConfig
from toolkit.errors import ConfigError, ModelError
from toolkit.interfaces import export
from toolkit.interfaces.export import ABOUT, export_potential, load_program, program_inputs
from toolkit.models.potential import Potential, build_potential, load_potential

COMMON = {"species": ("H", "C", "O"), "r_max": 3.0, "num_features": 4, "radial_mlp_width": 8, "avg_num_neighbors": 8.0}
ARCHITECTURES = {
    "nequip": {"num_layers": 2, "l_max": 2, "parity": True, "zbl": True, "per_pair_r_max": {"H-H": 2.0}},
    "allegro": {"num_layers": 1, "l_max": 1, "num_scalar_features": 8},
    "atom_gnn": {"num_layers": 2},
    "atom_mlp": {"l_max": 2},
}


def potential(architecture: str = "nequip", dtype: str = "float64", **changes: object) -> Potential:
    settings = {**COMMON, **ARCHITECTURES[architecture], **changes}
    return build_potential(ModelConfig(architecture=architecture, **settings), dtype=dtype, backend="reference")


def structures() -> list[Atoms]:
    """Molecules, one with 60 atoms, crystals, one of a single atom, and an atom without neighbours."""
    diamond = bulk("C", cubic=True)
    diamond.rattle(0.1, seed=1)
    return [molecule("CH3CH2OH"), molecule("C60"), diamond, bulk("C", "fcc", a=2.8), Atoms("O")]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_file_has_the_numbers_of_the_potential_for_any_structure(architecture: str, tmp_path: Path) -> None:
    pot = potential(architecture)
    about = export_potential(pot, tmp_path / "new" / "a.pt2")
    assert about["largest_force_difference_eV_per_A"] < 1e-10 and about["bytes"] > 1000
    program = load_program(tmp_path / "new" / "a.pt2")
    for atoms in structures():
        found, expected = program(*program_inputs(pot, atoms)), pot.predict(atoms)
        assert float(found["energy"]) == pytest.approx(expected["energy"], abs=1e-9)
        np.testing.assert_allclose(found["atomic_energies"].numpy(), expected["energies"], atol=1e-9)
        np.testing.assert_allclose(found["forces"].numpy(), expected["forces"], atol=1e-10)
        if "stress" in expected:
            np.testing.assert_allclose(found["stress"].numpy(), expected["stress"], atol=1e-10)
        else:
            assert torch.isnan(found["stress"]).all()


def test_elements_that_the_model_does_not_know_are_an_error(tmp_path: Path) -> None:
    pot = potential("atom_mlp")
    export_potential(pot, tmp_path / "a.pt2")
    positions, numbers, *rest = program_inputs(pot, molecule("CH4"))
    with pytest.raises((RuntimeError, IndexError)):
        load_program(tmp_path / "a.pt2")(positions, torch.where(numbers == 6, 92, numbers), *rest)


def test_the_script_of_the_documentation_runs_without_this_package(tmp_path: Path, root: Path) -> None:
    """As printed, in a process of its own; for a molecule and, with a cell, for a crystal."""
    done = CliRunner().invoke(app, ["export", "aspirin", "-o", str(tmp_path / "aspirin.pt2"), "--json", str(tmp_path / "a.json")])
    assert done.exit_code == 0, done.output
    code = re.search(r"```python\n(.*?)```", (root / "docs" / "deployment.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    code += "\nimport sys\nassert 'toolkit' not in sys.modules\nnp.savez('found.npz', **found)\n"
    crystal = Atoms("CHO", [[0.0, 0.0, 0.0], [1.1, 0.0, 0.1], [0.0, 1.5, 0.3]], cell=[3.0, 3.5, 4.0], pbc=True)
    pot = load_potential("aspirin", device="cpu")
    for atoms in (molecule("CH3CH2OH"), crystal):
        write(tmp_path / "molecule.xyz", atoms, format="extxyz")
        script = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert script.returncode == 0, script.stderr
        found, expected = np.load(tmp_path / "found.npz"), pot.predict(atoms)
        assert float(found["energy"]) == pytest.approx(expected["energy"], abs=1e-3)
        np.testing.assert_allclose(found["forces"], expected["forces"], atol=1e-4)
        assert np.isfinite(found["stress"]).all() == bool(atoms.pbc.all())
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["r_max_A"] == pot.r_max and told["species"] == list(pot.species) and told["dtype"] == "float32"


@pytest.mark.slow
def test_machine_code_has_the_same_numbers(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    pot = potential(dtype="float32")
    export_potential(pot, tmp_path / "a.pt2", compiled=True)
    program = load_program(tmp_path / "a.pt2", compiled=True)
    assert json.loads(program.get_metadata()[ABOUT])["r_max_A"] == pot.r_max
    for atoms in structures():
        np.testing.assert_allclose(program(*program_inputs(pot, atoms))["forces"].numpy(), pot.predict(atoms)["forces"], atol=1e-4)


def test_a_program_with_other_numbers_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = export.evaluate
    monkeypatch.setattr(export, "evaluate", lambda *given, **options: {
        name: values * 1.001 for name, values in honest(*given, **options).items()})
    with pytest.raises(ModelError, match="differs from its model by"):
        export_potential(potential("atom_mlp"), tmp_path / "a.pt2")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="long range"):
        export_potential(potential(long_range=LongRangeConfig(smearing_A=1.0)), tmp_path / "a.pt2")
    with pytest.raises(ConfigError, match="ends in .pt2"):
        export_potential(potential(), tmp_path / "a.pth")
    pot = potential()
    pot.backend = "compiled"
    with pytest.raises(ConfigError, match="backend='reference'"):
        export_potential(pot, tmp_path / "a.pt2")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="no C\\+\\+ compiler"):
        export_potential(potential(), tmp_path / "a.pt2", compiled=True)
    assert not list(tmp_path.iterdir())
