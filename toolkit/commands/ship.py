"""`toolkit ship`: from a training run to a shipped model with a sample that its card is checked by."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.commands.common import JsonFile, Model, guarded
from toolkit.config import parse_config
from toolkit.console import show_result

app = typer.Typer(add_completion=False)


@app.command("ship")
@guarded
def ship(
    model: Model,
    name: Annotated[str, typer.Argument(help="its name under trained_models/")],
    about: Annotated[str, typer.Option(help="one paragraph for its card")],
    licence: Annotated[str, typer.Option(help="of the training data, e.g. CC0-1.0")],
    command: Annotated[str, typer.Option(help="the command that trains it again")],
    replace: Annotated[bool, typer.Option("--replace", help="take the place of the model of this name")] = False,
    compact: Annotated[bool, typer.Option("--compact", help="the same potential in fewer weights; passport and stability "
                                          "record are then to be made anew")] = False,
    json_file: JsonFile = None,
) -> int:
    """Make trained_models/NAME with a sample of test frames, and check that its card says what its weights do."""
    from toolkit.jobs.shipping import METRICS, ShippedAs, ship_model
    from toolkit.storage import read_json

    told = parse_config(ShippedAs, {"name": name, "about": about, "licence": licence, "command": command})
    folder = ship_model(model, told, replace=replace, compact=compact)
    metrics = read_json(folder / METRICS) or {}
    result = {"folder": str(folder), "test": metrics["test"], "sample": metrics["sample"]}
    show_result(f"Shipped {folder}", result, json_file)
    return 0
