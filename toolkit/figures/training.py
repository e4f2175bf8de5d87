"""Curves of one training run, or of several over each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from toolkit.figures.plots import HEIGHT, PALETTE, log_axis

PANELS = (
    ("Loss", "loss", {"training": "train_loss", "validation": "val_loss"}),
    ("Force error (validation)", "MAE, meV/Å", {"forces": "val_forces_mae_meV_per_A"}),
    ("Energy error (validation)", "MAE, meV/atom", {"energy": "val_energy_mae_meV_per_atom"}),
    ("Stress error (validation)", "MAE, meV/Å³", {"stress": "val_stress_mae_meV_per_A3"}),
    ("Learning rate", "learning rate", {"learning rate": "learning_rate"}),
    ("Speed", "training frames/s", {"speed": "frames_per_s"}),
)
"""Title, vertical axis, and names of curves -> fields of an epoch's record. A panel that no run fills is left out."""
LINEAR = "Speed"
COLUMNS = 3
DASHES = ("solid", "dot")


def training_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]], against_time: bool = False) -> go.Figure:
    """Loss, errors on the validation frames, learning rate and speed against the epoch or the wall time.

    runs : name -> records of `metrics.jsonl`; those of other kinds than "epoch" are left out, and of an epoch that was
        repeated after a resume the last counts. Several runs have a colour each.
    """
    rows = {name: epoch_records(records) for name, records in runs.items()}
    panels = [panel for panel in PANELS if any(row.get(field) is not None for records in rows.values()
                                               for row in records for field in panel[2].values())]
    figure = make_subplots(rows=-(-len(panels) // COLUMNS) or 1, cols=COLUMNS, horizontal_spacing=0.08,
                           vertical_spacing=0.24, subplot_titles=[panel[0] for panel in panels])
    for i, (title, y_label, series) in enumerate(panels):
        place = {"row": i // COLUMNS + 1, "col": i % COLUMNS + 1}
        for k, (run, records) in enumerate(rows.items()):
            for (name, field), dash in zip(series.items(), reversed(DASHES[:len(series)]), strict=True):
                color = PALETTE[k % len(PALETTE) if len(rows) > 1 else 0]
                figure.add_trace(_line(records, field, run if len(rows) > 1 else name, color, dash, against_time)
                                 .update(showlegend=i == 0 and (len(rows) == 1 or dash == "solid")), **place)
        figure.update_xaxes(title_text="time, min" if against_time else "epoch", **place)
        figure.update_yaxes(title_text=y_label, tickformat="~g", **place)
        if title != LINEAR:
            figure.update_yaxes(**_log_axis([row.get(field) for records in rows.values() for row in records
                                             for field in series.values()]), **place)
    return figure.update_layout(height=HEIGHT * (-(-len(panels) // COLUMNS) or 1),
                                margin={"l": 60, "r": 20, "t": 60, "b": 50},
                                legend={"orientation": "h", "x": 0.0, "y": 1.08, "yanchor": "bottom"})


def _log_axis(values: Sequence[float | None]) -> dict[str, Any]:
    """One that holds all values that such an axis can show, with some room."""
    shown = [value for value in values if value is not None and math.isfinite(value) and value > 0.0]
    return log_axis(0.8 * min(shown), 1.25 * max(shown)) if shown else {"type": "log"}


def epoch_records(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One record an epoch, in order; of an epoch that was repeated after a resume the last."""
    epochs = {int(record["epoch"]): record for record in records if record.get("kind") == "epoch"}
    return [epochs[epoch] for epoch in sorted(epochs)]


def _line(records: Sequence[Mapping[str, Any]], field: str, name: str, color: str, dash: str,
          against_time: bool) -> go.Scatter:
    x = [row.get("wall_s", 0.0) / 60.0 if against_time else row["epoch"] for row in records]
    return go.Scatter(x=x, y=[row.get(field) for row in records], name=name, legendgroup=name,
                      mode="lines+markers" if len(x) < 40 else "lines", line={"color": color, "width": 2, "dash": dash},
                      hovertemplate=f"%{{x:.5g}}: %{{y:.5g}}<extra>{name}</extra>")
