"""`toolkit import …`: models trained with other packages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import JsonFile, guarded
from toolkit.console import show_result

app = typer.Typer(no_args_is_help=True, help="Take over models trained with other packages.")


@app.command("nequip")
@guarded
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
