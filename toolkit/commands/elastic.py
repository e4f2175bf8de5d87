"""`toolkit elastic`: stiffness of a crystal and the moduli that follow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import EXTRA_OPTIONS, JsonFile, Model, Structure, guarded, read_options
from toolkit.config import parse_config
from toolkit.console import ConsoleReporter, show_result

app = typer.Typer(add_completion=False)


@app.command("elastic", context_settings=EXTRA_OPTIONS)
@guarded
def elastic(
    context: typer.Context,
    model: Model,
    structure: Structure,
    output: Annotated[Path | None, typer.Option("-o", metavar="DIR", help="keep elastic.json and relaxed.extxyz here")] = None,
    json_file: JsonFile = None,
) -> int:
    """Elastic constants of a crystal. Options: --frame --strain 0.005 --fmax-eV-per-A --device --backend"""
    from toolkit.jobs.elastic import ElasticRequest, run_elastic

    fields, = read_options(context.args, ElasticRequest, without=("model", "structure"))
    request = parse_config(ElasticRequest, {"model": model, "structure": structure, **fields})
    with ConsoleReporter() as reporter:
        result = run_elastic(request, output, reporter)
    show_result(f"Elastic constants of {structure} by {model}", result, json_file)
    return 130 if reporter.interrupted else 0
