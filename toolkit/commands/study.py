"""`toolkit study`: the whole verification of a model on one structure, with a report."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.commands.common import EXTRA_OPTIONS, JsonFile, Model, OutputFolder, Structure, guarded, read_options
from toolkit.config import parse_config
from toolkit.console import ConsoleReporter, show_result
from toolkit.errors import ConfigError

app = typer.Typer(add_completion=False)


@app.command("study", context_settings=EXTRA_OPTIONS)
@guarded
def study(
    context: typer.Context,
    model: Model,
    structure: Structure,
    output: OutputFolder = None,
    preset: Annotated[str, typer.Option(help="coffee-break, tutorial or paper")] = "paper",
    json_file: JsonFile = None,
) -> int:
    """Relax, modes, constant energy, heat bath, analyses, report. The same call with the same -o DIR goes on.

    Options: --temperature-K --timestep-fs --nve-ps --nvt-ps --nvt-replicas --seed --device … (fields of StudyConfig)
    """
    from toolkit.jobs.run_dir import create_run_dir
    from toolkit.jobs.study import run_study
    from toolkit.jobs.study_config import PRESETS, StudyConfig, StudyRequest
    from toolkit.jobs.study_numbers import headline
    from toolkit.jobs.tasks import run_task

    if preset not in PRESETS:
        raise ConfigError(f"found the preset {preset!r}, expected one of {list(PRESETS)}")
    fields, settings = read_options(context.args, StudyRequest, StudyConfig)
    request = parse_config(StudyRequest, {"model": model, "structure": structure, **fields,
                                          "study": {**PRESETS[preset], **settings}})
    folder = output or create_run_dir("study")
    with ConsoleReporter() as reporter:
        if output is None:
            results = run_task("study", request.model_dump(mode="json"), folder, reporter=reporter)
        else:
            results = run_study(request, folder, reporter)
    show_result(f"Study in {folder}", headline(results, folder), json_file)
    return 130 if reporter.interrupted else 0
