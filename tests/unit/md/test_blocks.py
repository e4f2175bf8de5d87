"""Blocks of steps that nobody looks at give what the careful steps give, also when a block has to be undone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from md_systems import ExternalField, argon, argon_potential, free_field
from test_trajectory_files import StopAt, assert_same
from toolkit.config import MDConfig, ModelConfig
from toolkit.data.graph import AtomicGraph, edge_vectors, graph_from_atoms
from toolkit.md import blocks, simulation
from toolkit.md.blocks import BlockRunner, fill_up
from toolkit.md.simulation import simulate
from toolkit.md.trajectory import Trajectory
from toolkit.models.pair import LennardJones, pair_potential
from toolkit.models.potential import Potential, build_potential

CONFIG = MDConfig(temperature_K=80.0, timestep_fs=4.0, steps=300, save_every=7, replicas=2, seed=3, skin=0.3)
METHANE = molecule("CH4")


@pytest.fixture
def in_blocks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Blocks on the CPU too; the list grows by (steps tried, good steps) of every attempt."""
    monkeypatch.setattr(simulation, "BLOCK_DEVICES", frozenset({"cpu"}))
    attempts: list[tuple[int, int]] = []
    run = BlockRunner._run

    def noted(self: BlockRunner, recording: object, first: int, length: int) -> tuple[np.ndarray, int]:
        times, good = run(self, recording, first, length)
        attempts.append((length, good))
        return times, good

    monkeypatch.setattr(BlockRunner, "_run", noted)
    return attempts


def done(attempts: list[tuple[int, int]]) -> list[int]:
    """The lengths of the blocks that counted."""
    return [length for length, good in attempts if good == length]


def careful(pot: object, atoms: object, config: MDConfig, **more: object) -> Trajectory | list[Trajectory]:
    """The same run step by step."""
    kept, simulation.BLOCK_DEVICES = simulation.BLOCK_DEVICES, frozenset()
    try:
        return simulate(pot, atoms, config, **more)
    finally:
        simulation.BLOCK_DEVICES = kept


def differences(first: Trajectory, second: Trajectory) -> float:
    """Largest difference in positions (Å) and energies (eV)."""
    assert first.num_frames == second.num_frames and np.array_equal(first.times_fs, second.times_fs)
    return max(float(np.nanmax(np.abs(first.positions() - second.positions()))),
               float(np.nanmax(np.abs(first.conserved_energy_eV - second.conserved_energy_eV))))


@pytest.mark.parametrize("ensemble", ["nve", "langevin", "csvr", "nose-hoover", "npt"])
def test_blocks_are_the_careful_steps(in_blocks, ensemble):
    config = CONFIG.model_copy(update={"ensemble": ensemble})
    run = simulate(argon_potential(), argon(1), config)
    assert differences(run, careful(argon_potential(), argon(1), config)) < 1e-12
    assert sum(done(in_blocks)) > 290 and np.ptp(run.positions(), axis=0).max() > 0.2


def weak_argon() -> Potential:
    """A potential for inner steps, with a list of its own reach."""
    return pair_potential(LennardJones(("Ar",), 0.9 * 0.0104, 3.4, 6.0))


def test_blocks_of_inner_steps_are_the_careful_ones_and_mind_both_lists(in_blocks):
    config = CONFIG.model_copy(update={"timestep_fs": 8.0, "inner_steps": 2, "temperature_K": 300.0, "skin": 0.2})
    run = simulate(argon_potential(), argon(1), config, inner=weak_argon())
    expected = careful(argon_potential(), argon(1), config, inner=weak_argon())
    assert differences(run, expected) < 1e-12
    assert len(done(in_blocks)) < len(in_blocks) and sum(done(in_blocks)) > 250


def test_steps_at_which_the_inner_potential_strays_are_left_to_care(in_blocks):
    config = CONFIG.model_copy(update={"timestep_fs": 8.0, "inner_steps": 2, "inner_tolerance_eV_per_A": 0.009})
    run = simulate(argon_potential(), argon(1), config, inner=weak_argon())
    assert differences(run, careful(argon_potential(), argon(1), config, inner=weak_argon())) < 1e-12
    assert 20 < sum(done(in_blocks)) < 280


