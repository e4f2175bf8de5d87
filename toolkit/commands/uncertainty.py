"""`toolkit uncertainty …`: how far a potential can be trusted, from its last layer, without training again."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.commands.common import EXTRA_OPTIONS, SOURCES, JsonFile, Model, SplitSeed, guarded, read_options, split_words
from toolkit.config import DataConfig, SplitConfig, parse_config
from toolkit.console import ConsoleReporter, show_result
from toolkit.errors import ConfigError
from toolkit.storage import write_json

app = typer.Typer(no_args_is_help=True, help="Error bars of energies and forces: fit them, check them.")


@app.command("fit", context_settings=EXTRA_OPTIONS)
@guarded
def fit(
    context: typer.Context,
    model: Model,
    train: Annotated[list[str] | None, typer.Argument(metavar="[FILE]", help="training frames; default: those of the model, "
                                                      "split as it was trained")] = None,
    directions: Annotated[int, typer.Option(min=1, help="backward passes that each prediction takes")] = 8,
    max_frames: Annotated[int, typer.Option("--max-frames", min=1, help="training frames that are read")] = 300,
    seed: Annotated[int, typer.Option(help="of the directions")] = 0,
    split_seed: SplitSeed = None,
    device: str = "auto",
    json_file: JsonFile = None,
) -> int:
    """Fit on training frames, calibrate on validation frames, and write the uncertainty beside the weights.

    Options when files are named: --val, or --method blocks --num-train 950 --num-val 50 for parts of TRAIN, which must be
    those of the training: errors on learned frames are too small to scale by; --energy-unit --energy-key …
    """
    from toolkit.jobs.uncertainty import fit_model

    files, words = split_words([*(train or []), *context.args])
    options, split = read_options(words, DataConfig, SplitConfig, without={"train", "split", "seed"})
    split |= {} if split_seed is None else {"seed": split_seed}
    if len(files) > 1 or (not files and (options or split)):
        raise ConfigError(f"found {len(files)} files and how to read or split them, expected one file with training frames",
                          "name it: toolkit uncertainty fit MODEL FILE --method blocks --num-train 950 --num-val 50")
    data = parse_config(DataConfig, {"train": files[0], **options, **({"split": split} if split else {})}) if files else None
    with ConsoleReporter() as reporter:
        result = fit_model(model, data, max_frames=max_frames, num_directions=directions, seed=seed, device=device,
                           reporter=reporter)
    show_result(f"Uncertainty of {model}", result, json_file)
    return 0


@app.command("check", context_settings=EXTRA_OPTIONS)
@guarded
def check(
    context: typer.Context,
    model: Model,
    data: Annotated[list[str] | None, typer.Argument(help="labelled frames; default: the model's test frames")] = None,
    max_frames: Annotated[int, typer.Option("--max-frames", min=2, help="of each file")] = 1000,
    device: str = "auto",
    record: Annotated[bool, typer.Option("--record", help="of one file of test frames: keep the result beside the model "
                                         "and on its card")] = False,
    json_file: JsonFile = None,
) -> int:
    """Compare the announced error bars with errors, for each file; exit 1 when those of the forces are wrong.

    Reading options: --energy-unit --forces-key …; they default to how the model's own files are read.
    """
    from toolkit.data.statistics import spread_out
    from toolkit.jobs.evaluation import labelled_frames
    from toolkit.jobs.own_data import own_data_here, read_as_own
    from toolkit.jobs.uncertainty import check_uncertainty, headline, record_check
    from toolkit.models.potential import load_potential
    from toolkit.training.calibration_card import suggested_stop_eV_per_A

    files, words = split_words([*(data or []), *context.args])
    reading = read_options(words, DataConfig, without=SOURCES)[0]
    if record and len(files) > 1:
        raise ConfigError(f"found --record with {len(files)} files, expected one of test frames", "record one")
    if reading and not files:
        raise ConfigError("found how to read a file, but no file", "name one: toolkit uncertainty check MODEL FILE …")
    potential = load_potential(model, device=device)
    results, right = {}, True
    with ConsoleReporter() as reporter:
        sources = {name: read_as_own(model, name, reading, reporter).frames for name in files}
        if not sources:
            own = own_data_here(model)
            sources = {own.test or own.train: labelled_frames(own, "test", reporter)}
        for name, frames in sources.items():
            extra, chosen = {}, spread_out(frames, max_frames)
            if record:
                found, kept = record_check(potential, chosen, name, reporter)
                extra = {"md_limit_eV_per_A": suggested_stop_eV_per_A(kept)}
            else:
                found = check_uncertainty(potential, chosen, reporter)
            right = right and found["forces"].is_calibrated()
            results[name] = {label: headline(calibration, label) for label, calibration in found.items()} | extra
    for name, result in results.items():
        show_result(f"Uncertainty of {model} on {name}", result, None)
    if json_file is not None:
        write_json(results, json_file)
    if reporter.interrupted:
        return 130
    return 0 if right else 1
