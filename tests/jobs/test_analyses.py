"""Analyses of trajectory files: exact answers for motion given by a formula, retired replicas, memory, commands."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule
from md_systems import argon, argon_potential
from synthetic_trajectories import write_trajectory
from typer.testing import CliRunner

from toolkit.analysis.internal_coordinates import torsions_deg
from toolkit.analysis.rdf import radial_distribution
from toolkit.cli import app
from toolkit.config import MDConfig
from toolkit.errors import DataError
from toolkit.jobs.analyses import trajectory_bonds, trajectory_gyration, trajectory_rdf, trajectory_rmsd
from toolkit.jobs.analyses_motion import parse_atoms, trajectory_msd, trajectory_torsions
from toolkit.jobs.analyses_spectra import trajectory_vdos
from toolkit.jobs.frames import FrameReader, open_frames
from toolkit.md.simulation import simulate
from toolkit.md.summary import summarize
from toolkit.md.trajectory import Trajectory
from toolkit.models.pair import HarmonicSprings, pair_potential
from toolkit.units import PER_FS_CM1

PEROXIDE = molecule("H2O2")
BREATHING_CM1 = np.array([900.0, 1500.0])
AMPLITUDE = 0.02


def breathing(times_fs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two replicas of H₂O₂, (t, 2, 4, 3), that swell and shrink, each at a frequency of its own."""
    omega = 2.0 * np.pi * BREATHING_CM1 / PER_FS_CM1
    angle = omega * times_fs[:, None]
    shape = PEROXIDE.positions
    return ((1.0 + AMPLITUDE * np.sin(angle))[..., None, None] * shape,
            (AMPLITUDE * omega * np.cos(angle))[..., None, None] * shape)


@pytest.fixture(scope="module")
def breathing_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trajectory(tmp_path_factory.mktemp("breathing") / "a.h5", PEROXIDE, breathing, 6000, timestep_fs=0.5,
                            save_every=4, replicas=2)


def test_every_analysis_of_a_known_motion(breathing_file):
    bonds = trajectory_bonds(breathing_file)
    oxygen = PEROXIDE.get_distance(0, 1)
    assert bonds["n_frames"] == 12_000 and set(bonds["bonds_A"]) == {"O0-O1", "O0-H2", "O1-H3"}
    assert bonds["bonds_A"]["O0-O1"]["mean"] == pytest.approx(oxygen, rel=1e-4)
    assert bonds["bonds_A"]["O0-O1"]["std"] == pytest.approx(oxygen * AMPLITUDE / np.sqrt(2.0), rel=0.01)
    assert bonds["bonds_A"]["O0-O1"]["maximum"] == pytest.approx(oxygen * (1.0 + AMPLITUDE), rel=1e-4)
    assert bonds["angles_deg"]["O1-O0-H2"]["std"] < 1e-4
    from_center = ((PEROXIDE.positions - PEROXIDE.get_center_of_mass()) ** 2).sum(axis=1)
    size = np.sqrt(np.average(from_center, weights=PEROXIDE.get_masses()))
    gyration = trajectory_gyration(breathing_file)
    assert gyration["radius_of_gyration_A"]["mean"] == pytest.approx(size, rel=1e-4)
    assert len(gyration["series"]["replicas"]) == 2 and len(gyration["series"]["time_ps"]) == 2000
    assert gyration["series"]["time_ps"][-1] == pytest.approx(5997 * 2e-3)
    rmsd = trajectory_rmsd(breathing_file, heavy_only=True)
    assert rmsd["rmsd_A"]["minimum"] < 1e-6
    assert rmsd["rmsd_A"]["maximum"] == pytest.approx(0.5 * oxygen * AMPLITUDE, rel=0.01)
    torsions = trajectory_torsions(breathing_file)["torsions"]["H2-O0-O1-H3"]
    assert torsions["most_probable_deg"] == pytest.approx(121.0, abs=2.5) and not torsions["is_methyl"]
    assert torsions_deg(PEROXIDE.positions[[2, 0, 1, 3]]) == pytest.approx(121.0, abs=0.1)
    peaks = trajectory_vdos(breathing_file, resolution_cm1=10.0)["peaks"]
    assert peaks["frequency_cm1"] == pytest.approx(BREATHING_CM1, abs=0.3)
    assert trajectory_rdf(breathing_file)["pairs"]["O-O"]["peak_A"] == pytest.approx(oxygen, abs=0.05)


