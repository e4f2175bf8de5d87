"""What a terminal shows: progress bars, tables and one-line errors. Only the command line uses it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from typing_extensions import Self

from toolkit.storage import write_json

MAX_ROWS_SHOWN = 60
AS_IT_IS: dict[str, Any] = {"markup": False, "emoji": False}
"""Options of a console for texts such as paths, in which [old] and :x: stand for nothing else."""


class ConsoleReporter:
    """A progress bar on stderr when that is a terminal; Ctrl-C (or SIGTERM) asks the work to save and return.

    Use as a context manager. `interrupted` says afterwards whether the user asked.
    """

    def __init__(self) -> None:
        self.interrupted = False
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
                   TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True, **AS_IT_IS), disable=not sys.stderr.isatty())
        self._task = self._progress.add_task("starting", total=None)
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._handlers = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def update(self, step: int, total: int, message: str = "") -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=step, total=total, description=message)

    def metrics(self, record: dict[str, Any]) -> None:
        """Print one line per epoch, and every note, above the bar."""
        lines = {"epoch": epoch_line, "note": lambda note: f"note: {note['message']}"}
        if record.get("kind") in lines:
            self._progress.console.print(lines[record["kind"]](record), highlight=False, soft_wrap=True)

    def should_stop(self) -> bool:
        """True after Ctrl-C."""
        return self.interrupted


def epoch_line(record: dict[str, Any]) -> str:
    """One epoch as a line of text."""
    parts = [f"epoch {record['epoch']:4d}", f"train loss {record['train_loss']:.4g}", f"val loss {record['val_loss']:.4g}"]
    for key, label in (("val_energy_mae_meV_per_atom", "E MAE {:.2f} meV/atom"), ("val_forces_mae_meV_per_A", "F MAE {:.1f} meV/Å")):
        if record.get(key) is not None:
            parts.append(label.format(record[key]))
    return "  ".join([*parts, f"lr {record['learning_rate']:.2g}", f"{record['frames_per_s']:.0f} frames/s"])


def show_result(title: str, result: dict[str, Any], json_file: Path | None) -> None:
    """Print a result as a table and, when asked, write it as JSON (numbers that are not finite become null).

    Raises StorageError when the JSON cannot be written.
    """
    if json_file is not None:
        write_json(result, json_file)
    table = Table(title=title, show_header=False, title_justify="left")
    rows = list(_rows(result))
    for key, text in rows[:MAX_ROWS_SHOWN]:
        table.add_row(key, text)
    if len(rows) > MAX_ROWS_SHOWN:
        table.add_row("…", f"{len(rows) - MAX_ROWS_SHOWN} more rows, see --json FILE")
    Console(**AS_IT_IS).print(table)


def show_passport(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Print one line of numbers per check, red when it failed, and under it what the check asks.

    header, rows : of `Passport.table`; the last column is the sentence
    """
    console = Console(highlight=False, **AS_IT_IS)
    widths = [max(len(row[column]) for row in [header, *rows]) + 2 for column in range(len(header) - 1)]
    console.print(title, style="bold")
    for row in [header, *rows]:
        line = "".join(text.ljust(width) for text, width in zip(row[:-1], widths, strict=True))
        style = "bold" if row is header else "red" if "✗" in line else "green"
        console.print(line, style=style, soft_wrap=True)
        if row is not header:
            console.print(Padding(Text(row[-1]), (0, 0, 0, 4)))


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> None:
    """Print a table with a heading, and notes under it; long lines are left to the terminal."""
    console = Console(highlight=False, **AS_IT_IS)
    console.print(f"\n{title}", style="bold")
    widths = [max(len(row[column]) for row in [header, *rows]) + 2 for column in range(len(header))]
    for row in [header, *rows] if header else []:
        line = "".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        console.print(line.rstrip(), style="bold" if row is header else "", soft_wrap=True)
    for note in notes:
        console.print(Padding(Text(note), (0, 0, 0, 4)))


def show_findings(findings: Sequence[Mapping[str, Any]]) -> None:
    """Print findings of the dataset detective, worst first, each with its evidence and what to do.

    findings : mappings with severity, title, evidence and advice
    """
    console = Console(highlight=False, **AS_IT_IS)
    for finding in findings:
        style = {"error": "bold red", "warning": "yellow"}.get(finding["severity"], "bold")
        console.print(f"{finding['severity']}: {finding['title']}", style=style, soft_wrap=True)
        for line in (finding["evidence"], finding["advice"]):
            if line:
                console.print(Padding(Text(line), (0, 0, 0, 4)))


def show_error(message: str) -> None:
    """Print one line on stderr."""
    Console(stderr=True, soft_wrap=True, **AS_IT_IS).print(f"error: {message}", style="red", highlight=False)


def _rows(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            nested = _rows(value, f"{prefix}{key}.")
            rows += [row for row in nested if row[0] not in values]
        elif value is not None:
            rows.append((f"{prefix}{key}", _text(value)))
    return rows


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple) and len(value) > 8:
        return f"{', '.join(_text(v) for v in value[:4])}, … ({len(value)} values)"
    if isinstance(value, list | tuple):
        return ", ".join(_text(v) for v in value)
    return str(value)
