"""`toolkit distill`: frames for a student, from the dynamics and the mean of trained models."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.commands.common import (EXTRA_OPTIONS, JsonFile, OutputFolder, SplitSeed, check_resume, guarded, read_options,
                                     split_words)
from toolkit.config import parse_config
from toolkit.console import ConsoleReporter, show_result
from toolkit.errors import ConfigError

app = typer.Typer(add_completion=False)


@app.command("distill", context_settings=EXTRA_OPTIONS)
@guarded
def distill(
    context: typer.Context,
    teachers: Annotated[list[str], typer.Argument(help="names under trained_models/, model folders or run folders")],
    output: OutputFolder = None,
    split_seed: SplitSeed = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on in DIR")] = False,
    json_file: JsonFile = None,
) -> int:
    """Sample frames by molecular dynamics and label them with the mean of trained models: train.extxyz, val.extxyz.

    Options: --sampler MODEL --temperature-K 500 --trajectories 64 --ps 5 --every-fs 40 --timestep-fs --friction-per-fs
    --copies --seed --device --dtype --backend; and --data FILE, split as the teachers split it: --method blocks
    --num-train 950 --num-val 50, --test FILE, --energy-unit --energy-key … (default: the data of the first teacher)
    """
    from toolkit.config import DataConfig, SplitConfig
    from toolkit.jobs.distillation_config import DistillRequest
    from toolkit.jobs.run_dir import create_run_dir
    from toolkit.jobs.tasks import run_task

    check_resume(resume, output)
    names, words = split_words([*teachers, *context.args])
    fields, reading, split = read_options(words, DistillRequest, DataConfig, SplitConfig,
                                          without=("teachers", "train", "split"))
    split.pop("seed", None)  # that of the simulations
    split |= {} if split_seed is None else {"seed": split_seed}
    if "data" in fields:
        fields["data"] = {"train": fields["data"], **reading, "split": split}
    elif reading or split:
        raise ConfigError("found how to read or split a file, but no file", "add --data FILE")
    request = parse_config(DistillRequest, {"teachers": names, **fields})
    folder = output or create_run_dir("distill")
    with ConsoleReporter() as reporter:
        result = run_task("distill", request.model_dump(mode="json"), folder, resume=resume, reporter=reporter)
    show_result(f"Frames for a student in {folder}", result, json_file)
    return 130 if reporter.interrupted else 0
