"""`toolkit trajectory …`: what to do with a trajectory besides analysing it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import JsonFile, TrajectoryFile, guarded
from toolkit.console import ConsoleReporter, show_result

app = typer.Typer(no_args_is_help=True, help="Trajectories for other programs.")


@app.callback()
def _group() -> None:
    """Keeps `export` a word of its own while it is the only command."""


@app.command("export")
@guarded
def trajectory_export(
    trajectory: TrajectoryFile,
    output: Annotated[Path, typer.Option("-o", metavar="FILE", help="*.xyz, *.extxyz (extended XYZ) or *.traj (ASE)")],
    replica: Annotated[int, typer.Option("--replica")] = 0,
    start: Annotated[int | None, typer.Option("--start", help="first frame")] = None,
    stop: Annotated[int | None, typer.Option("--stop", help="first frame left out; negative: from the end")] = None,
    every: Annotated[int, typer.Option("--every", min=1, help="one frame of so many")] = 1,
    json_file: JsonFile = None,
) -> int:
    """Write frames of one replica for other programs, with velocities, energy and time."""
    from toolkit.md.export import export_trajectory
    from toolkit.md.trajectory import Trajectory

    with Trajectory(trajectory) as opened, ConsoleReporter() as reporter:
        written = export_trajectory(opened, output, slice(start, stop, every), replica, reporter)
    show_result(f"{trajectory} exported", {"file": str(output), "n_frames": written}, json_file)
    return 130 if reporter.interrupted else 0
