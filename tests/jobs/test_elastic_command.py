"""Elastic constants of a file: cubes, other crystals, what is kept, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import read, write
from typer.testing import CliRunner

import toolkit.jobs.elastic
from toolkit.analysis.elastic import strain_matrix
from toolkit.cli import app
from toolkit.interfaces.relaxation import relax
from toolkit.models.pair import LennardJones, pair_potential
from toolkit.units import EV_PER_A3_GPA

POTENTIAL = pair_potential(LennardJones(("Ar",), 0.0104, 3.4, 8.0))


def elastic(*words: object) -> tuple[int, str]:
    """Exit code and everything printed, in one line."""
    done = CliRunner().invoke(app, ["elastic", "argon", *map(str, words)])
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture(autouse=True)
def argon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolkit.jobs.elastic, "load_potential", lambda *given, **options: POTENTIAL)


def test_a_cube_has_three_constants_and_its_relaxed_cell_is_kept(tmp_path: Path) -> None:
    write(tmp_path / "fcc.extxyz", bulk("Ar", "fcc", a=5.3, cubic=True))
    code, output = elastic(tmp_path / "fcc.extxyz", "-o", tmp_path / "out", "--strain", 0.002, "--fmax-eV-per-A", 1e-5)
    assert code == 0 and "c44_GPa" in output
    found = json.loads((tmp_path / "out" / "elastic.json").read_text())
    assert found["stable"] and found["c44_GPa"] == pytest.approx(found["c12_GPa"], rel=5e-3)  # Cauchy's relation
    assert found["bulk_GPa"] == pytest.approx((found["c11_GPa"] + 2.0 * found["c12_GPa"]) / 3.0, rel=1e-3)
    assert found["asymmetry_GPa"] < 1e-2 * found["c44_GPa"]
    relaxed = read(tmp_path / "out" / "relaxed.extxyz")
    assert relaxed.get_volume() == pytest.approx(found["volume_A3"], rel=1e-6) and relaxed.get_volume() < 5.3**3


def test_a_hexagonal_crystal_has_no_cubic_constants_but_a_bulk_modulus(tmp_path: Path) -> None:
    """Voigt's is V d²E/dV² of a cell that keeps its shape, from a polynomial through nine volumes."""
    write(tmp_path / "hcp.extxyz", bulk("Ar", "hcp", a=3.75, c=3.75 * np.sqrt(8.0 / 3.0)))
    code, output = elastic(tmp_path / "hcp.extxyz", "-o", tmp_path / "out", "--fmax-eV-per-A", 1e-5, "--strain", 0.002)
    assert code == 0, output
    found, relaxed = json.loads((tmp_path / "out" / "elastic.json").read_text()), read(tmp_path / "out" / "relaxed.extxyz")
    stiffness = np.array(found["stiffness_GPa"])
    assert "c11_GPa" not in found and stiffness[0, 0] == pytest.approx(stiffness[1, 1], rel=1e-2)
    assert stiffness[5, 5] == pytest.approx(0.5 * (stiffness[0, 0] - stiffness[0, 1]), rel=2e-2)  # alike about c
    ratios, energies = np.linspace(0.98, 1.02, 9), []
    for ratio in ratios:
        scaled = relaxed.copy()
        scaled.set_cell(scaled.cell.array * ratio ** (1.0 / 3.0), scale_atoms=True)
        energies.append(POTENTIAL.predict(scaled)["energy"])
    curvature = np.polynomial.Polynomial.fit(ratios, energies, 5).deriv(2)(1.0) / relaxed.get_volume()
    assert found["bulk_voigt_GPa"] == pytest.approx(curvature * EV_PER_A3_GPA, rel=2e-3)


def test_atoms_of_soft_crystals_are_relaxed_at_the_defaults(tmp_path: Path) -> None:
    """C66 of hcp, where sheared layers slide: the curvature of the energy with atoms at rest, a quarter below that without."""
    write(tmp_path / "hcp.extxyz", bulk("Ar", "hcp", a=3.75, c=3.75 * np.sqrt(8.0 / 3.0)))
    assert elastic(tmp_path / "hcp.extxyz", "-o", tmp_path / "out")[0] == 0
    found, relaxed = json.loads((tmp_path / "out" / "elastic.json").read_text()), read(tmp_path / "out" / "relaxed.extxyz")
    shears, energies = np.linspace(-0.01, 0.01, 5), []
    for shear in shears:
        sheared = relaxed.copy()
        sheared.set_cell(sheared.cell.array @ (np.eye(3) + strain_matrix(np.array([0, 0, 0, 0, 0, shear]))), scale_atoms=True)
        energies.append(relax(POTENTIAL, sheared, fmax=1e-7).energy_eV)
    curvature = np.polynomial.Polynomial.fit(shears, energies, 4).deriv(2)(0.0) / relaxed.get_volume() * EV_PER_A3_GPA
    assert found["stiffness_GPa"][5][5] == pytest.approx(curvature, rel=0.01)
    assert found["stiffness_GPa"][5][5] < 0.85 * found["clamped_stiffness_GPa"][5][5]


def test_molecules_and_unknown_options_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "water.xyz", molecule("H2O"))
    code, output = elastic(tmp_path / "water.xyz")
    assert code == 2 and "elastic constants need a crystal" in output
    code, output = elastic(tmp_path / "water.xyz", "-o", tmp_path / "water.xyz")
    assert code == 2 and "cannot make the folder" in output
    code, output = elastic(tmp_path / "water.xyz", "--supercell", 2)
    assert code == 2 and "--strain" in output and "--structure" not in output
