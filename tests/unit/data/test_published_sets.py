"""Our readers on the published data sets: frames, units, labels and references as their documentation has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from toolkit.config import DataConfig, SplitConfig
from toolkit.data.datasets import load_splits
from toolkit.data.detective.copies import leakage
from toolkit.data.detective.data_file import open_data
from toolkit.data.detective.detective import investigate
from toolkit.data.formats import read_frames
from toolkit.data.statistics import compute_statistics, force_rms
from toolkit.errors import DataError

pytestmark = pytest.mark.shared

SETS = {
    "rmd17/rmd17_aspirin_train_01.npz": (1000, "kcal/mol", 1.27),
    "rmd17/rmd17_ethanol_test_01.npz": (1000, "kcal/mol", 1.2),
    "rmd17/rmd17_uracil_train_01.npz": (1000, "kcal/mol", 1.37),
    "3bpa/train_300K.xyz.gz": (500, "eV", 0.95),
    "3bpa/train_mixedT.xyz.gz": (500, "eV", 1.42),
    "acac/train_600K.xyz.gz": (500, "eV", 1.38),
    "mlearn/Cu_train.extxyz.gz": (262, "eV", 0.8),
    "mlearn/Mo_test.extxyz.gz": (23, "eV", 1.6),
    "mlearn/Si_train.extxyz.gz": (214, "eV", 0.87),
    "si_aimd_800K/sitraj.xyz.gz": (110, "eV", 0.91),
    "water_deepmd/water_192.extxyz.gz": (400, "eV", 0.81),
    "mptrj_1k/mptrj-random-1k.xyz.gz": (1000, "eV", 1.27),
}
"""File -> frames, energy unit, force RMS in eV/Å as the data folder's README gives it."""


@pytest.mark.parametrize("name", sorted(SETS))
def test_published_set(name: str, shared_data: Path) -> None:
    num_frames, unit, rms = SETS[name]
    read = read_frames(str(shared_data / name))
    assert read.report.num_frames == len(read.frames) == num_frames
    assert (read.report.energy_unit, read.report.length_unit, read.report.warnings) == (unit, "Å", ())
    assert force_rms(read.frames) == pytest.approx(rms, rel=0.08)
    assert "forces" not in read.report.missing and "energy" not in read.report.missing


def test_the_two_copies_of_rmd17_ethanol_agree(shared_data: Path) -> None:
    """Frames of the eV copy in extended XYZ that are also in the kcal/mol npz: energies differ by one constant."""
    kcal = read_frames(str(shared_data / "rmd17/rmd17_ethanol_train_01.npz")).frames
    ev = read_frames(str(shared_data / "ethanol_botnet/train.xyz.gz")).frames
    features = [np.array([pdist(atoms.positions) for atoms in frames]) for frames in (kcal, ev)]
    pairs = np.argwhere(cdist(*features) < 1e-4)
    assert len(pairs) >= 5
    differences = [kcal[a].get_potential_energy() - ev[b].get_potential_energy() for a, b in pairs]
    assert np.std(differences) < 2e-3
    for a, b in pairs:
        lengths = [np.linalg.norm(atoms.get_forces(), axis=1) for atoms in (kcal[a], ev[b])]
        np.testing.assert_allclose(*lengths, atol=5e-3)


def test_isolated_atoms_of_3bpa_are_found(shared_data: Path) -> None:
    read = read_frames(str(shared_data / "3bpa/train_300K.xyz.gz"))
    assert read.report.isolated_atom_energies["C"] == pytest.approx(-1029.4889999855063)
    statistics = compute_statistics(read.frames, 5.0, read.report.isolated_atom_energies)
    assert 4.0 < statistics.energy_residual_rms_eV_per_atom < 6.0 and statistics.warnings == ()


def test_hartree_energies_in_extended_xyz_are_not_taken_for_ev(shared_data: Path) -> None:
    path = str(shared_data / "water_tensor_tensoap/water_dimer.xyz.gz")
    with pytest.raises(DataError, match="extended XYZ says eV, but physics points to Hartree"):
        read_frames(path)
    read = read_frames(path, DataConfig(train=path, energy_unit="Hartree"))
    assert read.frames[0].get_potential_energy() == pytest.approx(-152.6962146015 * 27.211386, rel=1e-6)


def test_qm7_energies_by_key(shared_data: Path) -> None:
    path = str(shared_data / "qm7/qm7.extxyz.gz")
    read = read_frames(path, DataConfig(train=path, energy_key="atomization_energy_pbe0_kcal_mol"))
    assert read.report.energy_unit == "kcal/mol" and read.report.missing == {"forces": 7101}
    assert compute_statistics(read.frames, 2.0).energy_residual_rms_eV_per_atom < 0.1


def test_official_aspirin_split_and_its_known_leakage(shared_data: Path) -> None:
    folder = shared_data / "rmd17"
    splits = load_splits(DataConfig(
        train=str(folder / "rmd17_aspirin_train_01.npz"), test=str(folder / "rmd17_aspirin_test_01.npz"),
        split=SplitConfig(method="blocks", num_train=950, num_val=50)))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (950, 50, 1000)
    found = leakage(splits.train, splits.test)
    assert found["n_copies"] == 0 and 5 <= found["n_near_copies"] <= 30


def test_the_stress_of_copper_disagrees_with_its_energies(shared_data: Path) -> None:
    """By 2.5 GPa, which no other set of its authors shows."""
    kinds = {}
    for name in ("mlearn/Cu", "mlearn/Si", "snap_nbmotaw/NbMoTaW"):
        found = investigate([open_data(str(shared_data / f"{name}_train.extxyz.gz"))])
        kinds[name] = [finding.numbers["pressure_GPa"] for finding in found if finding.kind == "pulay_stress"]
    assert kinds["mlearn/Cu"] == [pytest.approx(-2.5, abs=0.2)]
    copper = str(shared_data / "mlearn/Cu_train.extxyz.gz")
    mended = investigate([open_data(copper, DataConfig(train=copper, stress_offset_GPa=kinds["mlearn/Cu"][0]))])
    assert "pulay_stress" not in {finding.kind for finding in mended}
    assert kinds["mlearn/Si"] == kinds["snap_nbmotaw/NbMoTaW"] == []
