"""`toolkit data …`: what is in data files, and where to get some."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolkit.commands.common import (
    EXTRA_OPTIONS,
    SOURCES,
    JsonFile,
    Model,
    guarded,
    one_source,
    read_data_config,
    read_options,
    split_words,
)
from toolkit.config import DataConfig
from toolkit.console import ConsoleReporter, show_findings, show_result, write_json
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    from toolkit.data.catalog_entries import CatalogEntry

app = typer.Typer(no_args_is_help=True, help="Look at data sets.")

TOLD_AS_FINDINGS = {"findings", "suspicious", "duplicates", "warnings", "reference_energies"}
TOLD_IN_TABLE = {"read", "units"}
MAX_FORMULAS = 5


@app.command("inspect", context_settings=EXTRA_OPTIONS)
@guarded
def data_inspect(
    words: Annotated[list[str], typer.Argument(metavar="FILE …", help="files, embedded:NAME …; the others are tested "
                                               "against the first")],
    strict: Annotated[bool, typer.Option("--strict", help="exit 1 when an error is found")] = False,
    json_file: JsonFile = None,
) -> int:
    """What is in data files, units and signs by physics, missing labels, copies, leakage into test files, outliers.

    Reading options: --energy-unit --length-unit --forces-unit --energy-key --forces-key --stress-key.
    """
    from toolkit.data.inspection import inspect_sources

    paths, options = split_words(words)
    if not paths:
        raise ConfigError(f"found {' '.join(words)!r}, expected a file to look at", "name one, or embedded:NAME")
    inspection = inspect_sources(paths, read_data_config(paths[0], options))
    result = inspection.to_dict()
    for path in paths:
        show_result(path, _brief(result[path] if len(paths) > 1 else result), None)
        show_findings([finding.to_dict() for finding in inspection.findings
                       if finding.file == path and finding.kind not in TOLD_IN_TABLE])
    if json_file is not None:
        write_json(result, json_file)
    return 1 if strict and inspection.has_errors else 0


@app.command("pack", context_settings=EXTRA_OPTIONS)
@guarded
def data_pack(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="SOURCE", help="file, QM9 archive or folder, catalog:NAME …")],
    output: Annotated[Path, typer.Option("-o", "--output", help="folder for the packed molecules")],
    json_file: JsonFile = None,
) -> int:
    """Write very many molecules into a folder that training reads piece by piece; use it as any other data file.

    Reading options: --energy-unit --length-unit --forces-unit --energy-key --forces-key.
    """
    from toolkit.data.packing import pack_source

    source, options = one_source([*words, *context.args])
    num_frames = pack_source(source, output, read_data_config(source, options))
    show_result("Packed", {"folder": str(output), "n_frames": num_frames}, json_file)
    return 0


@app.command("extend", context_settings=EXTRA_OPTIONS)
@guarded
def data_extend(
    context: typer.Context,
    model: Model,
    sources: Annotated[list[str], typer.Argument(metavar="FILE …", help="new frames with labels")],
    output: Annotated[Path, typer.Option("-o", "--output", help="folder for the frames and the recipe")],
    json_file: JsonFile = None,
) -> int:
    """New frames for a trained model to go on with: they join its training frames; validation and test frames stay.

    Reading options, of the new files: --energy-unit --length-unit --forces-unit --energy-key --forces-key --stress-key
    --stress-offset-GPa; they default to how the model's own files are read.
    """
    from toolkit.jobs.extension import extend

    files, words = split_words([*sources, *context.args])
    with ConsoleReporter() as reporter:
        result = extend(model, files, output, read_options(words, DataConfig, without=SOURCES)[0], reporter)
    show_result("To go on with", {**result, "command": f"python -m toolkit train {shlex.quote(result['recipe'])}"}, json_file)
    return 0


@app.command("catalog")
@guarded
def data_catalog(json_file: JsonFile = None) -> int:
    """The public data sets that `catalog:NAME` downloads, with licence, and those whose checksum nobody states."""
    from toolkit.data.catalog import CATALOG

    show_result("catalog:NAME", {name: f"{entry.description} · {_terms(entry)}" for name, entry in CATALOG.items()}, json_file)
    return 0


def _terms(entry: CatalogEntry) -> str:
    """Licence, and what stands in the way of a download."""
    licence = f"licence {entry.licence}"
    return licence if all(file.checksum for file in entry.files) else f"{licence} · no checksum: from Python, accept_unverified=True"


def _brief(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary of a file as far as the findings do not tell it, with its most frequent formulas."""
    rows = {key: value for key, value in summary.items() if key not in TOLD_AS_FINDINGS and value != {}}
    rows["compositions"] = dict(list(summary["compositions"].items())[:MAX_FORMULAS])
    return rows
