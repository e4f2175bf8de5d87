"""Last-layer uncertainty against Bayesian linear regression, where the posterior is exact; symmetry and files."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from scipy.spatial.transform import Rotation

from tests.stopping import StopAtOnce
from toolkit.config import ModelConfig
from toolkit.errors import DataError, ModelError
from toolkit.models.checkpoint import save_model
from toolkit.models.pair import LennardJones, pair_potential
from toolkit.models.potential import Potential, build_potential, load_potential
from toolkit.models.uncertainty import last_weight, save_uncertainty
from toolkit.progress import SilentReporter
from toolkit.training.uncertainty import calibrate, fit_uncertainty, mixed, posterior_root

NOISE_EV, NOISE_EV_PER_A = 0.02, 0.05
SHIFTS = {"H": -13.0, "C": -1029.0, "O": -2043.0}
CONFIG = ModelConfig(species=("H", "C", "O"), r_max=3.5, num_layers=2, l_max=1, num_features=6, num_bessels=4,
                     radial_mlp_width=8, avg_num_neighbors=9.0, readout_mlp_depth=1, readout_mlp_width=5,
                     per_species_energy_shifts=SHIFTS, per_species_energy_scales={"H": 1.5, "C": 2.0, "O": 0.7}, seed=5)
RNG = np.random.default_rng(11)


@pytest.fixture(scope="module")
def potential() -> Potential:
    return build_potential(CONFIG, dtype="float64")


@pytest.fixture(scope="module")
def structures() -> list[Atoms]:
    frames = [molecule("CH3CH2OH") for _ in range(24)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.15, seed=seed)
    return frames


def labelled(potential: Potential, frames: list[Atoms]) -> list[Atoms]:
    """The frames with the potential's own predictions plus normal noise as labels."""
    copies = [atoms.copy() for atoms in frames]
    for atoms, found in zip(copies, potential.predict(copies), strict=True):
        forces = found["forces"] + RNG.normal(0.0, NOISE_EV_PER_A, found["forces"].shape)
        atoms.calc = SinglePointCalculator(atoms, energy=found["energy"] + RNG.normal(0.0, NOISE_EV), forces=forces)
    return copies


