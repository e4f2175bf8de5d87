"""Evaluate: a potential against labelled frames: parity, errors by element and by force, the worst frames in 3D."""

from __future__ import annotations

import shlex

import streamlit as st

from toolkit.config import DataConfig, parse_config
from toolkit.jobs.requests import EvaluateRequest
from toolkit.jobs.run_dir import Run, read_config, read_metrics
from toolkit.jobs.scripts import evaluation_script
from toolkit.ui.choices import pick_model, pick_source
from toolkit.ui.evaluation import show_evaluation, tested_on
from toolkit.ui.explanations import explained
from toolkit.ui.forms import FormField, draw_form, forget_form
from toolkit.ui.page import begin, shown_errors
from toolkit.ui.runs import pick_run, show_notes, start_job, watch

READ = "evaluate.read"
READING = (
    FormField("energy_unit", "Energy unit"),
    FormField("length_unit", "Length unit"),
    FormField("forces_unit", "Forces unit"),
    FormField("energy_key", "Energy field"),
    FormField("forces_key", "Forces field"),
)


def main() -> None:
    """Draw the page."""
    begin("pages/9_Evaluate.py", "How well a potential predicts energies and forces that it has not seen, where it "
                                 "errs, and which frames to look at.")
    run = pick_run("evaluate", "evaluate", "New evaluation")
    if run is None:
        _form()
    else:
        watch(run, _result)


def _form() -> None:
    with shown_errors():
        left, right = st.columns(2)
        with left:
            model = pick_model("evaluate")
        if model is None:
            return
        own = tested_on(model)
        with right:
            first = {f"Its own {own.name}": own.name} if own else None
            source = pick_source("evaluate.own" if own else "evaluate", "Labelled frames", first)
        if own and source == own.name:
            data, part, _ = own
            st.caption("The frames that were set aside when it was trained: the honest error." if part == "test" else
                       "A few of the frames that were set aside when it was trained, shipped with it.")
        elif source is None:
            st.info("Choose a file with energies and forces: extended XYZ, npz, or anything that ASE reads.")
            return
        else:
            data, part = _reading(source), "all"
            st.caption("All frames of the file. Frames that it was trained on look better than they should.")
        dtype = st.segmented_control("Precision", ["float32", "float64"], default="float32", required=True,
                                     key="evaluate.dtype", help=explained("evaluate.dtype"))
        if st.button("Evaluate", type="primary", icon=":material/target:", key="evaluate.start"):
            request = EvaluateRequest(model=model, data=data, part=part, dtype=dtype)
            start_job("evaluate", request.model_dump(mode="json"))


def _reading(source: str) -> DataConfig:
    if st.session_state.get(READ) != source:  # another file: what was said about the first does not hold
        forget_form("evaluate.reading", READING)
    st.session_state[READ] = source
    with st.expander("The file means something else: set units or names of fields"), st.container(horizontal=True):
        values = draw_form("evaluate.reading", DataConfig, READING, {"train": source})
    return parse_config(DataConfig, {name: value or None for name, value in values.items()})


def _result(run: Run) -> None:
    show_notes(read_metrics(run.path))
    if run.ended:
        with shown_errors():
            show_evaluation(run)
    with st.expander("The same as a script and on the command line", icon=":material/terminal:"):
        request = parse_config(EvaluateRequest, read_config(run.path))
        st.code(evaluation_script(request), language="python")
        if request.part == "all":
            reading = request.data.model_dump(exclude_defaults=True, exclude={"train", "split"})
            options = [word for name, value in reading.items() for word in (f"--{name.replace('_', '-')}", str(value))]
            words = [request.model, request.data.train, *options, "--dtype", request.dtype, "--json", "errors.json"]
            st.code(f"python -m toolkit evaluate {shlex.join(words)}", language="bash", wrap_lines=True)


main()
