"""Runs: everything that was ever started here, compared, opened and deleted."""

from __future__ import annotations

import streamlit as st

from toolkit.jobs.run_dir import list_runs
from toolkit.ui.explanations import explained
from toolkit.ui.page import begin
from toolkit.ui.run_table import pick_runs, show_curves, show_run
from toolkit.ui.runs import RUN_PAGES, TASK_NAMES, show_queue


def main() -> None:
    """Draw the page."""
    begin("pages/8_Runs.py", "Everything that was started here, by everybody who uses this server. Each run is a "
                             "folder with what was asked for, on what it ran, and what came out.")
    runs = [run for run in list_runs() if run.status.task in RUN_PAGES]
    if not runs:
        st.info("No runs yet. Train a model or simulate a molecule; it will appear here.")
        return
    if any(not run.ended for run in runs):
        st.subheader("At work and waiting")
        show_queue()
        st.subheader("All runs")
    tasks = st.pills("Show", sorted({run.status.task for run in runs}), selection_mode="multi", key="runs.tasks",
                     help=explained("runs.tasks"),
                     format_func=TASK_NAMES.get)
    chosen = pick_runs([run for run in runs if not tasks or run.status.task in tasks])
    trained = [run for run in chosen if run.status.task == "train"]
    if trained:
        show_curves(trained)
    if len(chosen) == 1:
        show_run(chosen[0])
    elif len(chosen) > len(trained) > 0:
        st.caption("Only training runs have curves.")
    elif chosen and not trained:
        st.caption("Tick one row only to see everything about it.")


main()
