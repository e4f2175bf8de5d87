"""Home: what the app does, what it runs on, and a first simulation with one click."""

from __future__ import annotations

import streamlit as st

from toolkit.config import MDConfig
from toolkit.errors import ToolkitError
from toolkit.jobs import launcher
from toolkit.jobs.requests import MDRequest
from toolkit.jobs.run_dir import Run, list_runs
from toolkit.jobs.summary import key_result, subject
from toolkit.models.folders import shipped_models
from toolkit.ui.page import PAGES, begin, device_line, error_box, plain
from toolkit.ui.runs import RUN_PAGES, run_label
from toolkit.ui.tour import show_groups, show_tour

def main() -> None:
    """Draw the page."""
    begin("app.py", "From quantum-chemistry data to a trained machine-learning potential, to molecular dynamics and "
                    "its analysis.", title="Equivariant interatomic potentials")
    _first_run(shipped_models())
    show_groups()
    left, right = st.columns([2, 1], gap="large")
    with left:
        st.subheader("Recent runs")
        _recent([run for run in list_runs() if run.status.task in RUN_PAGES][:8])
    with right:
        st.subheader("This machine")
        st.markdown(f"**Device** · {device_line()}")
        models = ", ".join(f"`{name}`" for name in shipped_models()) or "none yet: train one on the Train page"
        st.markdown(f"**Shipped models** · {models}")
        st.caption("Nothing leaves this machine, and no network is needed.")


def _first_run(models: list[str]) -> None:
    with st.container(border=True):
        text, button = st.columns([4, 1], vertical_alignment="center")
        text.markdown("**New here?** Watch aspirin move: half a picosecond at 300 K with the shipped potential, a "
                      "network that learned its energy from quantum chemistry. It takes less than a minute on two CPU "
                      "cores.")
        model = "aspirin" if "aspirin" in models else None
        clicked = button.button("Start the first run", key="home.first_run", type="primary", width="stretch",
                                icon=":material/play_arrow:", disabled=model is None,
                                help=None if model else "No model is shipped here yet; train one first.")
        if list_runs("md"):
            st.markdown("**Now try**")
            show_tour()
    if clicked and model:
        request = MDRequest(model=model, structure="embedded:aspirin", md=MDConfig(steps=1000, save_every=5, seed=1))
        try:
            run_dir = launcher.start("md", request.model_dump(mode="json"))
        except ToolkitError as error:
            error_box(error)
        else:
            st.switch_page("pages/4_Trajectory.py", query_params={"run": run_dir.name})


def _recent(runs: list[Run]) -> None:
    if not runs:
        st.caption("No runs yet. They will appear here and stay, also after this browser is closed.")
    for run in runs:
        page = RUN_PAGES[run.status.task]
        st.page_link(page, label=f"{run_label(run)} · {run.state}", icon=PAGES[page][1], query_params={"run": run.run_id})
        st.caption(plain(" · ".join(filter(None, (subject(run), key_result(run))))))


main()
