"""What all commands share: their arguments, their free options, and how a mistake becomes an exit code."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from toolkit.console import show_error
from toolkit.errors import ConfigError, ToolkitError

EXTRA_OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True}

JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="also write the result here")]
TrajectoryFile = Annotated[Path, typer.Argument(help="a trajectory of `toolkit md`")]
Structure = Annotated[str, typer.Argument(help="a file, embedded:NAME …; --frame N chooses the frame")]
OutputFolder = Annotated[Path | None, typer.Option("-o", metavar="DIR", help="default: a new folder under ./runs")]
Model = Annotated[str, typer.Argument(help="a name under trained_models/, a model folder or a run folder")]


def check_resume(resume: bool, output: Path | None) -> None:
    """Raises ConfigError for `--resume` without the folder of what is resumed."""
    if resume and output is None:
        raise ConfigError("found --resume without a folder", "add -o DIR, the folder to go on in")


def guarded(function: Callable[..., int]) -> Callable[..., None]:
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


def read_options(words: list[str], *groups: type[BaseModel]) -> list[dict[str, str]]:
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
