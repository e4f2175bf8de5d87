"""`toolkit workflow`: an alloy from one YAML to a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import JsonFile, OutputFolder, check_resume, guarded
from toolkit.config import load_config
from toolkit.console import ConsoleReporter, show_result

app = typer.Typer(add_completion=False)


@app.command("workflow")
@guarded
def workflow(
    config: Annotated[Path, typer.Argument(help="YAML of a WorkflowConfig, see configs/alloy_nbmotaw.yaml")],
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="a.b=value", help="change one field")] = None,
    output: OutputFolder = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on in DIR, stage by stage")] = False,
    json_file: JsonFile = None,
) -> int:
    """Train, heat, melt, quench, structure, glass transition, elastic constants, report."""
    from toolkit.jobs.run_dir import create_run_dir
    from toolkit.jobs.tasks import run_task
    from toolkit.jobs.workflow_config import WorkflowConfig
    from toolkit.jobs.workflow_report import headline

    check_resume(resume, output)
    request = load_config(WorkflowConfig, config, overrides)
    folder = output or create_run_dir("workflow")
    with ConsoleReporter() as reporter:
        result = run_task("workflow", request.model_dump(mode="json"), folder, resume=resume, reporter=reporter)
    show_result(f"Workflow in {folder}", headline(result, folder), json_file)
    return 130 if reporter.interrupted else 0
