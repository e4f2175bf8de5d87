"""`toolkit learning-curve`: one recipe on fewer and fewer training frames, for several l_max."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import EXTRA_OPTIONS, JsonFile, OutputFolder, check_resume, guarded, read_options
from toolkit.config import TrainConfig, load_config, parse_config
from toolkit.console import ConsoleReporter, show_result

app = typer.Typer(add_completion=False)


@app.command("learning-curve", context_settings=EXTRA_OPTIONS)
@guarded
def learning_curve(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="YAML of a TrainConfig, see configs/")],
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="a.b=value", help="change one field")] = None,
    output: OutputFolder = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on in DIR; ask for more if you like")] = False,
    json_file: JsonFile = None,
) -> int:
    """Test errors against the number of training frames, with fitted slopes, a figure and a report.

    Options: --train-sizes 50,100,200,400,950 --l-max 0,1,2,3 --seeds 0 (several give replicates, and slopes error bars
    from them) --equal steps|epochs (what all sizes get the same number of)
    """
    from toolkit.jobs.learning_curve_config import LearningCurveRequest
    from toolkit.jobs.learning_curve_report import headline
    from toolkit.jobs.run_dir import create_run_dir
    from toolkit.jobs.tasks import run_task

    check_resume(resume, output)
    fields, = read_options(context.args, LearningCurveRequest)
    recipe = load_config(TrainConfig, config, overrides)
    request = parse_config(LearningCurveRequest, {**fields, "recipe": recipe.model_dump(mode="json")})
    folder = output or create_run_dir("learningcurve")
    with ConsoleReporter() as reporter:
        result = run_task("learningcurve", request.model_dump(mode="json"), folder, resume=resume, reporter=reporter)
    show_result(f"Learning curves in {folder}", headline(result, folder), json_file)
    return 130 if reporter.interrupted else 0
