"""Equivariance: turn a structure and watch energy, forces and inner features follow; the model's passport."""

from __future__ import annotations

import streamlit as st

from toolkit.checks.features import break_symmetry
from toolkit.errors import DataError
from toolkit.ui.choices import pick_frame, pick_model, pick_structure
from toolkit.ui.equivariance import Scenario, show_answers, show_features
from toolkit.ui.explanations import explained
from toolkit.ui.loading import cached_potential, cached_structure
from toolkit.ui.motions import pick_motion
from toolkit.ui.page import begin, shown_errors
from toolkit.ui.passport import follow_run, passport_section

MAX_ATOMS = 300
ANSWERS = r"""
When $Q$ turns or mirrors all atoms $x$, the energy stays and each force, the slope of the energy, turns along:

$$
E(Qx) = E(x), \qquad F(Qx) = Q\,F(x).
$$

Blue arrows are what the network says, orange sleeves point where symmetry demands. Drag a view: all turn together.
"""
FEATURES = r"""
The network gets this right by construction, not by training: what each atom knows is sorted by how it turns. A feature
$h^l$ of degree $l$ has $2l+1$ components, which mix by the Wigner matrix of that degree:

$$
h^l(Qx) = D^l(Q)\,h^l(x), \qquad D^0 = 1, \quad D^1 = Q.
$$

Each point is one number inside one atom. On the diagonal, the network did what $D^l$ predicts.
"""
PASSPORT = """
Symmetry is one of many things that a potential has to get right. Its passport lists them all, with the largest error
found and the largest that is allowed.
"""


def main() -> None:
    """Draw the page."""
    begin("pages/5_Equivariance.py", "Physics has no preferred direction. Turn a molecule: its energy must stay, its "
                                     "forces must turn with it, and so must everything inside the network.")
    with shown_errors():
        follow_run("equivariance")
        left, middle, right, last = st.columns([3, 3, 1, 2])
        with left:
            model = pick_model("equivariance")
        if model is None:
            return
        with middle:
            source = pick_structure("equivariance")
        with right:
            frame = pick_frame("equivariance", source)
        dtype = last.segmented_control("Precision", ["float64", "float32"], default="float64", required=True,
                                       key="equivariance.dtype", persist_state="session",
                                       help=explained("equivariance.dtype"))
        if source is None:
            st.info("Choose a structure to turn.")
            return
        with shown_errors():
            _follow(_scenario(model, dtype, source, frame))
        st.subheader("Passport")
        st.markdown(PASSPORT)
        passport_section("equivariance", model, source, frame)


def _scenario(model: str, dtype: str, source: str, frame: int) -> Scenario:
    potential, atoms = cached_potential(model, dtype), cached_structure(source, frame)
    if len(atoms) > MAX_ATOMS:
        raise DataError(f"found {len(atoms)} atoms, this page turns at most {MAX_ATOMS}", "choose a smaller structure")
    with st.container(border=True):
        left, right = st.columns([3, 1], gap="medium")
        with left:
            motion = pick_motion("equivariance")
        percent = right.slider("Fault of the broken copy, %", 0, 20, 10, key="equivariance.fault",
                               persist_state="session", help=explained("equivariance.fault"))
        right.caption("A copy with the same weights that takes distances along one direction of space for longer: what "
                      "a network without the symmetry does.")
    return Scenario(f"{source}:{frame}", potential, break_symmetry(potential, percent / 100), atoms, motion)


def _follow(scenario: Scenario) -> None:
    st.subheader("Energy and forces")
    st.markdown(ANSWERS)
    show_answers(scenario)
    st.subheader("Inside the network")
    st.markdown(FEATURES)
    show_features(scenario)


main()
