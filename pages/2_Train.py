"""Train: a form from a preset, a job, and its live curves."""

from __future__ import annotations

import shlex
from typing import Any

import streamlit as st

from toolkit.config import TrainConfig
from toolkit.config_model import ARCHITECTURE_FIELDS
from toolkit.figures.training import epoch_records, training_curves
from toolkit.jobs.run_dir import Run, read_metrics
from toolkit.storage import read_json
from toolkit.ui.explanations import equation
from toolkit.ui.forms import FormField, draw_form
from toolkit.ui.page import SVG, begin, quantity, show_numbers, shown_errors
from toolkit.ui.runs import clone_button, pick_run, show_notes, show_queue, watch
from toolkit.ui.students import teach_section
from toolkit.ui.training import (
    checked,
    choose_data,
    choose_model,
    choose_start,
    go_on_with_model,
    pick_start,
    show_texts,
    start_section,
)

DATA = (
    FormField("data.split.method", "Split"),
    FormField("data.split.num_train", "Training frames"),
    FormField("data.split.num_val", "Validation frames"),
    FormField("data.split.num_test", "Test frames"),
    FormField("data.split.gap", "Frames between"),
    FormField("data.split.seed", "Split seed"),
)
MODEL = (
    FormField("model.architecture", "Architecture", options=tuple(ARCHITECTURE_FIELDS)),
    FormField("model.r_max", "Cutoff radius, Å"),
    FormField("model.num_layers", "Layers"),
    FormField("model.l_max", "Largest degree l"),
    FormField("model.num_features", "Channels"),
    FormField("model.parity", "Both parities"),
)
LEARNING = (
    FormField("max_epochs", "Epochs"),
    FormField("max_train_s", "Time limit, s"),
    FormField("batch_size", "Batch size"),
    FormField("optimizer.name", "Optimiser"),
    FormField("optimizer.learning_rate", "Learning rate"),
    FormField("loss.energy_weight", "Weight of energies"),
    FormField("loss.forces_weight", "Weight of forces"),
)
MACHINE = (
    FormField("device", "Device"),
    FormField("dtype", "Precision"),
    FormField("seed", "Seed"),
)
SECTIONS = (
    ("Data", r"Test frames are looked at once, at the end.", DATA),
    ("Model", r"$E = \sum_i E_i$ over atoms, $F_i = -\partial E / \partial x_i$; each $E_i$ depends on what lies "
              r"within the cutoff, in NequIP and AtomGNN times layers "
              r"([Batzner et al. 2022](https://doi.org/10.1038/s41467-022-29939-5)).", MODEL),
    ("Learning", r"Loss: $w_E \, \langle (\Delta E / N)^2 \rangle + w_F \, \langle |\Delta F|^2 \rangle / 3$, "
                 r"lowered by [Adam](https://arxiv.org/abs/1412.6980) or "
                 r"[Muon](https://arxiv.org/abs/2502.16982).", LEARNING),
    ("Machine", r"One job at a time has the GPU; others wait for it.", MACHINE),
)
FIELDS = (*DATA, *MODEL, *LEARNING, *MACHINE)


def main() -> None:
    """Draw the page."""
    begin("pages/2_Train.py", "The network predicts the energy of each atom from its surroundings; forces are the "
                              "exact gradient. It learns from both. Training goes on when this page is closed.")
    run = pick_run("train", "train", "New training run")
    if run is None:
        _form()
    else:
        watch(run, _progress)
        clone_button(run)


def _form() -> None:
    show_queue()
    with shown_errors():
        base = pick_start(FIELDS)
        top = st.container()
        left, right = st.columns([3, 2], gap="large")
        config = None
        with left, shown_errors():
            config = checked(_widgets(base))
        with right:
            agreed = show_texts(config, FIELDS)
        with top:
            if config and agreed:
                start_section(config)
            else:
                st.warning("Something is wrong below; correct it to start.", icon=":material/arrow_downward:")


def _widgets(values: dict[str, Any]) -> dict[str, Any]:
    for title, text, fields in SECTIONS:
        st.subheader(title)
        st.caption(text)
        if fields is DATA:
            values = choose_data(values)
        if fields is MODEL:
            values = choose_start(values)
        with st.container(horizontal=True):
            values = choose_model(values, fields) if fields is MODEL else draw_form("train", TrainConfig, fields, values)
    return values


def _progress(run: Run) -> None:
    records = read_metrics(run.path)
    epochs = epoch_records(records)
    result = read_json(run.path / "result.json") or {}
    if epochs:
        last = epochs[-1]
        show_numbers({
            "Epoch": f"{last['epoch']}",
            "Force error (validation)": quantity(last["val_forces_mae_meV_per_A"], 1, "meV/Å"),
            "Energy error (validation)": quantity(last["val_energy_mae_meV_per_atom"], 2, "meV/atom"),
            "Speed": f"{last['frames_per_s']:.0f} frames/s"})
        st.plotly_chart(training_curves({run.run_id: epochs}), key=f"train.curves.{run.run_id}", config=SVG)
    elif not run.ended:
        st.info("The first point appears after the first epoch.")
    show_notes(records)
    if "test.forces_mae_meV_per_A" in result:
        _test_errors(result)
    if run.state == "finished":
        go_on_with_model(run)
        teach_section(run)
    with st.expander("The same on the command line", icon=":material/terminal:"):
        st.code(f"python -m toolkit train {shlex.quote(str(run.path / 'config.json'))} -o runs/my_run", language="bash")


def _test_errors(result: dict[str, Any]) -> None:
    st.subheader("On the test frames, never seen before")
    show_numbers({"Force MAE": quantity(result["test.forces_mae_meV_per_A"], 1, "meV/Å"),
                  "Force RMSE": quantity(result["test.forces_rmse_meV_per_A"], 1, "meV/Å"),
                  "Energy MAE": quantity(result["test.energy_mae_meV_per_atom"], 2, "meV/atom"),
                  "Wall time": quantity(result["wall_s"] / 60, 1, "min")})
    st.caption("MAE: mean absolute error of a force component, and of the energy per atom. " + equation("errors"))


main()
