"""The pages by what they are for, and a first tour through them."""

from __future__ import annotations

import streamlit as st

from toolkit.ui.page import PAGES

GROUPS: dict[str, dict[str, str]] = {
    "Data": {
        "pages/1_Dataset.py": "Energies and forces from quantum chemistry: in which units, how large, what is wrong.",
    },
    "Train": {
        "pages/2_Train.py": "A neural network learns the energy of atoms; the slope of the energy gives the forces.",
        "pages/8_Runs.py": "Everything that was started here: states, learning curves, logs.",
    },
    "Evaluate": {
        "pages/9_Evaluate.py": "Predictions beside labels, and the worst frames in 3D.",
        "pages/10_Compare_Models.py": "Several potentials side by side on the same frames.",
        "pages/5_Equivariance.py": "Turn a molecule and see what follows; the model's passport of checks.",
    },
    "Simulate": {
        "pages/3_Molecular_Dynamics.py": "Newton's equations with the learned forces, alone or in a heat bath.",
        "pages/4_Trajectory.py": "Watch it in 3D; energies, temperature and distances in time.",
    },
    "Understand": {
        "pages/6_Spectra.py": "How a molecule vibrates, mode by mode.",
        "pages/7_Study.py": "Everything about one molecule in one job, with a report.",
        "pages/11_Theory.py": "The equation behind every control.",
    },
}
"""Group -> page -> what one does there."""
MOST_PAGES = max(map(len, GROUPS.values()))

TOUR = (
    ("pages/4_Trajectory.py", "Watch it move", "Space plays and pauses. Which bonds vibrate fastest? What turns?"),
    ("pages/5_Equivariance.py", "Turn it", "The forces turn along, to the last digit; the page says why."),
    ("pages/6_Spectra.py", "See its vibrations", "Compute the normal modes (half a minute) and watch each of them."),
    ("pages/2_Train.py", "Train your own", "Preset *coffee break*: one minute on a CPU core. Then simulate with it."),
)
"""Page, what to do there, and what to look at."""


def show_groups() -> None:
    """A row for each group, with links to its pages."""
    with st.container(border=True):
        for group, pages in GROUPS.items():
            title, *columns = st.columns([1.4, *[3] * MOST_PAGES])
            title.markdown(f"**{group}**")
            for column, (page, text) in zip(columns, pages.items(), strict=False):
                name, icon = PAGES[page]
                column.page_link(page, label=f"**{name}**", icon=icon)
                column.caption(text)


def show_tour(first: int = 0) -> None:
    """The steps of the tour side by side, from number `first` on."""
    steps = TOUR[first:]
    for column, (page, title, text) in zip(st.columns(len(steps)), steps, strict=True):
        with column:
            st.page_link(page, label=f"**{title}**", icon=PAGES[page][1])
            st.caption(text)
