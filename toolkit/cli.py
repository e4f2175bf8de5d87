"""`python -m toolkit …`: thin commands over the functions that the pages and the jobs call.

Exit codes: 0 success, 1 a failed check, 2 bad input (one line on stderr), 130 interrupted (after saving).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from toolkit.config import DataConfig, MDConfig, TrainConfig, load_config, parse_config
from toolkit.console import ConsoleReporter, show_error, show_passport, show_result, write_json
from toolkit.errors import ConfigError, ToolkitError

EXTRA_OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Equivariant interatomic potentials: train, evaluate, simulate, analyse.")
data_app = typer.Typer(no_args_is_help=True, help="Look at data sets.")
analyze_app = typer.Typer(no_args_is_help=True, help="Analyse trajectories.")
import_app = typer.Typer(no_args_is_help=True, help="Take over models trained with other packages.")
app.add_typer(data_app, name="data")
app.add_typer(analyze_app, name="analyze")
app.add_typer(import_app, name="import")

JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="also write the result here")]
Model = Annotated[str, typer.Argument(help="a name under trained_models/, a model folder or a run folder")]


def main() -> None:
    """Entry point of the `toolkit` command."""
    app()


def _guarded(function: Callable[..., int]) -> Callable[..., None]:
    """Turn a returned code, a user's mistake or an interrupt into the process's exit code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            code = function(*args, **kwargs)
        except ToolkitError as error:
            show_error(str(error))
            code = 2
        except KeyboardInterrupt:
            code = 130
        raise typer.Exit(code)

    return run


def _options(words: list[str], *groups: type[BaseModel]) -> list[dict[str, str]]:
    """Sort `--field-name value` words into the fields of each configuration class; refuse what belongs to none."""
    names = [name.removeprefix("--").replace("-", "_") for name in words[::2]]
    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise ConfigError(f"found {' '.join(words)!r}, expected pairs --NAME VALUE")
    known = sorted(field for group in groups for field in group.model_fields)
    unknown = [name for name in names if name not in known]
    if unknown:
        options = [f"--{name.replace('_', '-')}" for name in known]
        raise ConfigError(f"found unknown options {unknown}, expected one of {' '.join(options)}")
    pairs = dict(zip(names, words[1::2], strict=True))
    return [{name: value for name, value in pairs.items() if name in group.model_fields} for group in groups]


@app.command()
@_guarded
def train(
    config: Annotated[Path, typer.Argument(help="YAML of a TrainConfig, see configs/")],
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="a.b=value", help="change one field")] = None,
    output: Annotated[Path | None, typer.Option("-o", metavar="RUN_DIR", help="default: a new folder under ./runs")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the last checkpoint in RUN_DIR")] = False,
    json_file: JsonFile = None,
) -> int:
    """Train a potential."""
    from toolkit.api import train as train_here
    from toolkit.jobs.run_dir import read_json

    if resume and output is None:
        raise ConfigError("found --resume without a run folder", "add -o RUN_DIR, the folder to go on in")
    settings = load_config(TrainConfig, config, overrides)
    with ConsoleReporter() as reporter:
        run_dir = train_here(settings, output, resume=resume, reporter=reporter)
    result = read_json(run_dir / "result.json") or {}
    show_result(f"Trained in {run_dir}", result, json_file)
    return 130 if reporter.interrupted else 0


@app.command(context_settings=EXTRA_OPTIONS)
@_guarded
def evaluate(
    context: typer.Context,
    model: Model,
    data: Annotated[str, typer.Argument(help="a file, embedded:NAME or catalog:NAME")],
    device: str = "auto",
    dtype: str = "float32",
    json_file: JsonFile = None,
) -> int:
    """Errors of a potential on labelled frames. Reading options: --energy-unit --length-unit --energy-key --forces-key …"""
    from toolkit.data.formats import read_frames
    from toolkit.models.potential import load_potential
    from toolkit.training.metrics import evaluate_potential

    reading = parse_config(DataConfig, {"train": data, **_options(context.args, DataConfig)[0]})
    potential = load_potential(model, device=device, dtype=dtype)
    with ConsoleReporter() as reporter:
        result = evaluate_potential(potential, read_frames(data, reading).frames, reporter=reporter)
    show_result(f"{model} on {data}", result, json_file)
    return 0


@app.command(context_settings=EXTRA_OPTIONS, epilog="Options: " + " ".join(
    f"--{name.replace('_', '-')} ({field.default})" for name, field in MDConfig.model_fields.items())
    + " --frame --device --dtype --backend")
