"""`toolkit data …`: what is in data files, and where to get some."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.commands.common import EXTRA_OPTIONS, JsonFile, guarded, read_options
from toolkit.config import DataConfig, parse_config
from toolkit.console import show_result

app = typer.Typer(no_args_is_help=True, help="Look at data sets.")


@app.command("inspect", context_settings=EXTRA_OPTIONS)
@guarded
def data_inspect(context: typer.Context, files: Annotated[list[str], typer.Argument(help="files, embedded:NAME …")],
                 json_file: JsonFile = None) -> int:
    """What is in data files: frames, species, units and why, what is missing, duplicates, suspicious frames."""
    from toolkit.data.formats import read_frames
    from toolkit.data.inspection import inspect_frames

    paths = [word for word in files if not word.startswith("--")]
    options = read_options(context.args, DataConfig)[0]
    results = {}
    for path in paths:
        reading = parse_config(DataConfig, {"train": path, **options})
        results[path] = inspect_frames(read_frames(path, reading))
        show_result(path, results[path], None)
    if json_file is not None:
        show_result("All files", results if len(paths) > 1 else results[paths[0]], json_file)
    return 0


@app.command("catalog")
@guarded
def data_catalog(json_file: JsonFile = None) -> int:
    """The public data sets that `catalog:NAME` downloads, with licence."""
    from toolkit.data.catalog import CATALOG

    show_result("catalog:NAME", {name: entry.description for name, entry in CATALOG.items()}, json_file)
    return 0
