"""The Triton kernels in Triton's interpreter (no GPU needed), against the reference in float64."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.kernels.generator import MAX_ENTRIES, fused_source, path_groups
from toolkit.kernels.paths import PathTable

pytest.importorskip("triton")


@pytest.fixture(scope="module")
def errors(root) -> dict[str, float]:
    """What `fused_cases` measures."""
    done = subprocess.run([sys.executable, str(Path(__file__).with_name("fused_cases.py"))], capture_output=True, text=True,
                          env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(root)}, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_interpreted_kernels_equal_the_reference(errors):
    limits = {key: 1e-5 if "inference" in key else 1e-3 if "float32" in key else 1e-12 for key in errors}
    assert len(errors) == 5 + 3 + 3 * 3 + 2 + 3 * 3 + 2 * 2
    assert {key: error for key, error in errors.items() if not error < limits[key]} == {}
    assert min(error for key, error in errors.items() if "float32" in key) > 1e-9  # it did run in float32


def test_large_tables_are_split_and_every_path_is_written_once():
    from e3nn import o3

    irreps = o3.Irreps("8x0e+8x1o+8x2e+8x3o")
    table = PathTable(irreps, 3, irreps)
    groups = path_groups(table)
    assert sorted(sum(groups, [])) == list(range(len(table.paths))) and len(groups) > 2
    assert all(sum(len(table.paths[p].entries) for p in group) <= MAX_ENTRIES for group in groups)
    source = fused_source(table)
    assert all(source.count(f"d_weights + e * {table.num_weights} + {8 * p} + lane, dw{p},") == 1
               for p in range(len(table.paths)))
