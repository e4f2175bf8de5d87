"""Trajectory: the molecule in 3D, energy and temperature in time, distances between atoms."""

from __future__ import annotations

import streamlit as st

from toolkit.errors import ToolkitError
from toolkit.jobs.run_dir import Run
from toolkit.md.trajectory import Trajectory
from toolkit.ui.choices import offer_simulation
from toolkit.ui.page import begin, error_box
from toolkit.ui.runs import pick_run, watch
from toolkit.ui.tour import show_tour
from toolkit.ui.trajectory import pick_file, pick_replica, show_distances, show_motion, show_script, show_series


def main() -> None:
    """Draw the page."""
    begin("pages/4_Trajectory.py", "Watch a simulation and ask it first questions. Space plays and pauses; drag to "
                                   "turn, scroll to zoom.")
    run = pick_run("trajectory", "md")
    if run is None:
        st.info("There is no simulation yet.")
        st.page_link("app.py", label="Start the first run on the home page", icon=":material/home:")
    else:
        watch(run, _trajectory, every="4s")
        if run.ended:
            offer_simulation(run, ("equivariance", "spectra"))
            st.subheader("Now try")
            show_tour(first=1)


def _trajectory(run: Run) -> None:
    path = pick_file(run)
    if path is None:
        st.info("The first frames will appear here." if not run.ended else "This run has no trajectory.")
        return
    try:
        with Trajectory(path) as trajectory:
            _show(run, trajectory)
    except ToolkitError as error:
        error_box(error)


def _show(run: Run, trajectory: Trajectory) -> None:
    replica = pick_replica(run, trajectory)
    frames = int(trajectory.alive[:, replica].sum())
    if frames == 0:
        return
    left, right = st.columns([3, 2], gap="large")
    with left:
        show_motion(run, trajectory, replica, frames)
    with right:
        show_series(trajectory, replica, frames)
    if run.ended and frames > 1:
        show_distances(trajectory)
    show_script(trajectory.path, replica)


main()
