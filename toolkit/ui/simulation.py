"""The form of the Molecular Dynamics page: presets that each answer a question, and fields of the chosen ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from toolkit.config import MDConfig
from toolkit.data.detective.findings import count
from toolkit.md.harvest import count_harvested
from toolkit.models.folders import find_model, has_uncertainty
from toolkit.storage import read_json
from toolkit.training.calibration_card import CALIBRATION, STOP_FACTOR, suggested_stop_eV_per_A
from toolkit.ui.explanations import equation, explained
from toolkit.ui.forms import FormField, draw_form, forget_form

PAGE = "md"
PHYSICS = (
    FormField("ensemble", "Ensemble"),
    FormField("temperature_K", "Temperature, K"),
    FormField("timestep_fs", "Time step, fs"),
    FormField("inner_steps", "Inner steps"),
)
BATHS = {
    "nve": (),
    "langevin": (FormField("friction_per_fs", "Friction, 1/fs"),),
    "csvr": (FormField("thermostat_fs", "Relaxation, fs"),),
    "npt": (
        FormField("thermostat_fs", "Relaxation, fs"),
        FormField("pressure_GPa", "Pressure, GPa"),
        FormField("barostat_fs", "Cell relaxation, fs"),
        FormField("cell_change", "Cell"),
    ),
}
BATHS["nose-hoover"] = BATHS["csvr"]
LENGTH = (
    FormField("steps", "Steps"),
    FormField("save_every", "Save every … steps"),
    FormField("replicas", "Replicas"),
    FormField("seed", "Seed"),
)
FIELDS = (*PHYSICS, *(field for bath in BATHS.values() for field in bath), *LENGTH)
WATCHED = f"{PAGE}.watched"
WATCH = (
    FormField("uncertainty_stop_eV_per_A", "Stop above, eV/Å"),
    FormField("harvest_above_eV_per_A", "Keep frames above, eV/Å"),
    FormField("harvest_gap_fs", "Between kept frames, fs"),
    FormField("uncertainty_every", "Look every … steps"),
)
PRESETS: dict[str, tuple[dict[str, Any], str]] = {
    "first look": ({}, "Half a picosecond in a heat bath: does the molecule stay whole and warm?"),
    "energy conservation": ({"ensemble": "nve", "steps": 4000, "save_every": 4}, (
        "2 ps without a bath: the total energy must not drift. Then double the time step and see what happens.")),
    "vibrations": ({"ensemble": "nve", "steps": 20_000, "save_every": 4}, (
        "10 ps without a bath, a frame every 2 fs: compare it with the normal modes on the Spectra page.")),
    "averages": ({"steps": 10_000, "save_every": 20, "replicas": 4}, (
        "Four copies of 5 ps in a heat bath: distances and torsions with error bars.")),
    "two models": ({"timestep_fs": 4.0, "inner_steps": 4, "steps": 3000, "save_every": 5}, (
        "12 ps by an accurate model with long steps, and a fast one in between that it corrects: ethanol with ethanol_s, "
        "aspirin_accurate with aspirin. Averages as if the accurate one had made every step.")),
}
"""Name -> changes to the defaults, and the question that it answers."""


def simulation_form(model: str) -> dict[str, Any]:
    """Draw the widgets for a model (what `toolkit.load` takes); the values of an MDConfig, not yet checked.

    Raises ModelError when the model is gone.
    """
    preset = st.segmented_control("Preset", list(PRESETS), default=next(iter(PRESETS)), required=True,
                                  key=f"{PAGE}.preset", help=explained("md.preset"), persist_state="session",
                                  on_change=forget_form, args=(PAGE, (*FIELDS, *WATCH)))
    changes, question = PRESETS[preset]
    begun, what_for = {**MDConfig().model_dump(mode="json"), **changes}, st.empty()
    with st.container(horizontal=True):
        values = draw_form(PAGE, MDConfig, PHYSICS, begun)
        values = draw_form(PAGE, MDConfig, BATHS[values["ensemble"]], values)
    st.caption(explained(f"md.ensemble.{values['ensemble']}"))
    with st.container(horizontal=True):
        values = draw_form(PAGE, MDConfig, LENGTH, values)
    changed = [name.replace("_", " ") for name in begun if values[name] != begun[name]]
    what_for.caption(f"Preset *{preset}*, but for: {', '.join(changed)}." if changed else question)
    folder = find_model(model)
    return _watch(folder, values) if has_uncertainty(folder) else values


def _watch(folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    """What to do where the forces of a model with error bars are unsure, with the limit that its test frames suggest."""
    if st.session_state.get(WATCHED) != str(folder):  # a limit for one model means nothing for another
        forget_form(PAGE, WATCH)
    st.session_state[WATCHED] = str(folder)
    with st.expander("Where the model is unsure: stop, or keep frames to label", icon=":material/visibility:"):
        record = read_json(folder / CALIBRATION)
        if record is not None:
            st.caption(f"On its test frames the standard deviation of a force is at most "
                       f"{record['largest_forces_std_eV_per_A']['max']:.2g} eV/Å. A limit of "
                       f"{suggested_stop_eV_per_A(record):g} eV/Å, {STOP_FACTOR:g} times that, means: it has left what the "
                       f"model has learned. {equation('uncertainty')}")
        with st.container(horizontal=True):
            return draw_form(PAGE, MDConfig, WATCH, values)


def show_harvest(path: Path) -> None:
    """The frames that a simulation kept to be labelled, to take home."""
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    st.download_button(f"{count(count_harvested(text), 'frame')} to label (extended XYZ)", text, path.name, "chemical/x-xyz",
                       key=f"{PAGE}.harvest", icon=":material/download:")
    st.caption("Here the forces of the model were uncertain; `forces_std` says by how much, for each atom. Compute energies and "
               "forces with the method of the training data; then `python -m toolkit data extend MODEL FILE -o DIR` prepares a "
               "training on the old frames and these.")
