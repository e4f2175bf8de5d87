"""The form of the Molecular Dynamics page: presets that each answer a question, and fields of the chosen ensemble."""

from __future__ import annotations

from typing import Any

import streamlit as st

from toolkit.config import MDConfig
from toolkit.ui.explanations import explained
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


def simulation_form() -> dict[str, Any]:
    """Draw the widgets; the values of an MDConfig, not yet checked."""
    preset = st.segmented_control("Preset", list(PRESETS), default=next(iter(PRESETS)), required=True,
                                  key=f"{PAGE}.preset", help=explained("md.preset"), persist_state="session",
                                  on_change=forget_form, args=(PAGE, FIELDS))
    changes, question = PRESETS[preset]
    st.caption(question)
    with st.container(horizontal=True):
        values = draw_form(PAGE, MDConfig, PHYSICS, {**MDConfig().model_dump(mode="json"), **changes})
        values = draw_form(PAGE, MDConfig, BATHS[values["ensemble"]], values)
    st.caption(explained(f"md.ensemble.{values['ensemble']}"))
    with st.container(horizontal=True):
        return draw_form(PAGE, MDConfig, LENGTH, values)