@_guarded
def md(
    context: typer.Context,
    model: Model,
    structure: Annotated[str, typer.Argument(help="a file, embedded:NAME …; --frame N chooses the frame")],
    output: Annotated[Path | None, typer.Option("-o", metavar="TRAJ", help="default: in a new folder under ./runs")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the restart point beside TRAJ")] = False,
    json_file: JsonFile = None,
) -> int:
    """Molecular dynamics; every field of MDConfig is an option, e.g. --temperature-K 300 --steps 20000 --replicas 4."""
    from toolkit.jobs.requests import MDRequest
    from toolkit.jobs.run_dir import create_run_dir
    from toolkit.jobs.tasks import run_md, run_task

    fields, settings = _options(context.args, MDRequest, MDConfig)
    request = parse_config(MDRequest, {"model": model, "structure": structure, **fields, "md": settings})
    with ConsoleReporter() as reporter:
        if output is not None:
            result = run_md(request, output, resume=resume, reporter=reporter)
        elif resume:
            raise ConfigError("found --resume without a trajectory", "add -o TRAJ, the trajectory to go on with")
        else:
            result = run_task("md", request.model_dump(mode="json"), create_run_dir("md"), reporter=reporter)
    show_result("Molecular dynamics", result, json_file)
    return 130 if reporter.interrupted else 0


@app.command()
@_guarded
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


@analyze_app.command("rdf")
@_guarded
def analyze_rdf(
    trajectory: Annotated[Path, typer.Argument(help="a trajectory of `toolkit md`")],
    r_max: Annotated[float, typer.Option("--r-max", help="largest distance, Å")] = 6.0,
    bin_width: Annotated[float, typer.Option("--bin-width", help="Å")] = 0.02,
    skip_ps: Annotated[float, typer.Option("--skip-ps", help="equilibration left out, ps")] = 0.0,
    json_file: JsonFile = None,
) -> int:
    """Radial distribution, total and by pair of elements, with error bars from blocks."""
    from toolkit.jobs.analyses import trajectory_rdf

    show_result(f"Radial distribution of {trajectory}", trajectory_rdf(trajectory, r_max, bin_width, skip_ps), json_file)
    return 0


@analyze_app.command("energy")
@_guarded
def analyze_energy(trajectory: Annotated[Path, typer.Argument(help="a trajectory of `toolkit md`")],
                   json_file: JsonFile = None) -> int:
    """Temperature and fitted energy drift with standard errors."""
    from toolkit.md.summary import summarize
    from toolkit.md.trajectory import Trajectory

    with Trajectory(trajectory) as opened:
        show_result(f"Energies of {trajectory}", summarize(opened), json_file)
    return 0


@data_app.command("inspect", context_settings=EXTRA_OPTIONS)
@_guarded
def data_inspect(context: typer.Context, files: Annotated[list[str], typer.Argument(help="files, embedded:NAME …")],
                 json_file: JsonFile = None) -> int:
    """What is in data files: frames, species, units and why, what is missing, duplicates, suspicious frames."""
    from toolkit.data.formats import read_frames
    from toolkit.data.inspection import inspect_frames

    paths = [word for word in files if not word.startswith("--")]
    options = _options(context.args, DataConfig)[0]
    results = {}
    for path in paths:
        reading = parse_config(DataConfig, {"train": path, **options})
        results[path] = inspect_frames(read_frames(path, reading))
        show_result(path, results[path], None)
    if json_file is not None:
        show_result("All files", results if len(paths) > 1 else results[paths[0]], json_file)
    return 0


@data_app.command("catalog")
@_guarded
def data_catalog(json_file: JsonFile = None) -> int:
    """The public data sets that `catalog:NAME` downloads, with licence."""
    from toolkit.data.catalog import CATALOG

    show_result("catalog:NAME", {name: entry.description for name, entry in CATALOG.items()}, json_file)
    return 0


@import_app.command("nequip")
@_guarded
def import_from_nequip(
    weights: Annotated[Path, typer.Argument(metavar="STATE_DICT", help="nequip's state dict as .safetensors or .npz")],
    config: Annotated[Path, typer.Argument(help="JSON or YAML with the arguments of NequIPGNNModel")],
    output: Annotated[Path, typer.Option("-o", metavar="MODEL_DIR", help="the model folder to write")],
    json_file: JsonFile = None,
) -> int:
    """Turn a model trained with nequip into a model folder."""
    from toolkit.interfaces.nequip_import import import_nequip

    show_result(f"Imported into {output}", import_nequip(weights, config, output), json_file)
    return 0