def test_skipping_and_striding(breathing_file):
    assert trajectory_bonds(breathing_file, skip_ps=2.0)["n_frames"] == 10_000
    assert trajectory_bonds(breathing_file, skip_ps=2.0, stride=7)["n_frames"] == 2 * 715
    assert trajectory_rdf(breathing_file, stride=100)["n_frames"] == 120
    assert np.isfinite(trajectory_rdf(breathing_file, stride=100)["pairs"]["O-O"]["stderr"]).all()
    with open_frames(breathing_file, 1.0, 3) as reader:
        whole = reader.trajectory.positions(500)[::3]
        assert np.array_equal(np.concatenate(list(reader.chunks())), np.concatenate([whole[:, 0], whole[:, 1]]))
        windows = [np.concatenate(list(window)) for window in reader.windows(4)]
        assert np.array_equal(np.concatenate([window[:, 0] for window in windows[:4]]), whole[:458 * 4, 0])
        segments = list(reader.segments("positions", 300))
        assert np.array_equal(segments[1], whole[150:450, 0]) and reader.interval_fs == 6.0
    for wrong in ({"skip_ps": 12.0}, {"skip_ps": -1.0}, {"stride": 0}):
        with pytest.raises(DataError, match="skip"):
            trajectory_bonds(breathing_file, **wrong)


def test_a_retired_replica_counts_while_it_lives(tmp_path):
    path = write_trajectory(tmp_path / "a.h5", PEROXIDE, breathing, 4000, timestep_fs=0.5, save_every=4, replicas=2)
    with h5py.File(path, "r+") as file:
        file["alive"][1000:, 0] = False
        for name in ("positions", "velocities", "temperature"):
            file[name][1000:, 0] = np.nan
    assert trajectory_bonds(path)["n_frames"] == 5000
    assert trajectory_bonds(path, skip_ps=4.0)["n_frames"] == 2000
    series = trajectory_gyration(path)["series"]["replicas"]
    assert (len(series[0]), len(series[1])) == (500, 2000)
    found = trajectory_vdos(path, resolution_cm1=8.0)
    assert found["n_segments"] == 0 + 2  # of 2085 frames, which the first replica does not have
    assert found["peaks"]["frequency_cm1"] == pytest.approx(BREATHING_CM1[1:], abs=0.3)
    found = trajectory_vdos(path, resolution_cm1=20.0)
    assert found["n_segments"] == 1 + 8
    density = np.array(found["curves"]["total"]["values"])
    assert density[int(900.0 / 20.0)] > 0.01 * density.max() > 100.0 * density[int(1200.0 / 20.0)]
    assert trajectory_msd(path)["n_blocks"] == 1 + 5


