"""Alloys on the Study page: a ready-made workflow with a few changes, and its report."""

from __future__ import annotations

import streamlit as st

from toolkit.config import load_config, parse_config
from toolkit.jobs.run_dir import Run, read_config
from toolkit.jobs.workflow_config import MeltQuenchConfig, WorkflowConfig
from toolkit.jobs.workflow_report import report_sections
from toolkit.ui.choices import model_choices, workflows
from toolkit.ui.explanations import explained
from toolkit.ui.forms import FormField, draw_form
from toolkit.ui.page import shown_errors
from toolkit.ui.runs import pick_run, start_job, watch
from toolkit.ui.study import show_stages

MOLECULE, ALLOY = "One structure", "Alloy: melt and quench"
AS_CONFIGURED = "Train as configured"
CONDITIONS = (
    FormField("hot_K", "Melt at, K"),
    FormField("cooling_K_per_s", "Cooling rate, K/s"),
    FormField("glass_ps", "Glass, ps"),
    FormField("seed", "Seed"),
)
FILES = {
    "report.html": ("Report", "text/html"),
    "results.json": ("All numbers", "application/json"),
    "report.md": ("Summary in Markdown", "text/markdown"),
    "workflow.yaml": ("Configuration", "application/yaml"),
}
"""What a workflow leaves behind -> its name on the page and its kind."""


def pick_kind() -> str:
    """Which kind of study the page shows; the address of a run decides at first."""
    st.session_state.setdefault("study.kind", ALLOY if "-workflow-" in st.query_params.get("run", "") else MOLECULE)
    return st.segmented_control("Kind", [MOLECULE, ALLOY], required=True, key="study.kind",
                                help=explained("study.kind"), on_change=lambda: st.query_params.pop("run", None))


def alloy_section() -> None:
    """The form of a new workflow, or one of the runs."""
    run = pick_run("study.alloy", "workflow", "New workflow")
    if run is None:
        with shown_errors():
            _form()
    else:
        watch(run, _progress)


def _form() -> None:
    files, models = workflows(), {AS_CONFIGURED: None, **model_choices()}
    left, right = st.columns(2)
    with left:
        name = st.selectbox("Configuration", list(files), key="study.alloy.file", help=explained("study.alloy"))
    with right:
        model = st.selectbox("Model", list(models), key="study.alloy.model", help=explained("study.alloy_model"))
    config = load_config(WorkflowConfig, files[name])
    with st.container(horizontal=True):
        changed = draw_form(f"study.{name}", MeltQuenchConfig, CONDITIONS, config.melt_quench.model_dump(mode="json"))
    source = {} if models[model] is None else {"train": None, "model": models[model]}
    config = parse_config(WorkflowConfig, {**config.model_dump(mode="json"), "melt_quench": changed, **source})
    steps = sum(run.steps for run in config.melt_quench.runs().values())
    st.caption(f"{steps:,} steps of molecular dynamics, then g(r), coordination, bond angles, Voronoi cells, glass "
               "transition and elastic constants.")
    if st.button("Start the workflow", type="primary", icon=":material/science:", key="study.alloy.start"):
        start_job("workflow", config.model_dump(mode="json"))


def _progress(run: Run) -> None:
    config = parse_config(WorkflowConfig, read_config(run.path))
    show_stages(run, FILES, lambda results: report_sections(config, results))
    with st.expander("What was asked for"):
        st.json(config.model_dump(mode="json", exclude_none=True), expanded=1)
