"""Study: everything that is asked of a potential on one structure, or of an alloy, in one job with a report."""

from __future__ import annotations

import streamlit as st

from toolkit.config import parse_config
from toolkit.jobs.run_dir import Run, read_config
from toolkit.jobs.study_config import PRESETS, StudyConfig, StudyRequest
from toolkit.jobs.study_report import study_command
from toolkit.ui.choices import pick_frame, pick_model, pick_structure
from toolkit.ui.explanations import explained
from toolkit.ui.forms import FormField, draw_form
from toolkit.ui.page import begin, shown_errors
from toolkit.ui.runs import pick_run, start_job, watch
from toolkit.ui.study import show_study
from toolkit.ui.workflow import ALLOY, alloy_section, pick_kind

CONDITIONS = (
    FormField("temperature_K", "Temperature, K"),
    FormField("timestep_fs", "Time step, fs"),
    FormField("seed", "Seed"),
)
LENGTHS = (
    FormField("nve_ps", "Constant energy, ps"),
    FormField("nvt_ps", "Heat bath, ps"),
    FormField("nvt_replicas", "Replicas"),
    FormField("resolution_cm1", "Resolution, cm⁻¹"),
)
STAGES = ("Relaxation and normal modes → equilibration → constant energy in float64 and float32 → heat bath → "
          "distances, vibrational spectrum, modes in motion, torsions → report")


def main() -> None:
    """Draw the page."""
    begin("pages/7_Study.py", "The whole verification of a potential on one structure, from the minimum to the free "
                              "energy of its torsions, with a report to keep.")
    if pick_kind() == ALLOY:
        alloy_section()
        return
    run = pick_run("study", "study", "New study")
    if run is None:
        _form()
    else:
        watch(run, _progress)


def _form() -> None:
    st.caption(STAGES)
    with shown_errors():
        left, middle, right = st.columns([2, 2, 1])
        with left:
            model = pick_model("study")
        if model is None:
            return
        with middle:
            structure = pick_structure("study")
        with right:
            frame = pick_frame("study", structure)
        preset = st.segmented_control("Size", list(PRESETS), default="coffee-break", required=True, key="study.preset",
                                      format_func=lambda name: name.replace("-", " "),
                                      help=explained("study.preset"))
        values = {**StudyConfig().model_dump(mode="json"), **PRESETS[preset]}
        with st.container(horizontal=True):
            values = draw_form("study", StudyConfig, CONDITIONS, values)
        with st.container(horizontal=True):
            values = draw_form(f"study.{preset}", StudyConfig, LENGTHS, values)
        config = parse_config(StudyConfig, values)
        steps = 2 * config.nve().steps + config.equilibration().steps + config.nvt().steps * config.nvt_replicas
        st.caption(f"{steps:,} steps of one replica in all.")
        if structure is None:
            st.info("Choose a structure to start from.")
        elif st.button("Start the study", type="primary", icon=":material/science:", key="study.start"):
            request = StudyRequest(model=model, structure=structure, frame=frame, study=config)
            start_job("study", request.model_dump(mode="json"))


def _progress(run: Run) -> None:
    show_study(run)
    request = parse_config(StudyRequest, read_config(run.path))
    with st.expander("What was asked for, and the same on the command line"):
        st.json(request.model_dump(mode="json"), expanded=1)  # a script leaves defaults out
        st.code(study_command(request), language="bash", wrap_lines=True)


main()
