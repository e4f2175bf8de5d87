"""What the Trajectory page shows of a simulation: its frames in 3D, energies and temperature in time, distances."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from ase import Atoms

from toolkit.figures.plots import curves, with_reference
from toolkit.figures.structures import Coloring, atoms_scene, thinning_step
from toolkit.jobs.analyses import trajectory_rdf
from toolkit.jobs.run_dir import Run
from toolkit.md.trajectory import Trajectory
from toolkit.ui.explanations import explained
from toolkit.ui.viewer import Movie, show_movie

MANY_FRAMES = 20_000
SPEED_SAMPLES = 50
BIN_WIDTH_A = 0.03
CLICKABLE = 150
"""Points of a line that answer to a click."""
_SYSTEM_FILE = re.compile(r"trajectory\.(\d+)\.h5")
R_MAX, R_MAX_A = "trajectory.r_max", 6.0


def pick_file(run: Run) -> Path | None:
    """The trajectory of a run, of several systems the one the user chooses; None before the first frame."""
    systems = {int(match[1]): path for path in run.path.glob("trajectory.*.h5")
               if (match := _SYSTEM_FILE.fullmatch(path.name))}
    if not systems:
        path = run.path / "trajectory.h5"
        return path if path.is_file() else None
    number = st.selectbox("System", sorted(systems), format_func=lambda n: f"{n + 1} of {len(systems)}",
                          key=f"trajectory.system.{run.run_id}", help=explained("trajectory.system"))
    return systems[number]


def pick_replica(run: Run, trajectory: Trajectory) -> int:
    """Which of the copies to show, with a warning for one that left the physics."""
    replica = 0
    if trajectory.num_replicas > 1:
        replica = int(st.number_input("Replica", 0, trajectory.num_replicas - 1, 0,
                                      key=f"trajectory.replica.{run.run_id}", help=explained("trajectory.replica")))
    for event in trajectory.breaks:
        if event.replica == replica:
            st.warning(f"This replica left the physics at {event.time_fs:.1f} fs: {event.reason}")
    return replica


def show_motion(run: Run, trajectory: Trajectory, replica: int, frames: int) -> None:
    """The replica's first frames in 3D, as many as it lived; a point clicked in a plot below moves the view there."""
    time_fs = _clicked_time(trajectory, replica)
    go_to = None
    if time_fs is not None:
        place = round(time_fs / trajectory.frame_interval_fs)
        go_to = (place // thinning_step(frames, trajectory.num_atoms), f"{time_fs}")
    view = f"{run.run_id}.{trajectory.path.name}.{replica}"
    show_movie(replica_movie(trajectory, replica, frames), "trajectory.viewer", view, 520, go_to)


def replica_movie(trajectory: Trajectory, replica: int, frames: int) -> Movie:
    """The first frames of a replica, coloured by speed where asked. Nothing but a few frames is read yet."""
    step = thinning_step(frames, trajectory.num_atoms)
    replicas = slice(replica, replica + 1)
    first = trajectory.positions(0, 1, replicas=replicas)[:, 0]
    atoms = Atoms(trajectory.atomic_numbers, first[0].astype(float), cell=trajectory.cell, pbc=trajectory.pbc)
    sample = trajectory.velocities(0, frames, max(1, frames // SPEED_SAMPLES), replicas)[:, 0]
    top = float(np.percentile(np.linalg.norm(sample, axis=-1), 99.0)) or 1.0
    count = len(range(0, frames, step))
    scene = replace(atoms_scene(atoms, first, "# fs"), frames_left_out=frames - count,
                    colorings=(Coloring("speed", "Å/fs", np.zeros(first.shape[:2]), top),))

    def read(start: int, stop: int) -> np.ndarray:
        chosen = (start * step, (stop - 1) * step + 1, step)
        speeds = np.linalg.norm(trajectory.velocities(*chosen, replicas)[:, 0], axis=-1)
        return replace(scene, positions=trajectory.positions(*chosen, replicas)[:, 0],
                       cells=None if scene.cells is None else trajectory.cells(*chosen)[:, replica],
                       numbers=trajectory.frame_interval_fs * step * np.arange(start, stop),
                       colorings=(replace(scene.colorings[0], values=speeds),)).records()

    file = trajectory.path.stat()
    return Movie(scene, count, f"{trajectory.path}:{file.st_ino}:{replica}:{step}", read)


def time_series(trajectory: Trajectory, replica: int, frames: int) -> dict[str, np.ndarray]:
    """Time, energies and temperature of a replica, (T,) each, by names that carry the units."""
    potential, kinetic = (energy[:frames, replica] for energy in (trajectory.potential_energy_eV,
                                                                  trajectory.kinetic_energy_eV))
    return {"time_fs": trajectory.times_fs[:frames], "potential_energy_eV": potential, "kinetic_energy_eV": kinetic,
            "total_energy_eV": potential + kinetic, "temperature_K": trajectory.temperature_K[:frames, replica]}


def show_series(trajectory: Trajectory, replica: int, frames: int) -> None:
    """Energies and temperature in time; a click on the energies moves the 3D view. The numbers as CSV."""
    series = time_series(trajectory, replica, frames)
    times = series["time_fs"]
    energies = {name: series[f"{name}_energy_eV"] for name in ("potential", "total")}
    figure = curves(times, {name: energy - energy[0] for name, energy in energies.items()}, "time, fs",
                    "energy − start, eV")
    st.plotly_chart(_clickable(figure), key=_energy_chart(trajectory, replica), on_select="rerun",
                    selection_mode="points")
    st.caption("Click a point to see its frame in 3D.")
    figure = curves(times, {"instantaneous": series["temperature_K"]}, "time, fs", "temperature, K")
    if trajectory.ensemble == "langevin" and not trajectory.config.heating_K_per_step:
        bath = trajectory.config.start_temperatures_K[replica]
        figure = with_reference(figure, bath, f"heat bath, {bath:g} K")
    st.plotly_chart(figure, key="trajectory.temperature")
    path = trajectory.path
    st.download_button("Energies and temperature (CSV)", lambda: _csv(path, replica, frames), "time_series.csv",
                       "text/csv", key="trajectory.csv", icon=":material/download:", on_click="ignore")


def show_distances(trajectory: Trajectory) -> None:
    """Distributions of the distances between elements, over all frames and replicas."""
    st.subheader("How far atoms are from each other")
    total = trajectory.num_frames * trajectory.num_replicas
    question = f"Measure all {total:,} frames (this takes a while)"
    if total > MANY_FRAMES and not st.toggle(question, key="trajectory.measure",
                                              help=explained("trajectory.measure")):
        return
    left, right = st.columns([1, 2], gap="large")
    with left:
        r_max = st.slider("Up to, Å", 2.0, 12.0, R_MAX_A, 0.5, key=R_MAX, persist_state="session",
                          help=explained("trajectory.r_max"))
        found = _distribution(str(trajectory.path), trajectory.path.stat().st_mtime, r_max)
        pairs = st.multiselect("Pairs", list(found["pairs"]), list(found["pairs"])[1:4], key="trajectory.pairs",
                               help=explained("trajectory.pairs"))
        st.caption("Sharp peaks are bonds; their width is thermal vibration. In a liquid the curve tends to 1, in a "
                   f"single molecule to 0; of slabs and wires it counts neighbours. Averaged over {found['n_frames']:,} frames.")
    with right:
        shown = {pair: np.array(found["pairs"][pair]["values"]) for pair in pairs or ["total"]}
        st.plotly_chart(curves(np.array(found["r_A"]), shown, "distance, Å", found["quantity"]), key="trajectory.rdf")


def show_script(path: Path, replica: int) -> None:
    """The numbers of this page from Python."""
    r_max_A = st.session_state.get(R_MAX, R_MAX_A)
    with st.expander("As a script", icon=":material/code:"):
        st.code(f'''from toolkit.jobs.analyses import trajectory_rdf
from toolkit.md.trajectory import Trajectory

path = {str(path)!r}
with Trajectory(path) as trajectory:
    times_fs = trajectory.times_fs
    potential_energy_eV = trajectory.potential_energy_eV[:, {replica}]
    total_energy_eV = potential_energy_eV + trajectory.kinetic_energy_eV[:, {replica}]
    temperature_K = trajectory.temperature_K[:, {replica}]
distances = trajectory_rdf(path, r_max_A={r_max_A}, bin_width_A={BIN_WIDTH_A})
''', language="python")


@st.cache_data(max_entries=8, show_spinner="Measuring distances …")
def _distribution(path: str, modified: float, r_max: float) -> dict[str, Any]:
    return trajectory_rdf(path, r_max, BIN_WIDTH_A)


def _energy_chart(trajectory: Trajectory, replica: int) -> str:
    """Key of the chart: a click in that of one run says nothing of another."""
    return f"trajectory.energy.{trajectory.path}.{replica}"


def _clicked_time(trajectory: Trajectory, replica: int) -> float | None:
    """Of the point that was clicked in the energies, fs."""
    points = st.session_state.get(_energy_chart(trajectory, replica), {}).get("selection", {}).get("points", [])
    return float(points[0]["x"]) if points else None


def _clickable(figure: go.Figure) -> go.Figure:
    """Plotly selects markers only: put some on each line, unseen until one is chosen. Thousands would be slow."""
    for line in figure.data:
        some = slice(None, None, -(-len(line.x) // CLICKABLE))
        figure.add_trace(go.Scatter(x=line.x[some], y=line.y[some], mode="markers", showlegend=False,
                                    hovertemplate=line.hovertemplate,
                                    marker={"color": line.line.color, "size": 9, "opacity": 0.0},
                                    selected={"marker": {"opacity": 1.0}}, unselected={"marker": {"opacity": 0.0}}))
        line.update(hoverinfo="skip", hovertemplate=None)  # else a click finds the line, which cannot be selected
    return figure


def _csv(path: Path, replica: int, frames: int) -> str:
    with Trajectory(path) as trajectory:
        series = time_series(trajectory, replica, frames)
    text = io.StringIO()
    np.savetxt(text, np.column_stack(list(series.values())), "%.10g", ",", header=",".join(series), comments="")
    return text.getvalue()
