"""`toolkit modes`: relaxed structure, vibrations and free energy; phonon bands of a crystal."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.commands.common import EXTRA_OPTIONS, JsonFile, Model, OutputFolder, Structure, guarded, read_options
from toolkit.config import parse_config
from toolkit.console import ConsoleReporter, show_result
from toolkit.storage import write_json

RESULT_FILE = "modes.json"

app = typer.Typer(add_completion=False)


@app.command("modes", context_settings=EXTRA_OPTIONS)
@guarded
def modes(
    context: typer.Context,
    model: Model,
    structure: Structure,
    output: OutputFolder = None,
    supercell: Annotated[str | None, typer.Option(help="phonon bands of a crystal, e.g. '4 4 4'")] = None,
    json_file: JsonFile = None,
) -> int:
    """Normal modes. Options: --frame --fmax-eV-per-A --relax-cell --temperature-K --symmetry-number --spin --device --backend"""
    from toolkit.jobs.modes import ModesRequest, run_modes
    from toolkit.jobs.run_dir import create_run_dir
    from toolkit.jobs.tasks import run_task

    fields, = read_options(context.args, ModesRequest)
    repeats = None if supercell is None else supercell.replace(",", " ").split()
    request = parse_config(ModesRequest, {"model": model, "structure": structure, **fields, "supercell": repeats})
    with ConsoleReporter() as reporter:
        if output is None:
            result = run_task("modes", request.model_dump(mode="json"), create_run_dir("modes"), reporter=reporter)
        else:
            result = run_modes(request, output, reporter)
            if result:
                write_json(result, output / RESULT_FILE)
    show_result(f"Normal modes of {structure} by {model}", result, json_file)
    return 130 if reporter.interrupted else 0
