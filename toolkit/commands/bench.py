"""`toolkit bench …`: how fast this machine is, on the reference system aspirin-L2."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from toolkit.commands.common import JsonFile, guarded
from toolkit.console import show_result, write_json

app = typer.Typer(no_args_is_help=True, help="Measure speed: medians after a warm-up, with device and versions.")

Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 …")]
Dtype = Annotated[str, typer.Option("--dtype", help="float32 or float64")]
Backend = Annotated[str, typer.Option("--backend", help="auto, reference, compiled, fused")]
Seconds = Annotated[float, typer.Option("--seconds", min=0.0, help="how long a timing repeats")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="molecules at once")]


@app.command()
@guarded
def infer(
    batch: Batch = 1,
    atoms: Annotated[int | None, typer.Option("--atoms", min=1, help="a box of so many atoms, not aspirin")] = None,
    device: Device = "auto", dtype: Dtype = "float32", backend: Backend = "auto", seconds: Seconds = 3.0,
    json_file: JsonFile = None,
) -> int:
    """Energies and forces."""
    from toolkit.bench.rows import Where, infer_row

    return _show("infer", infer_row(Where(device, dtype, backend, seconds), batch=batch, atoms=atoms), json_file)


@app.command()
@guarded
def train(
    batch: Batch = 5, device: Device = "auto", dtype: Dtype = "float32", backend: Backend = "auto",
    seconds: Seconds = 3.0, json_file: JsonFile = None,
) -> int:
    """Training steps with forces."""
    from toolkit.bench.rows import Where, train_row

    return _show("train", train_row(Where(device, dtype, backend, seconds), batch=batch), json_file)


@app.command()
@guarded
def md(
    replicas: Annotated[int, typer.Option("--replicas", min=1)] = 1,
    steps: Annotated[int, typer.Option("--steps", min=1, help="of one run; three runs are timed")] = 1000,
    device: Device = "auto", dtype: Dtype = "float32", backend: Backend = "auto", json_file: JsonFile = None,
) -> int:
    """Langevin dynamics, end to end with the trajectory written."""
    from toolkit.bench.rows import Where, md_row

    return _show("md", md_row(Where(device, dtype, backend), replicas=replicas, steps=steps), json_file)


@app.command()
@guarded
def growth(
    first: Annotated[int, typer.Option("--first", min=1, help="atoms of the first box; the next has twice as many")] = 1000,
    last: Annotated[int, typer.Option("--last", min=1)] = 10_000_000,
    limit_s: Annotated[float, typer.Option("--limit-s", min=0.0, help="stop before this time")] = 240.0,
    device: Device = "auto", dtype: Dtype = "float32", backend: Backend = "auto", seconds: Seconds = 1.0,
    json_file: JsonFile = None,
) -> int:
    """Energies and forces of periodic boxes from 1,000 atoms up to what memory and time allow."""
    from toolkit.bench.rows import Where, growth_rows

    where = Where(device, dtype, backend, seconds, min_repeats=2)
    rows = list(growth_rows(where, first=first, last=last, limit_s=limit_s))
    shown = {f"{row['num_atoms']} atoms": {"ms": row["ms"], "peak_memory_GB": row["peak_memory_GB"]} for row in rows}
    return _show("growth", shown, json_file, {"row": "growth", "boxes": rows})


@app.command()
@guarded
def check(device: Device = "auto", json_file: JsonFile = None) -> int:
    """Energies, forces and gradients of every backend against the reference in float64; exit 1 when one differs."""
    from toolkit.bench.agreement import agreement_rows
    from toolkit.models.potential import resolve_device

    rows = agreement_rows(str(resolve_device(device)))
    worst: dict[str, float] = {}
    for row in rows:
        name = f"{row['backend']} {row['dtype']}"
        worst[name] = max(worst.get(name, 0.0), row["worst"])
    passed = all(row["passed"] for row in rows)
    _show("check: differences from the reference in float64, in units of its RMS", {"passed": passed, **worst},
          json_file, {"row": "check", "passed": passed, "worst": worst, "cases": rows})
    return 0 if passed else 1


def _show(name: str, shown: dict[str, Any], json_file: JsonFile, stored: dict[str, Any] | None = None) -> int:
    """Print one result, and write it, or the longer `stored`, as JSON."""
    show_result(f"bench {name}", shown, None)
    if json_file is not None:
        write_json(stored or shown, json_file)
    return 0