@pytest.mark.gpu
@pytest.mark.filterwarnings("error:this step could not be recorded")
@pytest.mark.parametrize("replicas", [1, 64])
def test_on_a_gpu_one_run_after_another_is_recorded(monkeypatch, replicas):
    """A failed recording warns; the second run's must survive the end of the first's."""
    pot = build_potential(ModelConfig(species=("H", "C"), num_layers=2, l_max=1, num_features=8, r_max=4.0,
                                      per_species_energy_scales={"H": 1e-4, "C": 1e-4}), device="cuda", dtype="float64")
    config = MDConfig(temperature_K=1.0, timestep_fs=0.5, steps=60, replicas=replicas, save_every=7, seed=3)
    first, second = (simulate(pot, METHANE, config) for _ in range(2))
    monkeypatch.setattr(simulation, "BLOCK_DEVICES", frozenset())
    expected = simulate(pot, METHANE, config)
    assert differences(first, second) < 1e-15 and differences(first, expected) < 1e-9


@pytest.mark.gpu
@pytest.mark.filterwarnings("error:this step could not be recorded")
@pytest.mark.parametrize("ensemble", ["nve", "langevin", "csvr", "nose-hoover", "npt"])
def test_every_ensemble_is_recorded_on_a_gpu(monkeypatch, ensemble):
    on_cpu = argon_potential()
    pot = Potential(on_cpu.model, on_cpu.config, torch.device("cuda"), on_cpu.backend)
    config = CONFIG.model_copy(update={"ensemble": ensemble})
    run = simulate(pot, argon(1), config)
    monkeypatch.setattr(simulation, "BLOCK_DEVICES", frozenset())
    assert differences(run, simulate(pot, argon(1), config)) < 1e-9


@pytest.mark.gpu
@pytest.mark.filterwarnings("error:this step could not be recorded")
def test_inner_steps_are_recorded_on_a_gpu(monkeypatch):
    pot, inner = (Potential(made.model, made.config, torch.device("cuda"), made.backend)
                  for made in (argon_potential(), weak_argon()))
    config = CONFIG.model_copy(update={"timestep_fs": 8.0, "inner_steps": 2})
    run = simulate(pot, argon(1), config, inner=inner)
    monkeypatch.setattr(simulation, "BLOCK_DEVICES", frozenset())
    assert differences(run, simulate(pot, argon(1), config, inner=inner)) < 1e-9


def test_only_the_good_steps_of_a_block_whose_list_ran_out_are_kept(in_blocks):
    config = CONFIG.model_copy(update={"temperature_K": 300.0, "skin": 0.2, "ensemble": "csvr"})
    run = simulate(argon_potential(), argon(1), config)
    (tried, good), (again, kept) = in_blocks[:2]
    assert tried == 128 and 0 < good == again == kept < 64
    assert sum(done(in_blocks)) == 300
    assert differences(run, careful(argon_potential(), argon(1), config)) < 1e-12


def test_a_bond_that_breaks_within_a_block_retires_its_replica_at_the_same_step(in_blocks):
    """Without forces the atoms of a molecule fly apart, each replica at its time."""
    config = MDConfig(temperature_K=5.0, friction_per_fs=0.001, timestep_fs=1.0, steps=400, replicas=6, save_every=10,
                      seed=4)
    field = ExternalField(free_field)
    run, expected = simulate(field, METHANE, config), careful(field, METHANE, config)
    assert 1 < len({b.time_fs for b in run.breaks}) and len(run.breaks) == len(expected.breaks)
    for ours, theirs in zip(run.breaks, expected.breaks, strict=True):
        assert (ours.replica, ours.time_fs, ours.reason) == (theirs.replica, theirs.time_fs, theirs.reason)
        assert np.array_equal(ours.positions, theirs.positions)
    assert np.array_equal(run.alive, expected.alive)
    careful_steps = len({b.time_fs for b in run.breaks})
    assert len(done(in_blocks)) < len(in_blocks) and sum(done(in_blocks)) == run.steps_done - careful_steps
    assert differences(run, expected) < 1e-12