def tumbling(times_fs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Four replicas (t, 4, 3, 3) whose atoms go round in circles of 1 Å."""
    angle = 0.05 * times_fs[:, None, None] + np.arange(12.0).reshape(4, 3)
    around = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=-1)
    return around, 0.05 * np.stack([-np.sin(angle), np.cos(angle), np.zeros_like(angle)], axis=-1)


def test_mean_squared_displacement_of_circles(tmp_path):
    path = write_trajectory(tmp_path / "a.h5", molecule("H2O"), tumbling, 1500, timestep_fs=1.0, replicas=4)
    found = trajectory_msd(path)
    exact = 2.0 - 2.0 * np.cos(0.05 * 1e3 * np.array(found["lag_ps"]))
    assert found["n_blocks"] == 12 and found["lag_ps"][-1] == pytest.approx(0.24)
    assert found["curves"]["total"]["values_A2"] == pytest.approx(exact, abs=1e-5)
    assert "not periodic" in found["finite_size_note"]
    assert {curve["diffusion_cm2_per_s"] for curve in found["curves"].values()} == {None}


def test_a_crystal_that_drifts_does_not_diffuse(tmp_path):
    """A Langevin bath pushes the centre of mass about; nothing moves within the crystal."""
    crystal = bulk("Ar", "fcc", a=5.3, cubic=True)
    walk = np.cumsum(np.random.default_rng(0).normal(0.0, 0.05, (400, 1, 1, 3)), axis=0)
    path = write_trajectory(tmp_path / "a.h5", crystal,
                            lambda t: (crystal.positions + walk, np.zeros((400, 1, 4, 3))), 400, timestep_fs=10.0)
    found = trajectory_msd(path)
    assert np.abs(found["curves"]["total"]["values_A2"]).max() < 1e-9
    assert found["curves"]["total"]["diffusion_cm2_per_s"] is None
    assert "no diffusion constant where the MSD does not grow as the lag, beyond 0.5 Å² (total as" in found["finite_size_note"]
    single = Atoms("Ar4", crystal.positions)
    path = write_trajectory(tmp_path / "b.h5", single,
                            lambda t: (crystal.positions + walk, np.zeros((400, 1, 4, 3))), 400, timestep_fs=10.0)
    assert trajectory_msd(path)["curves"]["total"]["values_A2"][-1] > 0.01
    with pytest.raises(DataError, match="too few for 10 parts"):
        trajectory_msd(path, stride=60)


@pytest.mark.parametrize(("settings", "expected"), [
    ({"ensemble": "nve", "temperature_K": 320.0}, 300.0), ({"ensemble": "langevin", "temperature_K": 320.0}, 320.0),
    ({"ensemble": "langevin", "ladder_K": (310.0, 310.0)}, 310.0)])
def test_free_energies_are_of_the_temperature_of_the_bath(tmp_path, settings, expected):
    """Positions of the integrator are as warm as the bath at steps at which its velocities seem colder."""
    path = write_trajectory(tmp_path / "a.h5", PEROXIDE, breathing, 200, replicas=2, **settings)
    assert trajectory_torsions(path)["temperature_K"] == expected


@pytest.mark.parametrize("pbc", [(True, True, False), (False, True, False)])
def test_diffusion_in_slabs_and_wires_is_along_them(tmp_path, pbc):
    """Walkers with D = σ²/2Δt, less their share of the centre of mass, along the periodic vectors of a turned cell, and rattling
    across."""
    random, frames = np.random.default_rng(0), 2000
    basis = np.linalg.qr(random.normal(size=(3, 3)))[0]
    atoms = Atoms("Ar8", random.uniform(0.0, 20.0, (8, 3)), cell=20.0 * basis, pbc=pbc)

    def motion(times_fs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        steps = random.normal(0.0, 0.5, (frames, 4, 8, 3))
        moved = np.where(np.array(pbc), np.cumsum(steps, axis=0), 5.0 * steps) @ basis
        return atoms.positions + moved, np.zeros_like(moved)

    found = trajectory_msd(write_trajectory(tmp_path / "a.h5", atoms, motion, frames, timestep_fs=10.0, replicas=4))
    curve = found["curves"]["total"]
    error = curve["diffusion_cm2_per_s"] - (1.0 - 1.0 / len(atoms)) * 0.1 * 0.5**2 / (2.0 * 10.0)
    assert abs(error) < 4.0 * curve["diffusion_cm2_per_s_stderr"] < 0.4 * curve["diffusion_cm2_per_s"]
    assert f"{sum(pbc)} periodic direction" in found["finite_size_note"]


def test_the_mobile_element_of_a_crystal_diffuses(tmp_path):
    """Four Li walk with D = σ²/2Δt, less their share of the centre of mass, while Cl rattles about its sites."""
    salt = bulk("LiCl", "rocksalt", a=5.1, cubic=True)
    random, frames, lithium = np.random.default_rng(0), 2000, salt.numbers == 3

    def motion(times_fs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        steps = random.normal(0.0, 0.5, (frames, 1, len(salt), 3))
        moved = np.where(lithium[:, None], np.cumsum(steps, axis=0), 0.2 * steps)
        return salt.positions + moved, np.zeros_like(moved)

    found = trajectory_msd(write_trajectory(tmp_path / "a.h5", salt, motion, frames, timestep_fs=10.0))
    lithium_found, chlorine = found["curves"]["Li"], found["curves"]["Cl"]
    assert abs(lithium_found["exponent"] - 1.0) < 4.0 * lithium_found["exponent_stderr"] < 0.5
    share = salt.get_masses()[lithium][0] / salt.get_masses().sum()
    expected = 0.1 * 0.5**2 / (2.0 * 10.0) * ((1.0 - share) ** 2 + 3.0 * share**2)
    error = lithium_found["diffusion_cm2_per_s_stderr"]
    assert abs(lithium_found["diffusion_cm2_per_s"] - expected) < 4.0 * error < 0.5 * expected
    assert chlorine["diffusion_cm2_per_s"] is None and "Cl as lag^" in found["finite_size_note"]


@pytest.mark.parametrize("several", [{"ladder_K": (100.0, 900.0)}, {"final_temperature_K": 600.0}])
def test_several_temperatures_have_no_mean_and_no_free_energy(tmp_path, several):
    config = MDConfig(temperature_K=100.0, timestep_fs=0.5, steps=40, replicas=2, **several)
    with simulate(pair_potential(HarmonicSprings(("H", "O"), 5.0, 1.2, 2.0)), PEROXIDE, config, tmp_path / "a.h5") as run:
        assert summarize(run)["temperature_mean_K"] is None
    for analysis in (trajectory_torsions, trajectory_bonds, trajectory_vdos, trajectory_msd):
        with pytest.raises(DataError, match="several temperatures"):
            analysis(tmp_path / "a.h5")


def test_the_finite_size_note_of_boxes(tmp_path):
    argon = Atoms("Ar", [[0.0, 0.0, 0.0]], cell=[20.0] * 3, pbc=True)
    path = write_trajectory(tmp_path / "a.h5", argon, lambda t: (np.zeros((len(t), 1, 1, 3)),) * 2, 200)
    assert "give the viscosity" in trajectory_msd(path)["finite_size_note"]
    correction = trajectory_msd(path, viscosity_mPa_s=0.5)["finite_size_correction_cm2_per_s"]
    assert correction == pytest.approx(6.23e-6, rel=0.01)
    for viscosity in (0.0, -1.0):
        with pytest.raises(DataError, match="a viscosity of"):
            trajectory_msd(path, viscosity_mPa_s=viscosity)
    argon.set_cell([20.0, 20.0, 30.0])
    path = write_trajectory(tmp_path / "b.h5", argon, lambda t: (np.zeros((len(t), 1, 1, 3)),) * 2, 200)
    assert "not cubic" in trajectory_msd(path, viscosity_mPa_s=0.5)["finite_size_note"]


def test_a_box_that_changes_is_followed(tmp_path):
    config = MDConfig(ensemble="npt", temperature_K=40.0, timestep_fs=4.0, steps=60, save_every=2, replicas=2,
                      pressure_GPa=0.5, barostat_fs=100.0)
    path = tmp_path / "npt.h5"
    with simulate(argon_potential(), argon(), config, path) as trajectory:
        both = trajectory.positions(), trajectory.cells()
        positions, cells = (values.swapaxes(0, 1).reshape(62, -1, 3) for values in both)
    found = trajectory_rdf(path, r_max_A=6.0, bin_width_A=0.2)
    exact = radial_distribution(positions, np.full(32, 18), cells, 6.0, 0.2).values[0]
    assert np.ptp(np.linalg.det(cells)) > 10.0 and np.allclose(found["pairs"]["total"]["values"], exact)
    assert "box changes" in trajectory_msd(path, fit_from_ps=0.0, fit_to_ps=1.0)["finite_size_note"]
    with pytest.raises(DataError, match="cell that changes"):
        trajectory_bonds(_with_neighbours_across(path))


def test_a_slab_meets_its_images_whatever_its_cell_says_about_the_vacuum(tmp_path):
    slab = graphene("C2", size=(2, 2, 1))
    for vacuum in (None, 3.0):
        if vacuum is not None:
            slab.center(vacuum, axis=2)
        path = write_trajectory(tmp_path / f"{vacuum}.h5", slab,
                                lambda t: (np.broadcast_to(slab.positions, (len(t), 1, 8, 3)),) * 2, 3)
        found = trajectory_rdf(path, bin_width_A=0.05)
        assert found["quantity"] == "neighbours per atom, 1/Å"
        assert found["pairs"]["C-C"]["coordination"][31] == pytest.approx(3.0)  # up to 1.6 Å


def test_motion_with_a_soft_cell_is_not_taken_for_a_wrong_time_axis(tmp_path):
    config = MDConfig(ensemble="npt", temperature_K=40.0, timestep_fs=10.0, steps=1600, save_every=1)
    path = tmp_path / "npt.h5"
    simulate(argon_potential(), argon(), config, path).close()
    found = trajectory_vdos(path, 4.0)
    assert found["folded_fraction"] < 0.02 and found["temperature_K"] == pytest.approx(40.0, rel=0.2)
    with h5py.File(path, "r+") as file:
        file.attrs["timestep_fs"] = 14.0
    with pytest.raises(DataError, match="do not fit the positions"):
        trajectory_vdos(path, 4.0)


def _with_neighbours_across(path: Path) -> Path:
    """The same run, its atoms said to be of an element so large that neighbours are bonded."""
    with h5py.File(path, "r+") as file:
        file["atomic_numbers"][:] = 55
    return path


def swelling(times_fs: np.ndarray, atoms: Atoms = PEROXIDE) -> tuple[np.ndarray, np.ndarray]:
    """One replica of a molecule, breathing at 1500 cm⁻¹."""
    omega = 2.0 * np.pi * 1500.0 / PER_FS_CM1
    shape = atoms.positions.astype(np.float32)
    angle = (omega * times_fs).astype(np.float32)[:, None, None, None]
    return (1.0 + AMPLITUDE * np.sin(angle)) * shape, AMPLITUDE * np.float32(omega) * np.cos(angle) * shape


LONG_ANALYSES: dict[str, Callable[[Path], object]] = {
    "rdf": trajectory_rdf, "bonds": trajectory_bonds, "rmsd": trajectory_rmsd, "msd": trajectory_msd,
    "vdos": trajectory_vdos,
    "torsion": lambda path: trajectory_torsions(path, atoms=(2, 0, 1, 3)),
}


def peak_bytes(function: Callable[[Path], object], path: Path) -> int:
    tracemalloc.start()
    try:
        function(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("frames", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_long_trajectories_are_analysed_in_bounded_memory(tmp_path, frames):
    """Only scalars grow with the run (temperatures, who is alive): less than the positions in single precision."""
    path = write_trajectory(tmp_path / "long.h5", PEROXIDE, swelling, frames, timestep_fs=1.0)
    used = {name: peak_bytes(function, path) for name, function in LONG_ANALYSES.items()}
    print({name: f"{size / 2**20:.1f} MiB" for name, size in used.items()})
    assert max(used.values()) < (12 << 20) + 20 * frames
    with Trajectory(path) as trajectory:
        everything = peak_bytes(lambda _: trajectory.positions().astype(np.float64), path)
    assert everything > 100 * frames  # what reading it all at once takes


@pytest.mark.parametrize(("words", "keys"), [
    (["vdos", "--resolution-cm1", "10"], {"frequency_cm1", "curves", "peaks", "nyquist_cm1", "temperature_K"}),
    (["torsion", "--bins", "36"], {"angle_deg", "torsions", "maps", "series", "temperature_K"}),
    (["torsion", "--atoms", "2,0,1,3"], {"torsions"}), (["msd", "--skip-ps", "1"], {"lag_ps", "curves", "n_blocks"}),
    (["rmsd", "--heavy-only"], {"rmsd_A", "series"}), (["bonds", "--stride", "5"], {"bonds_A", "angles_deg"}),
    (["gyration"], {"radius_of_gyration_A"}), (["rdf", "--stride", "50"], {"r_A", "pairs"}),
])
def test_commands_write_what_they_found(breathing_file, tmp_path, words, keys):
    command = ["analyze", words[0], str(breathing_file), *words[1:], "--json", str(tmp_path / "a.json")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert keys <= json.loads((tmp_path / "a.json").read_text()).keys()


@pytest.mark.parametrize(("words", "message"), [
    (["torsion", "--atoms", "1,2"], "four numbers"), (["torsion", "--atoms", "3,0,1,2"], "not bonded"),
    (["msd", "--fit-from-ps", "99"], "at least 2"), (["vdos", "--highest-cm1", "8000"], "save a frame"),
    (["rmsd", "--reference", "embedded:aspirin"], "atoms of the trajectory"),
    (["rdf", "--skip-ps", "99"], "--skip-ps 99"), (["ir", "nothing.npy"], "cannot read the dipole moments"),
])
def test_mistakes_get_one_line(breathing_file, words, message):
    done = CliRunner().invoke(app, ["analyze", words[0], str(breathing_file), *words[1:]])
    assert done.exit_code == 2 and message in " ".join(done.output.split())


def test_a_rigid_molecule_has_no_torsion(tmp_path):
    path = write_trajectory(tmp_path / "a.h5", molecule("H2O"), lambda times: swelling(times, molecule("H2O")), 100)
    with pytest.raises(DataError, match="no rotatable bond"):
        trajectory_torsions(path)
    with pytest.raises(DataError, match="four numbers"):
        parse_atoms("a,b,c,d")
    with Trajectory(path) as trajectory, pytest.raises(DataError, match="0.05 ps"):
        FrameReader(trajectory, skip_ps=1.0)


def test_a_torsion_has_four_atoms_and_a_spectrum_an_end(breathing_file):
    with pytest.raises(DataError, match="names an atom twice"):
        trajectory_torsions(breathing_file, atoms=(2, 0, 2, 0))
    for highest in (0.0, -5.0, float("nan")):
        with pytest.raises(DataError, match="as the highest mode"):
            trajectory_vdos(breathing_file, highest_cm1=highest)


def test_the_noise_of_a_langevin_bath_is_no_wrong_time_axis(tmp_path):
    """An Einstein crystal whose frames are saved 20 times faster than it vibrates."""
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True) * (2, 2, 2)
    random = np.random.default_rng(0)
    omega, step, gamma = 2.0 * np.pi * 80.0 / PER_FS_CM1, 5.0, 0.01
    states = []
    x, v, decay = np.zeros((len(atoms), 3)), random.normal(0.0, 1e-3, (len(atoms), 3)), np.exp(-gamma * step)
    for _ in range(24_000):  # BAOAB with unit mass and a spread of velocities of 1e-3 Å/fs
        v = v - 0.5 * step * omega**2 * x
        x = x + 0.5 * step * v
        v = decay * v + 1e-3 * np.sqrt(1.0 - decay**2) * random.normal(size=v.shape)
        x = x + 0.5 * step * v
        v = v - 0.5 * step * omega**2 * x
        states.append((x, v))
    motion = np.array(states[::2])

    def walk(times_fs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.rint(times_fs / 10.0).astype(int)
        return atoms.positions + motion[rows, None, 0], motion[rows, None, 1]

    path = write_trajectory(tmp_path / "a.h5", atoms, walk, len(motion), timestep_fs=5.0, save_every=2, ensemble="langevin",
                            friction_per_fs=gamma, temperature_K=300.0)
    found = trajectory_vdos(path, resolution_cm1=10.0)
    highest = max(zip(found["peaks"]["height"], found["peaks"]["frequency_cm1"], strict=True))[1]
    assert abs(highest - 80.0) < 5.0
    shifted = write_trajectory(tmp_path / "b.h5", atoms, lambda t: (walk(t)[0], 1.3 * walk(t)[1]), len(motion), timestep_fs=5.0,
                               save_every=2, ensemble="langevin", friction_per_fs=gamma, temperature_K=300.0)
    with pytest.raises(DataError, match="nve or csvr"):
        trajectory_vdos(shifted, resolution_cm1=10.0)
    assert trajectory_vdos(shifted, resolution_cm1=10.0, highest_cm1=120.0)["peaks"]["frequency_cm1"]


def test_a_replica_of_a_ladder_is_analysed_alone(tmp_path):
    """Circles of three sizes: each replica is what a file of it alone would say, at its own temperature."""
    sizes = np.array([0.1, 0.2, 0.4])

    def motion(times_fs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        position, velocity = swelling(times_fs)
        centre = PEROXIDE.positions.astype(np.float32)
        return centre + (position - centre) * sizes[:, None, None], velocity * sizes[:, None, None]

    ladder = {"ensemble": "langevin", "ladder_K": (100.0, 300.0, 600.0)}
    path = write_trajectory(tmp_path / "a.h5", PEROXIDE, motion, 3000, replicas=3, **ladder)
    alone = write_trajectory(tmp_path / "b.h5", PEROXIDE, lambda t: tuple(x[:, 1:2] for x in motion(t)), 3000, ensemble="langevin",
                             temperature_K=300.0)
    for analysis in (trajectory_bonds, trajectory_vdos, trajectory_msd, trajectory_torsions, trajectory_rdf, trajectory_gyration,
                     trajectory_rmsd):
        assert json.dumps(analysis(path, replica=1)) == json.dumps(analysis(alone))
    spreads = [trajectory_bonds(path, replica=r)["bonds_A"]["O0-O1"]["std"] for r in range(3)]
    assert np.allclose(np.array(spreads) / spreads[0], sizes / sizes[0], rtol=1e-3)
    assert [trajectory_torsions(path, replica=r)["temperature_K"] for r in range(3)] == [100.0, 300.0, 600.0]
    with pytest.raises(DataError, match="found replica 3"):
        trajectory_bonds(path, replica=3)
    ramp = write_trajectory(tmp_path / "c.h5", PEROXIDE, swelling, 300, ensemble="langevin", final_temperature_K=500.0)
    with pytest.raises(DataError, match="several temperatures"):
        trajectory_bonds(ramp, replica=0)
    done = CliRunner().invoke(app, ["analyze", "torsion", str(path), "--replica", "2", "--json", str(tmp_path / "t.json")])
    assert done.exit_code == 0 and json.loads((tmp_path / "t.json").read_text())["temperature_K"] == 600.0
