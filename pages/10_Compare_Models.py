"""Compare models: several potentials side by side on the same frames: errors, speed, passport, stability."""

from __future__ import annotations

import streamlit as st

from toolkit.config import parse_config
from toolkit.jobs.compare_config import CompareRequest
from toolkit.ui.compare import pick_frames, pick_models, show_comparison
from toolkit.ui.explanations import explained
from toolkit.ui.forms import FormField, draw_form
from toolkit.ui.page import begin, shown_errors
from toolkit.ui.runs import pick_run, start_job, watch

JUDGED = (FormField("frames", "Frames at most"), FormField("speed_s", "Timing, s"))
SIMULATED = (FormField("md_ps", "Simulation, ps"), FormField("replicas", "Replicas"),
             FormField("temperature_K", "Temperature, K"), FormField("timestep_fs", "Time step, fs"))


def main() -> None:
    """Draw the page."""
    begin("pages/10_Compare_Models.py", "Which potential for this job? Errors on the same frames, what they differ by "
                                        "and how sure that is, speed, memory, passport, and stability in a simulation.")
    run = pick_run("compare", "compare", "New comparison")
    if run is None:
        _form()
    else:
        watch(run, show_comparison)


def _form() -> None:
    with shown_errors():
        left, right = st.columns(2)
        with left:
            models = pick_models()
        with right:
            chosen = pick_frames(models)
        with st.container(horizontal=True):
            values = draw_form("compare", CompareRequest, JUDGED, {})
            dtype = st.segmented_control("Precision", ["float32", "float64"], default="float32", required=True,
                                         key="compare.dtype", help=explained("compare.dtype"))
        with st.container(horizontal=True):
            values = draw_form("compare", CompareRequest, SIMULATED, values)
        st.caption("One row a model, as soon as it is known; stopping loses nothing. A simulation of 0 ps is left out.")
        if len(models) < 2:
            st.info("Choose two models or more.")
            st.page_link("pages/2_Train.py", label="Train another one", icon=":material/model_training:")
        elif chosen is None:
            st.info("Choose a file with energies and forces: extended XYZ, npz, or anything that ASE reads.")
        elif st.button("Compare", type="primary", icon=":material/compare_arrows:", key="compare.start"):
            data, part = chosen
            request = parse_config(CompareRequest, {**values, "models": models, "data": data, "part": part,
                                                    "dtype": dtype})
            start_job("compare", request.model_dump(mode="json"))


main()
