"""Train: a form from a preset, a job, and its live curves."""

from __future__ import annotations

import shlex
from typing import Any

import streamlit as st
import yaml

from toolkit.config import TrainConfig, load_config, parse_config
from toolkit.figures.plots import training_curves
from toolkit.jobs.run_dir import Run, read_json, read_metrics
from toolkit.ui.choices import pick_source, presets
from toolkit.ui.forms import FormField, draw_form, forget_form
from toolkit.ui.page import begin, quantity, show_numbers, shown_errors
from toolkit.ui.runs import pick_run, start_job, watch

DATA = (
    FormField("data.split.method", "Split", "blocks: contiguous stretches, for one trajectory; random: for independent frames."),
    FormField("data.split.num_train", "Training frames", "The model learns from these; more of them, less error."),
    FormField("data.split.num_val", "Validation frames", "Judge the model after each epoch; the best epoch is kept."),
    FormField("data.split.num_test", "Test frames", "Looked at once, at the end: the honest error."),
    FormField("data.split.seed", "Split seed", "The same seed gives the same split."),
)
MODEL = (
    FormField("model.r_max", "Cutoff radius, Å", "Atoms further apart exchange no messages. Cost grows as its cube."),
    FormField("model.num_layers", "Layers", "Each layer carries information one cutoff further and adds body order."),
    FormField("model.l_max", "l max", "Angular resolution of features: 0 sees distances only, 1 vectors, 2 more."),
    FormField("model.num_features", "Channels", "Features of each kind on every atom: capacity, and cost."),
    FormField("model.parity", "Both parities", "Also keep features that change sign under inversion the other way."),
)
LEARNING = (
    FormField("max_epochs", "Epochs", "How often every training frame is seen."),
    FormField("batch_size", "Batch size", "Frames a step. Small is better per epoch, large is faster on a GPU."),
    FormField("optimizer.learning_rate", "Learning rate", "Too large diverges, too small does not arrive."),
    FormField("loss.energy_weight", "Weight of energies", "In the loss: squared error, (eV/atom)², times this."),
    FormField("loss.forces_weight", "Weight of forces", "In the loss: squared error, (eV/Å)², times this."),
)
MACHINE = (
    FormField("device", "Device", "auto takes the GPU where there is one. Or cpu, cuda, cuda:1."),
    FormField("dtype", "Precision", "float32 is faster; float64 for Hessians and checks of symmetry."),
    FormField("seed", "Seed", "Of the batch order. The same seed on the same machine gives the same run."),
)


def main() -> None:
    """Draw the page."""
    begin("pages/2_Train.py", "The network predicts the energy of each atom from its surroundings; forces are the "
                              "exact gradient. It learns from both. Training goes on when this page is closed.")
    run = pick_run("train", "train", "New training run")
    if run is None:
        _form()
    else:
        watch(run, _progress)


def _form() -> None:
    known = presets()
    choice = st.selectbox("Preset", list(known), key="train.preset", persist_state="session",
                          on_change=forget_form, args=("train", (*DATA, *MODEL, *LEARNING, *MACHINE)),
                          help="A complete configuration from configs/; everything below starts from it.")
    with shown_errors():
        values = load_config(TrainConfig, known[choice]).model_dump(mode="json")
        values = _choose_data(values)
        for title, fields in (("Model", MODEL), ("Learning", LEARNING), ("Machine", MACHINE)):
            values = _section(title, fields, values)
        config = parse_config(TrainConfig, values)
        shown = config.model_dump(mode="json", exclude_defaults=True)
        if st.button("Start training", type="primary", icon=":material/play_arrow:", key="train.start"):
            start_job("train", config.model_dump(mode="json"))
        with st.expander("As a YAML file and a command"):
            st.code(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), language="yaml")
            st.code("python -m toolkit train my_training.yaml", language="bash")


def _choose_data(values: dict[str, Any]) -> dict[str, Any]:
    st.subheader("Data")
    left, right = st.columns(2)
    with left:
        source = pick_source("train")
    with right:
        test = pick_source("train.test", "Test data", first={"Split from the data": ""})
    if source != values["data"]["train"]:  # another file: what the preset says about its own file does not hold
        values["data"] |= {"train": source, "val": None, "energy_key": None, "forces_key": None, "stress_key": None}
    values["data"]["test"] = test or None
    return _fields(DATA, values)


def _section(title: str, fields: tuple[FormField, ...], values: dict[str, Any]) -> dict[str, Any]:
    st.subheader(title)
    return _fields(fields, values)


def _fields(fields: tuple[FormField, ...], values: dict[str, Any]) -> dict[str, Any]:
    with st.container(horizontal=True):
        return draw_form("train", TrainConfig, fields, values)


def _progress(run: Run) -> None:
    epochs = [record for record in read_metrics(run.path) if record.get("kind") == "epoch"]
    result = read_json(run.path / "result.json") or {}
    if epochs:
        last = epochs[-1]
        show_numbers({
            "Epoch": f"{last['epoch']}", "Force error (validation)": quantity(last["val_forces_mae_meV_per_A"], 1, "meV/Å"),
            "Energy error (validation)": quantity(last["val_energy_mae_meV_per_atom"], 2, "meV/atom"),
            "Speed": f"{last['frames_per_s']:.0f} frames/s"})
        st.plotly_chart(training_curves(epochs), key=f"train.curves.{run.run_id}")
    elif not run.ended:
        st.info("The first point appears after the first epoch.")
    if "test.forces_mae_meV_per_A" in result:
        st.subheader("On the test frames, never seen before")
        show_numbers({"Force MAE": quantity(result["test.forces_mae_meV_per_A"], 1, "meV/Å"),
                      "Force RMSE": quantity(result["test.forces_rmse_meV_per_A"], 1, "meV/Å"),
                      "Energy MAE": quantity(result["test.energy_mae_meV_per_atom"], 2, "meV/atom"),
                      "Wall time": quantity(result["wall_s"] / 60, 1, "min")})
        st.page_link("pages/3_Molecular_Dynamics.py", label="Run molecular dynamics with this model",
                     icon=":material/thermostat:")
    with st.expander("The same on the command line"):
        st.code(f"python -m toolkit train {shlex.quote(str(run.path / 'config.json'))} -o runs/my_run", language="bash")


main()