def unit_rows(potential: Potential, atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Features of the energy (C,) and of the forces (3N, C): predictions with one last weight 1 and all others 0."""
    twin = Potential(deepcopy(potential.model), potential.config, potential.device, potential.backend)
    weight = twin.model.get_parameter(last_weight(twin.model))
    energies, forces = [], []
    for c in range(len(weight)):
        weight.zero_()[c] = 1.0
        twin.model = twin.model  # the copy that predicts is made anew
        found = twin.predict(atoms)
        energies.append(found["energy"] - sum(SHIFTS[symbol] for symbol in atoms.symbols))
        forces.append(found["forces"].ravel())
    return np.array(energies), np.array(forces).T


@pytest.fixture(scope="module")
def frames(potential, structures) -> list[Atoms]:
    return labelled(potential, structures)


@pytest.fixture(scope="module")
def covariance(potential, frames) -> np.ndarray:
    """Σ of Bayesian linear regression with the features of `unit_rows`, noise as found on the frames, (C, C)."""
    energy_rows, force_rows = (np.array(rows) for rows in zip(*(unit_rows(potential, atoms) for atoms in frames),
                                                              strict=True))
    predicted = potential.predict(frames)
    residual = [p["energy"] - atoms.get_potential_energy() for p, atoms in zip(predicted, frames, strict=True)]
    precision = energy_rows.T @ energy_rows / np.mean(np.square(residual))
    errors = np.concatenate([p["forces"] - atoms.get_forces() for p, atoms in zip(predicted, frames, strict=True)])
    numbers = np.concatenate([atoms.numbers for atoms in frames])
    rows = force_rows.reshape(len(numbers), 3, -1)
    for z in (1, 6, 8):
        of_element = rows[numbers == z].reshape(-1, rows.shape[2])
        precision += of_element.T @ of_element / np.mean(errors[numbers == z]**2)
    return np.linalg.inv(precision)


def test_sigma_is_that_of_bayesian_linear_regression(potential, frames, covariance):
    fitted = fit_uncertainty(potential, frames, frames[:4], num_directions=99)
    pot = Potential(potential.model, CONFIG, potential.device, potential.backend)
    pot.uncertainty = replace(fitted, forces_scale=1.0, energy_scale=1.0)
    new = frames[0].copy()
    new.rattle(0.2, seed=77)
    found = pot.predict(new, uncertainty=True)
    energy_row, force_rows = unit_rows(potential, new)
    variance = np.einsum("mc,cd,md->m", force_rows, covariance, force_rows).reshape(-1, 3).mean(axis=1)
    assert found["forces_std"] == pytest.approx(np.sqrt(variance), rel=1e-5)
    assert found["energy_std"] == pytest.approx(np.sqrt(energy_row @ covariance @ energy_row), rel=1e-5)
    assert found["forces_std"].max() > 2.0 * found["forces_std"].min() > 0.0


def test_weights_refitted_to_noisy_labels_scatter_as_the_posterior_says(potential, frames):
    """Least squares on 400 sets of labels: the errors of a new force, over its σ, have the spread 1."""
    root = posterior_root(potential, last_weight(potential.model), frames, SilentReporter()).numpy()
    rows = [unit_rows(potential, atoms) for atoms in frames]
    design = np.concatenate([*(f / NOISE_EV_PER_A for _, f in rows), *(e[None] / NOISE_EV for e, _ in rows)])
    weights = np.linalg.lstsq(design, RNG.normal(size=(len(design), 400)), rcond=None)[0]
    new = frames[3].copy()
    new.rattle(0.1, seed=5)
    row = unit_rows(potential, new)[1][4]
    z = row @ weights / np.linalg.norm(row @ root)
    noise_of_s = 1.0 / np.sqrt(2 * 24 * 9 * 3 / 3)  # of the RMS errors of single elements that stand for the noise
    assert abs(np.sqrt(np.mean(z**2)) - 1.0) < 3.0 * np.hypot(1.0 / np.sqrt(800), noise_of_s)


def test_fewer_directions_are_right_on_average_and_all_are_exact():
    root = torch.randn(7, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sigma = (root @ root.T).numpy()
    assert torch.equal(mixed(root, 7, 0), root)
    few = np.array([(d @ d.T).numpy() for d in (mixed(root, 3, seed) for seed in range(600))])
    assert (np.abs(few.mean(axis=0) - sigma) < 4.0 * few.std(axis=0) / np.sqrt(600)).all()
    assert few.std(axis=0).max() > 0.1 * np.abs(sigma).max()


def test_calibration_finds_the_factor_by_which_errors_are_larger(potential, structures, frames):
    """Labels of random last weights: their errors are what the directions say, times 3."""
    fitted = fit_uncertainty(potential, frames, frames[:4], num_directions=99)
    weight = last_weight(potential.model)
    held_out = []
    for seed, atoms in enumerate(structures * 2):
        twin = Potential(deepcopy(potential.model), CONFIG, potential.device, potential.backend)
        generator = torch.Generator().manual_seed(seed)
        draw = torch.randn(fitted.directions.shape[1], generator=generator, dtype=torch.float64)
        twin.model.get_parameter(weight).add_(3.0 * (fitted.directions @ draw)[:, None])
        twin.model = twin.model
        found, copy = twin.predict(atoms), atoms.copy()
        copy.calc = SinglePointCalculator(copy, energy=found["energy"], forces=found["forces"])
        held_out.append(copy)
    again = calibrate(potential, fitted, held_out)
    assert again.energy_scale == pytest.approx(3.0, rel=3.0 / np.sqrt(2 * 48))
    assert again.forces_scale == pytest.approx(3.0, rel=3.0 / np.sqrt(2 * 48))
    with pytest.raises(DataError, match="calibrate on frames with energies and forces"):
        calibrate(potential, fitted, structures)


def test_atoms_without_neighbours_do_not_count_in_the_calibration(potential, structures, frames):
    """σ = 0 where no weight has a say: a hydrogen that flew away and a lone oxygen, both labelled with noise."""
    fitted = fit_uncertainty(potential, frames, frames[:4], num_directions=99)
    flown = structures[0] + Atoms("H", [[20.0, 0.0, 0.0]])
    with_flown = labelled(potential, [flown])[0]
    without = structures[0].copy()
    without.calc = SinglePointCalculator(without, forces=with_flown.get_forces()[:-1],
                                         energy=with_flown.get_potential_energy() - SHIFTS["H"])
    lone = labelled(potential, [Atoms("O")])[0]
    found, expected = (calibrate(potential, fitted, [*frames[:6], *more]) for more in ([with_flown, lone], [without]))
    assert found.forces_scale == pytest.approx(expected.forces_scale, rel=1e-6) and found.forces_scale > 0.1
    assert found.energy_scale == pytest.approx(expected.energy_scale, rel=1e-6)


def test_sigma_is_the_same_turned_and_in_a_batch(potential, frames):
    pot = Potential(potential.model, CONFIG, potential.device, potential.backend)
    pot.uncertainty = fit_uncertainty(potential, frames[:8], frames[8:12], num_directions=2)
    turned = frames[0].copy()
    turned.positions = turned.positions @ Rotation.random(random_state=4).as_matrix().T + [1.0, -2.0, 3.0]
    alone, *batch = pot.predict(frames[0], uncertainty=True), *pot.predict([frames[5], turned], uncertainty=True)
    assert batch[1]["forces_std"] == pytest.approx(alone["forces_std"], rel=1e-9)
    assert batch[1]["energy_std"] == pytest.approx(alone["energy_std"], rel=1e-9)
    assert np.ptp(alone["forces_std"]) > 0.1 * alone["forces_std"].mean()


def test_saved_and_loaded_it_says_the_same_and_belongs_to_its_weights(potential, frames, tmp_path):
    save_model(potential.model, CONFIG, tmp_path)
    with pytest.raises(ModelError, match="toolkit uncertainty fit"):
        load_potential(tmp_path, device="cpu").predict(frames[0], uncertainty=True)
    fitted = fit_uncertainty(potential, frames[:8], frames[8:12], num_directions=2)
    save_uncertainty(fitted, tmp_path)
    pot = Potential(potential.model, CONFIG, potential.device, potential.backend)
    pot.uncertainty = fitted
    here, there = (p.predict(frames[0], uncertainty=True)
                   for p in (pot, load_potential(tmp_path, device="cpu", dtype="float64")))
    assert np.array_equal(here["forces_std"], there["forces_std"]) and here["energy_std"] == there["energy_std"]
    header = tmp_path / "uncertainty.json"
    values = json.loads(header.read_text())
    for field, wrong in (("format_version", 2), ("weight", "readout.weights.0"), ("forces_scale", -1.0)):
        header.write_text(json.dumps({**values, field: wrong}))
        with pytest.raises(ModelError):
            load_potential(tmp_path, device="cpu").uncertainty
    header.write_text(json.dumps(values))
    other = build_potential(CONFIG.model_copy(update={"seed": 6}), dtype="float64")
    save_model(other.model, CONFIG, tmp_path)
    with pytest.raises(ModelError, match="fitted for other weights"):
        load_potential(tmp_path, device="cpu").predict(frames[0], uncertainty=True)


def test_error_bars_do_not_outlive_the_weights_they_were_fitted_for(potential, frames, tmp_path):
    save_model(potential.model, CONFIG, tmp_path)
    save_uncertainty(fit_uncertainty(potential, frames[:8], frames[8:12], num_directions=2), tmp_path)
    pot = load_potential(tmp_path, device="cpu")
    assert pot.predict(frames[0], uncertainty=True)["forces_std"].max() > 0.0
    pot.model = build_potential(CONFIG.model_copy(update={"seed": 5})).model
    with pytest.raises(ModelError, match="not loaded from a folder"):
        pot.predict(frames[0], uncertainty=True)


def test_a_fit_that_is_asked_to_stop_ends_at_once(potential, frames):
    with pytest.raises(KeyboardInterrupt):
        fit_uncertainty(potential, frames, frames, reporter=StopAtOnce())


def test_models_without_a_linear_last_layer_are_refused(frames):
    argon = pair_potential(LennardJones(("Ar",), 0.0104, 3.4, 7.5))
    with pytest.raises(ModelError, match="without a linear last layer"):
        fit_uncertainty(argon, frames, frames)
    with pytest.raises(ModelError, match="not loaded from a folder"):
        argon.predict(Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 3.8]]), uncertainty=True)
