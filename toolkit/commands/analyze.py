"""`toolkit analyze …`: curves and numbers from a trajectory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import JsonFile, guarded
from toolkit.console import show_result

app = typer.Typer(no_args_is_help=True, help="Analyse trajectories.")


@app.command("rdf")
@guarded
def analyze_rdf(
    trajectory: Annotated[Path, typer.Argument(help="a trajectory of `toolkit md`")],
    r_max: Annotated[float, typer.Option("--r-max", help="largest distance, Å")] = 6.0,
    bin_width: Annotated[float, typer.Option("--bin-width", help="Å")] = 0.02,
    skip_ps: Annotated[float, typer.Option("--skip-ps", help="equilibration left out, ps")] = 0.0,
    json_file: JsonFile = None,
) -> int:
    """Radial distribution, total and by pair of elements, with error bars from blocks."""
    from toolkit.jobs.analyses import trajectory_rdf

    show_result(f"Radial distribution of {trajectory}", trajectory_rdf(trajectory, r_max, bin_width, skip_ps), json_file)
    return 0


@app.command("energy")
@guarded
def analyze_energy(trajectory: Annotated[Path, typer.Argument(help="a trajectory of `toolkit md`")],
                   json_file: JsonFile = None) -> int:
    """Temperature and fitted energy drift with standard errors."""
    from toolkit.md.summary import summarize
    from toolkit.md.trajectory import Trajectory

    with Trajectory(trajectory) as opened:
        show_result(f"Energies of {trajectory}", summarize(opened), json_file)
    return 0
