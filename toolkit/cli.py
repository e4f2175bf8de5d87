"""`python -m toolkit …`: thin commands over the functions that the pages and the jobs call.

Exit codes: 0 success, 1 a failed check, 2 bad input (one line on stderr), 130 interrupted (after saving).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands import (analyze, bench, compare, data, distill, elastic, export, imports, learning_curve, modes, ship,
                              stability, study, trajectory, uncertainty, workflow)
from toolkit.commands.common import (EXTRA_OPTIONS, JsonFile, Model, Structure, guarded, one_source, read_data_config,
                                     read_options)
from toolkit.config import MDConfig, TrainConfig, load_config, parse_config
from toolkit.console import ConsoleReporter, show_passport, show_result
from toolkit.errors import ConfigError
from toolkit.storage import write_json

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Equivariant interatomic potentials: train, evaluate, simulate, analyse.")
app.add_typer(data.app, name="data")
app.add_typer(analyze.app, name="analyze")
app.add_typer(imports.app, name="import")
app.add_typer(modes.app)
app.add_typer(elastic.app)
app.add_typer(bench.app, name="bench")
app.add_typer(study.app)
app.add_typer(workflow.app)
app.add_typer(compare.app)
app.add_typer(learning_curve.app)
app.add_typer(ship.app)
app.add_typer(export.app)
app.add_typer(stability.app)
app.add_typer(distill.app)
app.add_typer(trajectory.app, name="trajectory")
app.add_typer(uncertainty.app, name="uncertainty")


def main() -> None:
    """Entry point of the `toolkit` command."""
    app()


@app.command()
@guarded
def train(
    config: Annotated[Path, typer.Argument(help="YAML of a TrainConfig, see configs/")],
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="a.b=value", help="change one field")] = None,
    output: Annotated[Path | None, typer.Option("-o", metavar="RUN_DIR", help="default: a new folder under ./runs")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the last checkpoint in RUN_DIR")] = False,
    json_file: JsonFile = None,
) -> int:
    """Train a potential."""
    from toolkit.api import train as train_here
    from toolkit.storage import read_json

    if resume and output is None:
        raise ConfigError("found --resume without a run folder", "add -o RUN_DIR, the folder to go on in")
    settings = load_config(TrainConfig, config, overrides)
    with ConsoleReporter() as reporter:
        run_dir = train_here(settings, output, resume=resume, reporter=reporter)
    result = read_json(run_dir / "result.json") or {}
    show_result(f"Trained in {run_dir}", result, json_file)
    return 130 if reporter.interrupted else 0


@app.command(context_settings=EXTRA_OPTIONS)
@guarded
def evaluate(
    context: typer.Context,
    model: Model,
    words: Annotated[list[str], typer.Argument(metavar="DATA", help="a file, embedded:NAME or catalog:NAME")],
    device: str = "auto",
    dtype: str = "float32",
    json_file: JsonFile = None,
) -> int:
    """Errors of a potential on labelled frames. Reading options: --energy-unit --length-unit --energy-key --forces-key …"""
    from toolkit.analysis.energy_zero import describe_other_zero, has_other_zero
    from toolkit.jobs.evaluation import evaluate_frames, labelled_frames
    from toolkit.models.potential import load_potential

    data, options = one_source([*words, *context.args])
    reading = read_data_config(data, options)
    potential = load_potential(model, device=device, dtype=dtype)
    with ConsoleReporter() as reporter:
        result, _ = evaluate_frames(potential, labelled_frames(reading, reporter=reporter), reporter)
    show_result(f"{model} on {data}", result, json_file)
    if has_other_zero(result):
        typer.echo(f"note: {describe_other_zero(result, model)}", err=True)
    return 130 if reporter.interrupted else 0


@app.command(context_settings=EXTRA_OPTIONS, epilog="Options: " + " ".join(
    f"--{name.replace('_', '-')} ({field.default})" for name, field in MDConfig.model_fields.items())
    + " --inner-model --frame --frames --device --dtype --backend")
@guarded
def md(
    context: typer.Context,
    model: Model,
    structure: Structure,
    output: Annotated[Path | None, typer.Option("-o", metavar="TRAJ", help="default: in a new folder under ./runs")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the restart point beside TRAJ")] = False,
    json_file: JsonFile = None,
) -> int:
    """Molecular dynamics; every field of MDConfig is an option, e.g. --temperature-K 300 --steps 20000 --replicas 4."""
    from toolkit.jobs.requests import MDRequest
    from toolkit.jobs.run_dir import create_run_dir
    from toolkit.jobs.tasks import run_md, run_task
    from toolkit.md.summary import retired

    fields, settings = read_options(context.args, MDRequest, MDConfig)
    request = parse_config(MDRequest, {"model": model, "structure": structure, **fields, "md": settings})
    with ConsoleReporter() as reporter:
        if output is not None:
            result = run_md(request, output, resume=resume, reporter=reporter)
        elif resume:
            raise ConfigError("found --resume without a trajectory", "add -o TRAJ, the trajectory to go on with")
        else:
            result = run_task("md", request.model_dump(mode="json"), create_run_dir("md"), reporter=reporter)
    show_result("Molecular dynamics", result, json_file)
    for line in retired(result):
        typer.echo(f"note: {line}", err=True)
    return 130 if reporter.interrupted else 0


@app.command()
@guarded
def passport(
    model: Model,
    data: Annotated[str | None, typer.Argument(help="what it is meant for: a file, embedded:NAME …")] = None,
    nve_ps: Annotated[float, typer.Option("--nve-ps", min=0.0, help="simulation at constant energy in each precision, ps")] = 20.0,
    device: str = "auto",
    json_file: JsonFile = None,
) -> int:
    """Check symmetries, derivatives, smoothness, locality, precision and energy conservation; exit 1 when one fails."""
    from toolkit.checks.passport import passport as check
    from toolkit.data.formats import read_frames

    frames = None if data is None else read_frames(data).frames
    with ConsoleReporter() as reporter:
        made = check(model, frames, nve_ps=nve_ps, device=device, reporter=reporter)
    if json_file is not None:
        write_json(made.to_dict(), json_file)
    show_passport(f"Passport of {model}", *made.table())
    if reporter.interrupted:
        return 130
    return 0 if made.passed else 1
