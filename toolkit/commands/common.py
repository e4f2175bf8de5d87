"""What all commands share: their arguments, their free options, and how a mistake becomes an exit code."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from toolkit.config import DataConfig, parse_config
from toolkit.console import show_error
from toolkit.errors import ConfigError, ToolkitError

EXTRA_OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True}
SOURCES = frozenset({"train", "val", "test", "split"})
"""Fields of a DataConfig that say what is read; the others say how."""

JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="also write the result here")]
TrajectoryFile = Annotated[Path, typer.Argument(help="a trajectory of `toolkit md`")]
Structure = Annotated[str, typer.Argument(help="a file, embedded:NAME …; --frame N chooses the frame")]
SplitSeed = Annotated[int | None, typer.Option("--split-seed", min=0, help="of --method random")]
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
        except OSError as error:
            if error.filename is None:
                raise
            show_error(f"cannot use {error.filename}: {error.strerror}")
            code = 2
        except KeyboardInterrupt:
            code = 130
        raise typer.Exit(code)

    return run


def split_words(words: list[str]) -> tuple[list[str], list[str]]:
    """Arguments and `--name value` pairs, in whatever order they were written; `--name=value` is such a pair too."""
    arguments: list[str] = []
    options: list[str] = []
    for word in words:
        if len(options) % 2:
            options.append(word)
        elif word.startswith("--"):
            name, equals, value = word.partition("=")
            options += [name, value] if equals else [name]
        else:
            arguments.append(word)
    return arguments, options


def one_source(words: list[str]) -> tuple[str, list[str]]:
    """As `split_words`, of words with one argument. Raises ConfigError for none and for several."""
    arguments, options = split_words(words)
    if len(arguments) != 1:
        raise ConfigError(f"found {arguments or 'no file'}, expected one file, embedded:NAME or catalog:NAME",
                          "an option is a pair, --NAME VALUE; a switch has a value too: --relax-cell true")
    return arguments[0], options


def read_options(words: list[str], *groups: type[BaseModel],
                 without: Collection[str] = ()) -> list[dict[str, str]]:
    """Sort `--field-name value` words into the fields of each configuration class. without : fields that are no options

    Raises ConfigError for what belongs to none.
    """
    stray, options = split_words(words)
    if stray or len(options) % 2:
        raise ConfigError(f"found {' '.join(words)!r}, expected pairs --NAME VALUE", "a switch has a value too: --relax-cell true")
    names = [name.removeprefix("--").replace("-", "_") for name in options[::2]]
    known = sorted(field for group in groups for field in group.model_fields if field not in without)
    unknown = [name for name in names if name not in known]
    if unknown:
        expected = [f"--{name.replace('_', '-')}" for name in known]
        raise ConfigError(f"found unknown options {unknown}, expected one of {' '.join(expected)}")
    pairs = dict(zip(names, options[1::2], strict=True))
    return [{name: value for name, value in pairs.items() if name in group.model_fields} for group in groups]


def read_data_config(source: str, words: list[str]) -> DataConfig:
    """How to read a file. words : `--energy-unit eV` …

    Raises ConfigError for an unknown option or value.
    """
    return parse_config(DataConfig, {**read_options(words, DataConfig, without=SOURCES)[0], "train": source})
