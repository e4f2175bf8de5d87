"""The benchmark measures what it says: known waits, known systems, and backends that differ are caught."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from toolkit.bench import agreement
from toolkit.bench.agreement import agreement_rows
from toolkit.bench.measure import environment, peak_memory_GB, time_calls
from toolkit.bench.rows import Where, growth_rows, infer_row, md_row, train_row
from toolkit.bench.systems import REFERENCE_MODEL, aspirin, box
from toolkit.commands.bench import app
from toolkit.data.neighbors import neighbor_list
from toolkit.kernels.dispatch import BACKENDS, Backend
from toolkit.kernels.reference import ReferenceConvolution

CPU = torch.device("cpu")
SMALL = REFERENCE_MODEL.model_copy(update={"num_layers": 1, "l_max": 1, "num_features": 4})
QUICK = Where(device="cpu", backend="reference", seconds=0.0, model=SMALL)


def test_a_known_wait_is_measured_and_the_first_call_kept_apart():
    waits = iter([0.08] + [0.005] * 100)
    timing = time_calls(lambda: time.sleep(next(waits)), CPU, seconds=0.05, warmup=1, min_repeats=3)
    assert timing.first_s >= 0.08
    assert 0.005 <= timing.lower_quartile_s <= timing.median_s <= timing.upper_quartile_s < 0.06
    assert timing.repeats >= 3
    assert timing.process_s < 0.005  # sleeping takes no processor time


@pytest.mark.parametrize("num_atoms", [1000, 4000])
def test_boxes_have_fifty_neighbours_at_sane_distances_and_repeat(num_atoms):
    atoms = box(num_atoms)
    (i, j), shifts = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 5.0)
    lengths = np.linalg.norm(atoms.positions[j] - atoms.positions[i] + shifts @ atoms.cell.array, axis=1)
    assert len(i) / num_atoms == pytest.approx(50.0, abs=1.5)
    assert lengths.min() > 1.0
    assert set(atoms.get_chemical_symbols()) == {"C", "H", "O"}
    assert np.array_equal(atoms.positions, box(num_atoms).positions)
    assert not np.array_equal(atoms.positions, box(num_atoms, seed=1).positions)


def test_the_environment_names_device_precision_and_versions():
    found = environment(CPU, torch.float32, "reference")
    assert found["device"].startswith("CPU")
    assert (found["dtype"], found["backend"], found["threads"]) == ("float32", "reference", 1)
    assert found["versions"]["torch"] == torch.__version__
    assert 0.1 < peak_memory_GB(CPU) < 100.0
    assert len(aspirin(3)[2]) == 21


def test_rows_are_consistent():
    row = infer_row(QUICK, batch=2)
    assert (row["num_atoms"], row["batch"]) == (42, 2)
    assert row["frames_per_s"] * row["ms"] == pytest.approx(2000.0)
    assert row["atom_steps_per_s"] == pytest.approx(21 * row["frames_per_s"])
    row = train_row(QUICK, batch=1)
    assert row["frames_per_s"] * row["ms_per_step"] == pytest.approx(1000.0)
    row = md_row(QUICK, replicas=2, steps=4, repeats=1)
    assert row["replica_steps_per_s"] == pytest.approx(2 * row["steps_per_s"])
    assert row["steps_per_s"] == pytest.approx(4 / row["run_s"][0])


def test_growth_stops_at_the_last_size_and_before_the_time_is_up():
    assert [row["num_atoms"] for row in growth_rows(QUICK, first=30, last=60)] == [30, 60]
    assert [row["num_atoms"] for row in growth_rows(QUICK, first=30, last=60, limit_s=0.0)] == [30]


class ForgetfulConvolution(ReferenceConvolution):
    """Right in energies and forces; its derivative with respect to the radial weights is lost."""

    def forward(self, features, harmonics, weights, edges):
        return super().forward(features, harmonics, weights + 0.05 * (weights.detach() - weights), edges)


def test_a_backend_with_a_wrong_gradient_is_caught(monkeypatch):
    monkeypatch.setattr(agreement, "MODELS", [{"l_max": 1, "parity": False, "num_features": 3}])
    assert all(row["passed"] for row in agreement_rows("cpu"))
    monkeypatch.setitem(BACKENDS, "forgetful", Backend(ForgetfulConvolution, lambda device_type: None))
    rows = [row for row in agreement_rows("cpu") if row["backend"] == "forgetful"]
    assert [row["passed"] for row in rows] == [False, False]
    assert all(row["energies"] < 1e-5 < row["gradient"] for row in rows)


def test_the_command_writes_what_it_shows_and_refuses_an_unknown_backend(tmp_path):
    words = ["infer", "--device", "cpu", "--backend", "reference", "--seconds", "0", "--json", str(tmp_path / "row.json")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    row = json.loads((tmp_path / "row.json").read_text())
    assert {"ms", "frames_per_s", "first_result_s", "peak_memory_GB", "device", "dtype", "backend", "versions"} <= row.keys()
    assert CliRunner().invoke(app, ["infer", "--backend", "magic"]).exit_code == 2
