"""Trajectory: the molecule in 3D, energy and temperature in time, distances between atoms."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from ase import Atoms

from toolkit.errors import ToolkitError
from toolkit.figures.plots import curves, with_reference
from toolkit.figures.structures import Scene, thinning_step, trajectory_scene
from toolkit.jobs.analyses import trajectory_rdf
from toolkit.jobs.run_dir import Run
from toolkit.md.trajectory import Trajectory
from toolkit.ui.page import begin, error_box
from toolkit.ui.runs import pick_run, watch
from toolkit.ui.viewer import show_scene

MANY_FRAMES = 20_000


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


def _trajectory(run: Run) -> None:
    path = run.path / "trajectory.h5"
    if not path.exists():
        st.info("The first frames will appear here." if not run.ended else "This run has no trajectory.")
        return
    try:
        with Trajectory(path) as trajectory:
            _show(run, trajectory)
    except ToolkitError as error:
        error_box(error)


def _show(run: Run, trajectory: Trajectory) -> None:
    replica = 0
    if trajectory.num_replicas > 1:
        last = trajectory.num_replicas - 1
        replica = int(st.number_input("Replica", 0, last, 0, key=f"trajectory.replica.{run.run_id}"))
    frames = int(trajectory.alive[:, replica].sum())
    for event in trajectory.breaks:
        if event.replica == replica:
            st.warning(f"This replica left the physics at {event.time_fs:.1f} fs: {event.reason}")
    if frames == 0:
        return
    times = trajectory.times_fs[:frames]
    left, right = st.columns([3, 2], gap="large")
    with left:
        scene = _scene(trajectory, frames, replica)
        show_scene(scene, key="trajectory.viewer", view=f"{run.run_id}.{replica}", height=520)
    with right:
        energies = {"potential": trajectory.potential_energy_eV[:frames, replica],
                    "total": (trajectory.potential_energy_eV + trajectory.kinetic_energy_eV)[:frames, replica]}
        st.plotly_chart(curves(times, {name: energy - energy[0] for name, energy in energies.items()}, "time, fs",
                               "energy − start, eV"), key="trajectory.energy")
        temperature = trajectory.temperature_K[:frames, replica]
        figure = curves(times, {"instantaneous": temperature}, "time, fs", "temperature, K")
        if trajectory.ensemble == "langevin":
            bath = trajectory.config.temperature_K
            figure = with_reference(figure, bath, f"heat bath, {bath:g} K")
        st.plotly_chart(figure, key="trajectory.temperature")
    if run.ended and frames > 1:
        _distances(trajectory)


def _scene(trajectory: Trajectory, frames: int, replica: int) -> Scene:
    step = thinning_step(frames, trajectory.num_atoms)
    positions = trajectory.positions(0, frames, step)[:, replica]
    labels = [f"{time:,.1f} fs" for time in trajectory.times_fs[:frames:step]]
    atoms = Atoms(trajectory.atomic_numbers, positions[0].astype(float), cell=trajectory.cell, pbc=trajectory.pbc)
    return trajectory_scene(atoms, positions, labels, frames_left_out=frames - len(positions))


@st.cache_data(max_entries=8, show_spinner="Measuring distances …")
def _distribution(path: str, modified: float, r_max: float) -> dict[str, Any]:
    return trajectory_rdf(path, r_max, 0.03)


def _distances(trajectory: Trajectory) -> None:
    st.subheader("How far atoms are from each other")
    total = trajectory.num_frames * trajectory.num_replicas
    question = f"Measure all {total:,} frames (this takes a while)"
    if total > MANY_FRAMES and not st.toggle(question, key="trajectory.measure"):
        return
    left, right = st.columns([1, 2], gap="large")
    with left:
        r_max = st.slider("Up to, Å", 2.0, 12.0, 6.0, 0.5, key="trajectory.r_max", persist_state="session")
        found = _distribution(str(trajectory.path), trajectory.path.stat().st_mtime, r_max)
        pairs = st.multiselect("Pairs", list(found["pairs"]), list(found["pairs"])[1:4], key="trajectory.pairs")
        st.caption("Sharp peaks are bonds; their width is thermal vibration. In a liquid the curve tends to 1, in a "
                   f"single molecule to 0. Averaged over {found['n_frames']:,} frames.")
    with right:
        shown = {pair: np.array(found["pairs"][pair]["values"]) for pair in pairs or ["total"]}
        st.plotly_chart(curves(np.array(found["r_A"]), shown, "distance, Å", found["quantity"]), key="trajectory.rdf")


main()
