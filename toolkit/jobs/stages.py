"""Work in stages, each kept as soon as it is done, so that a stop or a kill loses at most the stage under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.config import StrictModel, parse_config, save_config
from toolkit.errors import ConfigError
from toolkit.jobs.inputs import input_hashes, require_same
from toolkit.progress import Reporter
from toolkit.storage import read_json, write_json

INPUTS, MODELS = "inputs.json", "weights.json"
"""Which files the stages are of: source -> SHA-256. Folders of before have the second alone, with the models."""
Result = dict[str, Any]
Stage = Callable[[Reporter], Result | None]
"""Returns its result, or None when it was asked to stop."""


def do_stages(stages: Mapping[str, tuple[str, Stage]], folder: Path,
              reporter: Reporter) -> Iterator[tuple[str, Result]]:
    """Do the stages whose result is not in `folder/stages` yet; yield name and result of each, in order.

    stages : name -> title and function;  reporter : hears progress within each; asked to stop, it ends early
    """
    for number, (name, (title, stage)) in enumerate(stages.items(), 1):
        kept = folder / "stages" / f"{name}.json"
        result = read_json(kept)
        if result is None:
            heard = StageReporter(reporter, f"{number} of {len(stages)} · {title}")
            heard.update(0, 1)
            result = None if heard.should_stop() else stage(heard)
            if result is None:
                return
            write_json(result, kept)
        yield name, result


class StageReporter:
    """Passes reports on with the name of the stage in front."""

    def __init__(self, listener: Reporter, title: str) -> None:
        self._listener = listener
        self._title = title

    def update(self, step: int, total: int, message: str = "") -> None:
        """Report progress within the stage."""
        self._listener.update(step, total, f"{self._title} · {message}" if message else self._title)

    def metrics(self, record: dict[str, Any]) -> None:
        """Pass a record on."""
        self._listener.metrics(record)

    def should_stop(self) -> bool:
        """Whether the listener asked to stop."""
        return self._listener.should_stop()


def keep_request(request: StrictModel, file: Path) -> None:
    """Write what was asked for, and which files it names, or check that both are as before. Raises ConfigError when not.

    What cannot be found is left to the stages.
    """
    kept = read_json(file)
    if kept is not None and parse_config(type(request), kept) != request:
        raise ConfigError(f"{file.parent} holds a {file.stem} with other settings",
                          "choose another folder, or the same settings")
    inputs = input_hashes(request.model_dump(mode="json"))
    known = {**(read_json(file.parent / MODELS) or {}), **(read_json(file.parent / INPUTS) or {})}
    require_same(inputs, known)
    if kept is None:
        save_config(request, file)
    if not inputs.items() <= known.items():
        write_json({**known, **inputs}, file.parent / INPUTS)
