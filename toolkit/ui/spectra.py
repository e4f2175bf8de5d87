"""What the Spectra page shows of normal modes: numbers, sticks, a mode in motion, and a simulation against them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from ase import Atoms

from toolkit.analysis.mode_spectra import ModeSpectra, Peak
from toolkit.analysis.normal_modes import NormalModes
from toolkit.config import parse_config
from toolkit.data.detective.findings import count
from toolkit.errors import ToolkitError
from toolkit.figures.modes import bands, mode_scene, mode_temperatures, spectra_against_modes, sticks
from toolkit.figures.plots import curve
from toolkit.jobs.mode_analysis import spectra_of_modes
from toolkit.jobs.frames import FrameReader
from toolkit.jobs.modes import ModesRequest, load_modes
from toolkit.jobs.run_dir import Run, list_runs, read_config
from toolkit.md.trajectory import Trajectory
from toolkit.ui.explanations import equation, explained
from toolkit.ui.page import PAGES, show_numbers, shown_errors
from toolkit.ui.runs import run_label
from toolkit.ui.viewer import show_scene

PAGE = "spectra"
MODE_BY_MODE = """
Each frame is turned into the Eckart frame and its velocities are projected on the modes. Comb: harmonic frequencies of
the Hessian. A shift to the left of it is anharmonicity; very broad bands belong to groups that turn rather than
vibrate.
"""


def show_modes(run: Run, result: dict[str, Any]) -> None:
    """Everything about a finished computation of normal modes."""
    atoms, modes = _modes(str(run.path), (run.path / "modes.npz").stat().st_mtime)
    numbers = {"Vibrations": f"{len(modes.frequencies_cm1)}", "Imaginary": f"{modes.n_imaginary}",
               "Zero-point energy": f"{modes.zero_point_energy_eV:.3f} eV",
               "Largest zero mode": f"{np.abs(modes.zero_modes_unprojected_cm1).max():.2g} cm⁻¹"}
    gas = result.get("thermochemistry")
    if gas:
        numbers["Gas free energy"] = f"{gas['gibbs_energy_eV']:.3f} eV"
    show_numbers(numbers)
    st.caption("Imaginary modes mean a saddle, not a minimum. Zero modes are what the Hessian itself gives for "
               "translations and rotations, before they are projected out. " + equation("normal-modes")
               + (_about_the_gas(gas) if gas else ""))
    if len(modes.frequencies_cm1):
        _show_vibrations(run, atoms, modes)
    if result.get("phonons"):
        _show_phonons(result["phonons"])
    with st.expander("What was asked for"):
        st.json(parse_config(ModesRequest, read_config(run.path)).model_dump(mode="json"), expanded=1)


def _about_the_gas(gas: dict[str, Any]) -> str:
    return (f" Free energy: ideal gas at {gas['temperature_K']:g} K, 1 bar, symmetry number {gas['symmetry_number']}, "
            f"{count(round(2 * gas.get('spin', 0.0)), 'unpaired electron')}, above the minimum. {equation('thermochemistry')}")


def _show_vibrations(run: Run, atoms: Atoms, modes: NormalModes) -> None:
    """The modes, one of them in motion, and a simulation beside them."""
    compared = None
    with shown_errors():  # a simulation that does not suit leaves the modes
        simulation = _pick_simulation(modes)
        compared = None if simulation is None else _compared(str(run.path), *simulation)
    left, right = st.columns([3, 2], gap="large")
    with left:
        mode = _pick_mode(run, modes, compared)
    with right:
        frequency = modes.frequencies_cm1[mode]
        show_scene(mode_scene(atoms, modes.displacements(mode), f"{frequency:.0f} cm⁻¹"), f"{PAGE}.viewer", f"{run.run_id}.{mode}", 420)
        st.caption(f"Mode {mode + 1} at {frequency:.1f} cm⁻¹, reduced mass "
                   f"{modes.reduced_masses_amu[mode]:.2f} amu. The motion is enlarged.")
    if compared is not None:
        _show_comparison(modes, mode, *compared)


def _pick_mode(run: Run, modes: NormalModes, compared: tuple[ModeSpectra, list[Peak], float] | None) -> int:
    """A table in which a click chooses the mode, under sticks that show it; the highest mode first."""
    slot = st.container()
    columns = {"mode": np.arange(len(modes.frequencies_cm1)) + 1, "harmonic, cm⁻¹": modes.frequencies_cm1.round(1)}
    if compared is not None:
        spectra = compared[0]
        columns |= {"in motion, cm⁻¹": spectra.centre_cm1.round(1), "shift, cm⁻¹": spectra.shift_cm1.round(1),
                    "width, cm⁻¹": spectra.width_cm1.round(1), "share in band": spectra.band_share.round(2),
                    "temperature, K": spectra.kinetic_K.round(0)}
    columns["reduced mass, amu"] = modes.reduced_masses_amu.round(2)
    event = st.dataframe(columns, key=f"{PAGE}.table.{run.run_id}", on_select="rerun", selection_mode="single-row",
                         hide_index=True, height=260, column_config={name: st.column_config.NumberColumn(format="%.1f")
                                                                     for name in columns if name.endswith("cm⁻¹")})
    st.caption("Click the box at the left of a row to see that mode move.")
    rows = event.selection.rows
    mode = rows[0] if rows else len(modes.frequencies_cm1) - 1
    slot.plotly_chart(sticks(modes.frequencies_cm1, modes.reduced_masses_amu, "reduced mass, amu", mode),
                      key=f"{PAGE}.sticks")
    return int(mode)


def _pick_simulation(modes: NormalModes) -> tuple[str, float] | None:
    """Path and modification time of a finished simulation of the same atoms, or None."""
    runs = {}
    for run in list_runs("md"):
        path = run.path / "trajectory.h5"
        if run.ended and path.exists() and _same_atoms(str(path), path.stat().st_mtime, tuple(modes.masses)):
            runs[run_label(run)] = path
    if not runs:
        st.caption("A simulation of the same atoms could be compared with the modes; there is none yet.")
        st.page_link("pages/3_Molecular_Dynamics.py", label="Make one: preset vibrations, this model and molecule",
                     icon=PAGES["pages/3_Molecular_Dynamics.py"][1])
        return None
    chosen = st.selectbox("Compare with a simulation", ["none", *runs], key=f"{PAGE}.simulation",
                          help=explained("spectra.simulation"))
    return None if chosen == "none" else (str(runs[chosen]), runs[chosen].stat().st_mtime)


def _show_comparison(modes: NormalModes, mode: int, spectra: ModeSpectra, peaks: list[Peak], bath_K: float) -> None:
    st.subheader("The simulation, mode by mode")
    st.markdown(MODE_BY_MODE)
    weighted = spectra.density * (spectra.kinetic_K / bath_K)[:, None]
    shown = {"all modes": weighted.sum(axis=0), f"mode {mode + 1}": weighted[mode]}
    st.plotly_chart(spectra_against_modes(spectra.frequency_cm1, shown, modes.frequencies_cm1, "modes per cm⁻¹"),
                    key=f"{PAGE}.spectra")
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Peaks and the modes that move there**")
        st.dataframe({"peak, cm⁻¹": [round(peak.frequency_cm1, 1) for peak in peaks],
                      "modes": [", ".join(f"{k + 1} ({100 * share:.0f} %)" for k, share in peak.modes)
                                for peak in peaks]}, hide_index=True, height=300)
    with right:
        st.markdown("**Temperature of each mode**")
        st.plotly_chart(mode_temperatures(modes.frequencies_cm1, spectra.kinetic_K, spectra.kinetic_stderr_K, bath_K),
                        key=f"{PAGE}.temperatures")


def _show_phonons(phonons: dict[str, Any]) -> None:
    st.subheader("Phonons")
    left, right = st.columns([3, 2])
    x, y, dos_x, dos_y = (np.array(phonons[name]) for name in
                          ("distances_per_A", "frequencies_THz", "dos_THz", "dos_per_THz"))
    left.plotly_chart(bands(x, y, phonons["labels"]), key=f"{PAGE}.bands")
    right.plotly_chart(curve(dos_x, dos_y, "frequency, THz", "states per cell and THz"), key=f"{PAGE}.dos")


@st.cache_resource(max_entries=8, show_spinner=False)
def _modes(folder: str, modified: float) -> tuple[Atoms, NormalModes]:
    return load_modes(Path(folder))


@st.cache_data(max_entries=256, show_spinner=False)
def _same_atoms(path: str, modified: float, masses: tuple[float, ...]) -> bool:
    try:
        with Trajectory(path) as trajectory:
            return len(trajectory.masses) == len(masses) and bool(np.allclose(trajectory.masses, masses))
    except ToolkitError:
        return False


@st.cache_resource(max_entries=8, show_spinner="Following the modes …")
def _compared(folder: str, path: str, modified: float) -> tuple[ModeSpectra, list[Peak], float]:
    """Mode spectra, peaks, and the temperature of the run."""
    _, modes = load_modes(Path(folder))
    with Trajectory(path) as trajectory:
        temperature = FrameReader(trajectory).temperature_K
    return *spectra_of_modes(path, modes), temperature
