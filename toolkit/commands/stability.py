"""`toolkit stability`: how many replicas of a molecule stay whole, and whether their distances are right."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.commands.common import (EXTRA_OPTIONS, JsonFile, Model, OutputFolder, Structure, check_resume, guarded,
                                     read_options)
from toolkit.config import parse_config
from toolkit.console import ConsoleReporter, show_result

app = typer.Typer(add_completion=False)


@app.command("stability", context_settings=EXTRA_OPTIONS)
@guarded
def stability(
    context: typer.Context,
    model: Model,
    structure: Structure,
    output: OutputFolder = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on in DIR")] = False,
    record: Annotated[bool, typer.Option("--record", help="keep the result beside the model and on its card, with "
                                         "other temperatures recorded there under the same conditions")] = False,
    json_file: JsonFile = None,
) -> int:
    """Langevin dynamics of many replicas: stable fraction, first failure, distances against reference frames.

    Options: --temperatures-K 300,500 --replicas 64 --ps 100 --data FILE --reference-temperature-K --frame --timestep-fs
    --inner-model --inner-steps --friction-per-fs --save-every-fs --seed --device --dtype --backend
    """
    from toolkit.jobs.run_dir import create_run_dir
    from toolkit.jobs.stability import record_stability
    from toolkit.jobs.stability_config import StabilityRequest
    from toolkit.jobs.tasks import run_task

    check_resume(resume, output)
    fields, = read_options(context.args, StabilityRequest)
    request = parse_config(StabilityRequest, {"model": model, "structure": structure, **fields})
    folder = output or create_run_dir("stability")
    with ConsoleReporter() as reporter:
        result = run_task("stability", request.model_dump(mode="json"), folder, resume=resume, reporter=reporter)
    if record and result["complete"]:
        result = {**result, "recorded": str(record_stability(result, model))}
    runs = {f"{run['temperature_K']:g} K": run for run in result["runs"]}
    show_result(f"Stability in {folder}", {**result, "runs": runs}, json_file)
    return 130 if reporter.interrupted else 0