@pytest.mark.parametrize("ensemble", ["langevin", "nose-hoover", "npt"])
def test_stop_and_resume_between_and_within_blocks(in_blocks, tmp_path, ensemble):
    config = CONFIG.model_copy(update={"ensemble": ensemble})
    whole = simulate(argon_potential(), argon(1), config)
    simulate(argon_potential(), argon(1), config, tmp_path / "a.h5", reporter=StopAt(2)).close()
    simulation.BLOCK_DEVICES = frozenset()  # go on with care, and stop where no block would end
    simulate(argon_potential(), argon(1), config, tmp_path / "a.h5", resume=True, reporter=StopAt(11)).close()
    simulation.BLOCK_DEVICES = frozenset({"cpu"})
    run = simulate(argon_potential(), argon(1), config, tmp_path / "a.h5", resume=True)
    assert_same(run, whole)


def test_a_failure_within_a_block_puts_the_noise_back(in_blocks, tmp_path):
    pot, calls = argon_potential(), []
    inner = pot.evaluate

    def failing(graph: AtomicGraph) -> dict[str, torch.Tensor]:
        calls.append(1)
        if len(calls) == 60:
            raise KeyboardInterrupt
        return inner(graph)

    pot.evaluate = failing
    with pytest.raises(KeyboardInterrupt):
        simulate(pot, argon(1), CONFIG, tmp_path / "a.h5")
    run = simulate(argon_potential(), argon(1), CONFIG, tmp_path / "a.h5", resume=True)
    assert_same(run, simulate(argon_potential(), argon(1), CONFIG))


def test_several_systems_in_blocks(in_blocks):
    systems = [argon(1), Atoms("Ar3", positions=[[0, 0, 0], [0, 0, 3.8], [0, 3.7, 0]])]
    config = CONFIG.model_copy(update={"temperature_K": 20.0})
    for run, expected in zip(simulate(argon_potential(), systems, config), careful(argon_potential(), systems, config),
                             strict=True):
        assert differences(run, expected) < 1e-12
    assert sum(done(in_blocks)) == 300


def test_many_frames_do_not_fill_the_device(in_blocks, monkeypatch):
    monkeypatch.setattr(blocks, "MAX_WAITING_BYTES", 3000)
    run = simulate(argon_potential(), argon(1), CONFIG)
    assert max(done(in_blocks)) <= 7 * 12
    assert differences(run, careful(argon_potential(), argon(1), CONFIG)) < 1e-12


@pytest.mark.parametrize("atoms", [argon(1), molecule("CH3CH2OH"), Atoms("Ar2", positions=[[0, 0, 0], [3, 0, 0]],
                                                                       cell=[0, 4.0, 0], pbc=(False, True, False))])
def test_edges_that_fill_the_room_are_far_too_long_to_count(atoms):
    graph = graph_from_atoms(atoms, 3.0)
    filled = fill_up(graph, graph.num_edges + 5)
    lengths = torch.linalg.vector_norm(edge_vectors(filled, filled.positions, filled.cell), dim=1)
    real = torch.linalg.vector_norm(edge_vectors(graph, graph.positions, graph.cell), dim=1)
    assert torch.equal(lengths[:-5], real) and float(lengths[-5:].min()) > 900.0
    assert bool((filled.edge_index[0].diff() >= 0).all())  # still sorted by centre
    if set(atoms.symbols) == {"Ar"}:
        pot = argon_potential(3.0)
        expected, found = pot.evaluate(graph), pot.evaluate(filled)
        assert torch.equal(found["energy"], expected["energy"]) and torch.equal(found["forces"], expected["forces"])


def test_a_recording_follows_lists_that_change():
    """The buffers that a recorded step reads are overwritten in place, with all that was worked out from the edges."""
    graph = graph_from_atoms(argon(1), 5.0)
    static = fill_up(graph, graph.num_edges + 80)
    assert static.edges.by_neighbor.shape == (graph.num_edges + 80,)
    other = graph_from_atoms(argon(1), 5.5)
    room = static.num_edges
    assert other.num_edges != graph.num_edges and other.num_edges <= room
    pointer = static.edges.by_neighbor.data_ptr()
    blocks._overwrite(static, fill_up(other, room))
    fresh = replace(fill_up(other, room))
    assert torch.equal(static.edge_index, fresh.edge_index) and torch.equal(static.cell_shifts, fresh.cell_shifts)
    assert torch.equal(static.edges.by_neighbor, fresh.edges.by_neighbor)
    assert static.edges.by_neighbor.data_ptr() == pointer

