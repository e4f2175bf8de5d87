"""`toolkit analyze …`: curves and numbers from a trajectory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import JsonFile, TrajectoryFile, guarded
from toolkit.console import show_result

app = typer.Typer(no_args_is_help=True,
                  help="Analyse trajectories. Curves go to --json FILE, the table shows a few numbers.")

Skip = Annotated[float, typer.Option("--skip-ps", help="equilibration left out, ps")]
Stride = Annotated[int, typer.Option("--stride", help="use every so-many-th frame")]
Replica = Annotated[int | None, typer.Option("--replica", min=0, help="this one alone, such as a temperature of a ladder")]
Resolution = Annotated[float, typer.Option("--resolution-cm1", help="cm⁻¹; finer needs a longer run")]
Highest = Annotated[float | None, typer.Option("--highest-cm1", help="highest mode, cm⁻¹; default: measured")]


@app.command("rdf")
@guarded
def analyze_rdf(
    trajectory: TrajectoryFile,
    r_max: Annotated[float, typer.Option("--r-max", help="largest distance, Å")] = 6.0,
    bin_width: Annotated[float, typer.Option("--bin-width", help="Å")] = 0.02,
    skip_ps: Skip = 0.0,
    stride: Stride = 1,
    replica: Replica = None,
    json_file: JsonFile = None,
) -> int:
    """Radial distribution, total and by pair of elements, with error bars from blocks."""
    from toolkit.jobs.analyses import trajectory_rdf

    result = trajectory_rdf(trajectory, r_max, bin_width, skip_ps, stride, replica)
    show_result(f"Radial distribution of {trajectory}", result, json_file)
    return 0


@app.command("energy")
@guarded
def analyze_energy(trajectory: TrajectoryFile, json_file: JsonFile = None) -> int:
    """Temperature and fitted energy drift with standard errors."""
    from toolkit.md.summary import summarize
    from toolkit.md.trajectory import Trajectory

    with Trajectory(trajectory) as opened:
        show_result(f"Energies of {trajectory}", summarize(opened), json_file)
    return 0


@app.command("vdos")
@guarded
def analyze_vdos(trajectory: TrajectoryFile, resolution_cm1: Resolution = 4.0, skip_ps: Skip = 0.0,
                 highest_cm1: Highest = None, replica: Replica = None, json_file: JsonFile = None) -> int:
    """Vibrational density of states, total and by element, and its peaks."""
    from toolkit.jobs.analyses_spectra import trajectory_vdos

    result = trajectory_vdos(trajectory, resolution_cm1, skip_ps, highest_cm1, replica)
    show_result(f"Vibrational density of states of {trajectory}", result, json_file)
    return 0


@app.command("ir")
@guarded
def analyze_ir(
    trajectory: TrajectoryFile,
    dipoles: Annotated[Path, typer.Argument(help="dipole moment of every frame, .npy, (T, 3) or (T, R, 3), e·Å")],
    resolution_cm1: Resolution = 4.0,
    skip_ps: Skip = 0.0,
    highest_cm1: Highest = None,
    replica: Replica = None,
    json_file: JsonFile = None,
) -> int:
    """Infrared spectrum in km/mol per cm⁻¹ (harmonic quantum correction), and its peaks."""
    from toolkit.jobs.analyses_spectra import trajectory_ir

    result = trajectory_ir(trajectory, dipoles, resolution_cm1, skip_ps, highest_cm1, replica)
    show_result(f"Infrared spectrum of {trajectory}", result, json_file)
    return 0


@app.command("torsion")
@guarded
def analyze_torsion(
    trajectory: TrajectoryFile,
    atoms: Annotated[str | None, typer.Option("--atoms", metavar="A,I,J,D",
                                              help="four bonded atoms; default: all rotatable bonds")] = None,
    bins: Annotated[int, typer.Option("--bins", help="bins of the full turn", min=4)] = 72,
    skip_ps: Skip = 0.0,
    stride: Stride = 1,
    replica: Replica = None,
    json_file: JsonFile = None,
) -> int:
    """Torsion angles of rotatable bonds: distributions, free energies with error bars, maps of neighbouring pairs."""
    from toolkit.jobs.analyses_motion import parse_atoms, trajectory_torsions

    chosen = None if atoms is None else parse_atoms(atoms)
    result = trajectory_torsions(trajectory, skip_ps, stride, bins, chosen, replica)
    show_result(f"Torsions of {trajectory}", result, json_file)
    return 0


@app.command("msd")
@guarded
def analyze_msd(
    trajectory: TrajectoryFile,
    fit_from_ps: Annotated[float | None, typer.Option(help="default: a tenth of the longest lag")] = None,
    fit_to_ps: Annotated[float | None, typer.Option(help="default: half of the longest lag")] = None,
    viscosity: Annotated[float | None, typer.Option("--viscosity-mPa-s", help="for the finite-size correction")] = None,
    skip_ps: Skip = 0.0,
    stride: Stride = 1,
    replica: Replica = None,
    json_file: JsonFile = None,
) -> int:
    """Mean squared displacement and diffusion constants of all atoms and by element."""
    from toolkit.jobs.analyses_motion import trajectory_msd

    result = trajectory_msd(trajectory, skip_ps, stride, fit_from_ps, fit_to_ps, viscosity, replica)
    show_result(f"Mean squared displacement of {trajectory}", result, json_file)
    return 0


@app.command("rmsd")
@guarded
def analyze_rmsd(
    trajectory: TrajectoryFile,
    reference: Annotated[str | None, typer.Option(help="a file, embedded:NAME …; default: first frame")] = None,
    heavy_only: Annotated[bool, typer.Option("--heavy-only", help="leave hydrogen out")] = False,
    skip_ps: Skip = 0.0,
    stride: Stride = 1,
    replica: Replica = None,
    json_file: JsonFile = None,
) -> int:
    """Deviation from a reference structure after superposition (Kabsch)."""
    from toolkit.jobs.analyses import trajectory_rmsd

    result = trajectory_rmsd(trajectory, reference, skip_ps, stride, heavy_only, replica)
    show_result(f"Deviation of {trajectory}", result, json_file)
    return 0


@app.command("bonds")
@guarded
def analyze_bonds(trajectory: TrajectoryFile, skip_ps: Skip = 0.0, stride: Stride = 1, replica: Replica = None,
                  json_file: JsonFile = None) -> int:
    """Lengths of all bonds and all bond angles: mean, standard error, spread and range."""
    from toolkit.jobs.analyses import trajectory_bonds

    show_result(f"Bonds and angles of {trajectory}", trajectory_bonds(trajectory, skip_ps, stride, replica), json_file)
    return 0


@app.command("gyration")
@guarded
def analyze_gyration(trajectory: TrajectoryFile, skip_ps: Skip = 0.0, stride: Stride = 1, replica: Replica = None,
                     json_file: JsonFile = None) -> int:
    """Radius of gyration."""
    from toolkit.jobs.analyses import trajectory_gyration

    show_result(f"Radius of gyration of {trajectory}", trajectory_gyration(trajectory, skip_ps, stride, replica), json_file)
    return 0


@app.command("modes")
@guarded
def analyze_modes(
    trajectory: TrajectoryFile,
    modes: Annotated[Path, typer.Argument(help="the folder that `toolkit modes -o` wrote")],
    resolution_cm1: Resolution = 2.0,
    skip_ps: Skip = 0.0,
    replica: Replica = None,
    json_file: JsonFile = None,
) -> int:
    """Each normal mode in the simulation: centre, width, anharmonic shift, temperature; peaks and their modes."""
    from toolkit.jobs.mode_analysis import trajectory_modes

    show_result(f"Modes in {trajectory}", trajectory_modes(trajectory, modes, resolution_cm1, skip_ps, replica), json_file)
    return 0
