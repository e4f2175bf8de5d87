"""`toolkit export`: a potential as one file that torch alone reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import JsonFile, Model, guarded
from toolkit.console import show_result

app = typer.Typer(add_completion=False)


@app.command("export")
@guarded
def export(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.pt2")],
    compiled: Annotated[bool, typer.Option("--compile", help="machine code for this kind of machine, for Python and C++; fast "
                                           "on small systems; needs g++")] = False,
    device: str = "cpu",
    dtype: str = "float32",
    json_file: JsonFile = None,
) -> int:
    """Write a potential for programs without this package: energy, forces and stress from a neighbour list."""
    from toolkit.interfaces.export import export_potential
    from toolkit.models.potential import load_potential

    potential = load_potential(model, device=device, dtype=dtype, backend="reference")
    show_result(f"Exported {output}", export_potential(potential, output, compiled=compiled), json_file)
    return 0
