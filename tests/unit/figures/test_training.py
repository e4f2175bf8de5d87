"""Training curves: repeated epochs, several runs, and panels that nothing fills."""

from __future__ import annotations

from typing import Any

from toolkit.figures.training import training_curves


def record(epoch: int, loss: float, **changes: Any) -> dict[str, Any]:
    return {"kind": "epoch", "epoch": epoch, "train_loss": loss, "val_loss": loss, "learning_rate": 0.01,
            "val_forces_mae_meV_per_A": 10.0, "val_energy_mae_meV_per_atom": None, "frames_per_s": 5.0,
            "wall_s": 30.0 * epoch, **changes}


def test_the_last_record_of_a_repeated_epoch_counts_and_axes_have_units() -> None:
    figure = training_curves({"a": [record(1, 3.0), record(2, 9.0), {"kind": "other"}, record(2, 2.0)]})
    assert figure.data[0].x == (1, 2) and figure.data[0].y == (3.0, 2.0)
    titles = [axis.title.text for axis in figure.select_yaxes()]
    assert titles[:4] == ["loss", "MAE, meV/Å", "learning rate", "training frames/s"]
    assert [trace.name for trace in figure.data if trace.showlegend] == ["training", "validation"]
    assert len(training_curves({"a": []}).data) == 0


def test_several_runs_have_a_colour_each_and_one_entry_in_the_legend() -> None:
    runs = {"a": [record(1, 3.0)], "b": [record(1, 4.0, val_stress_mae_meV_per_A3=2.0)]}
    figure = training_curves(runs, against_time=True)
    assert [trace.name for trace in figure.data if trace.showlegend] == ["a", "b"]
    assert {trace.name: trace.line.color for trace in figure.data}["a"] != figure.data[-1].line.color
    assert figure.data[0].x == (0.5,) and "MAE, meV/Å³" in [axis.title.text for axis in figure.select_yaxes()]
