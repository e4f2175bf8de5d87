"""`toolkit learning-curve`: one recipe on fewer and fewer training frames, for several l_max."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import JsonFile, OutputFolder, guarded
from toolkit.config import TrainConfig, load_config, parse_config
from toolkit.console import ConsoleReporter, show_result
from toolkit.errors import ConfigError

app = typer.Typer(add_completion=False)


@app.command("learning-curve")
@guarded
def learning_curve(
    config: Annotated[Path, typer.Argument(help="YAML of a TrainConfig, see configs/")],
    train_sizes: Annotated[str, typer.Option(help="training frames")] = "50,100,200,400,950",
    l_max: Annotated[str, typer.Option("--l-max")] = "0,1,2,3",
    seeds: Annotated[str, typer.Option(help="several give replicates, and slopes error bars from them")] = "0",
    equal: Annotated[str, typer.Option(help="steps or epochs: what all sizes get the same number of")] = "steps",
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="a.b=value", help="change one field")] = None,
    output: OutputFolder = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on in DIR; ask for more if you like")] = False,
    json_file: JsonFile = None,
) -> int:
    """Test errors against the number of training frames, with fitted slopes, a figure and a report."""
    from toolkit.jobs.learning_curve_config import LearningCurveRequest
    from toolkit.jobs.learning_curve_report import headline
    from toolkit.jobs.run_dir import create_run_dir
    from toolkit.jobs.tasks import run_task

    if resume and output is None:
        raise ConfigError("found --resume without a folder", "add -o DIR, the folder to go on in")
    recipe = load_config(TrainConfig, config, overrides)
    request = parse_config(LearningCurveRequest, {"recipe": recipe.model_dump(mode="json"), "train_sizes": train_sizes,
                                                  "l_max": l_max, "seeds": seeds, "equal": equal})
    folder = output or create_run_dir("learningcurve")
    with ConsoleReporter() as reporter:
        result = run_task("learningcurve", request.model_dump(mode="json"), folder, resume=resume, reporter=reporter)
    show_result(f"Learning curves in {folder}", headline(result, folder), json_file)
    return 130 if reporter.interrupted else 0
