"""`toolkit compare`: several models side by side on the same frames."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.commands.common import (EXTRA_OPTIONS, SOURCES, JsonFile, OutputFolder, guarded, read_options,
                                     split_words)
from toolkit.config import parse_config
from toolkit.console import ConsoleReporter, show_table
from toolkit.errors import ConfigError
from toolkit.storage import write_json

app = typer.Typer(add_completion=False)


@app.command("compare", context_settings=EXTRA_OPTIONS)
@guarded
def compare(
    words: Annotated[list[str], typer.Argument(metavar="MODEL MODEL … --data SOURCE", help="2 to 8 models: names under "
                                               "trained_models/, model folders or run folders")],
    output: OutputFolder = None,
    json_file: JsonFile = None,
) -> int:
    """Errors, paired differences, speed, passport and stability of models. The same call with the same -o DIR goes on.

    Options: --frames --md-ps --replicas --temperature-K --speed-s --seed --device --dtype … (fields of CompareRequest),
    and --energy-unit --length-unit --energy-key … for a file that is not understood by itself
    """
    from toolkit.config import DataConfig
    from toolkit.jobs.compare import compare as compare_here
    from toolkit.jobs.compare_config import CompareRequest
    from toolkit.jobs.compare_report import report_sections
    from toolkit.jobs.run_dir import create_run_dir
    from toolkit.jobs.tasks import run_task

    models, options = split_words(words)
    fields, reading = read_options(options, CompareRequest, DataConfig, without=SOURCES)
    if "data" not in fields:
        raise ConfigError("found no --data, expected labelled frames to judge the models by", "add --data SOURCE")
    request = parse_config(CompareRequest, {**fields, "models": models, "data": {**reading, "train": fields["data"]}})
    folder = output or create_run_dir("compare")
    with ConsoleReporter() as reporter:
        if output is None:
            summary = run_task("compare", request.model_dump(mode="json"), folder, reporter=reporter)
        else:
            summary = compare_here(request, folder, reporter)
    if json_file is not None:
        write_json(summary, json_file)
    for section in report_sections(request, summary):
        for table in section.tables:
            show_table(section.title, table.header, table.rows, section.paragraphs)
        if not section.tables and not section.figures:
            show_table(section.title, (), (), section.paragraphs)
    show_table(f"All of it in {folder}: report.html, compare.json", (), ())
    return 130 if reporter.interrupted else 0
