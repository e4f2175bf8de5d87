"""Spectra: normal modes of a structure, each mode in motion, and a simulation compared with them mode by mode."""

from __future__ import annotations

import streamlit as st

from toolkit.config import parse_config
from toolkit.jobs.modes import ModesRequest
from toolkit.jobs.run_dir import Run, read_metrics
from toolkit.storage import read_json
from toolkit.ui.choices import pick_frame, pick_model, pick_structure
from toolkit.ui.explanations import explained
from toolkit.ui.page import begin, shown_errors
from toolkit.ui.runs import pick_run, show_notes, start_job, watch
from toolkit.ui.spectra import show_modes

HARMONIC = r"""
Near a minimum the energy is a quadratic form of the displacements; the eigenvectors of its mass-weighted second
derivatives $H_{ij}/\sqrt{m_i m_j}$ are motions in which all atoms swing in step, with $\omega^2$ as eigenvalues.
"""


def main() -> None:
    """Draw the page."""
    begin("pages/6_Spectra.py", "How a molecule vibrates: relaxed to its minimum, taken apart into normal modes, and "
                                "compared with what it does in a simulation at temperature.")
    run = pick_run("spectra", "modes", "New computation")
    if run is None:
        _form()
    else:
        watch(run, _result)


def _form() -> None:
    st.markdown(HARMONIC)
    with shown_errors():
        left, middle, right = st.columns([2, 2, 1])
        with left:
            model = pick_model("spectra")
        if model is None:
            return
        with middle:
            structure = pick_structure("spectra")
        with right:
            frame = pick_frame("spectra", structure)
        with st.container(horizontal=True):
            temperature = st.number_input("Temperature of the free energy, K", 1.0, 5000.0, 298.15,
                                          key="spectra.temperature", help=explained("spectra.temperature"))
            symmetry = st.number_input("Symmetry number", 1, 60, 1, key="spectra.symmetry",
                                       help=explained("spectra.symmetry"))
            unpaired = st.number_input("Unpaired electrons", 0, 20, 0, key="spectra.unpaired",
                                       help=explained("spectra.unpaired"))
            repeats = st.number_input("Supercell for phonons", 1, 8, 1, key="spectra.supercell",
                                      help=explained("spectra.supercell"))
        if structure is None:
            st.info("Choose a structure.")
        elif st.button("Compute the normal modes", type="primary", icon=":material/graphic_eq:", key="spectra.start"):
            request = parse_config(ModesRequest, {
                "model": model, "structure": structure, "frame": frame, "temperature_K": temperature,
                "symmetry_number": symmetry, "spin": 0.5 * unpaired, "supercell": None if repeats == 1 else (repeats,) * 3})
            start_job("modes", request.model_dump(mode="json"))


def _result(run: Run) -> None:
    show_notes(read_metrics(run.path))
    result = read_json(run.path / "result.json") if run.ended else None
    if result:
        show_modes(run, result)


main()
