"""What the Equivariance page shows of a potential and its broken copy: answers and inner features, before and after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
from ase import Atoms
from streamlit.delta_generator import DeltaGenerator

from toolkit.checks.features import follow_features
from toolkit.checks.motions import Followed, Motion, follow_answers
from toolkit.checks.result import CRITERIA, dtype_name
from toolkit.errors import ModelError
from toolkit.figures.arrows import LONGEST_A, arrow_scale, arrows_scene
from toolkit.figures.plots import BLUE, VERMILION, agreement
from toolkit.models.potential import Potential
from toolkit.ui.explanations import explained
from toolkit.ui.viewer import show_scene

PAGE = "equivariance"
MODEL, BROKEN = "This network", "The broken copy"
MEANING = {0: "numbers: they stay", 1: "arrows: they turn like forces", 2: "ellipsoids: 5 numbers each"}


@dataclass(frozen=True)
class Scenario:
    """What the user chose. name : of the structure, so that each has its own camera"""

    name: str
    potential: Potential
    broken: Potential
    atoms: Atoms
    motion: Motion

    @property
    def subjects(self) -> dict[str, Potential]:
        """Both networks by the names they have on the page."""
        return {MODEL: self.potential, BROKEN: self.broken}

    def verdict(self, followed: Followed) -> str:
        """A mark and the relative error: ✔ when it is no larger than rounding explains."""
        error = followed.relative_error
        if error <= getattr(CRITERIA["rotation"], dtype_name(self.potential)):
            return f"✔ follows ({error:.0e})"
        return f"✘ {error:.2g} off" if error >= 1.0 else f"✘ {100.0 * error:.2g} % off"


def show_answers(scenario: Scenario) -> None:
    """Energy and forces: the structure with arrows before the motion and, for both networks, after it."""
    followed = {name: follow_answers(potential, scenario.atoms, scenario.motion)
                for name, potential in scenario.subjects.items()}
    before, forces = followed[MODEL][0].before[0], {name: answers[1] for name, answers in followed.items()}
    scale = _scale(forces[MODEL])
    longest = np.linalg.norm(forces[MODEL].before, axis=1).max()
    captions = [f"$E$ = {before:.6f} eV, longest force {longest:.2g} eV/Å"]
    captions += [f"$|E(Qx) - E(x)|$ = {energy.error:.2g} eV  \n$\\max|F(Qx) - Q\\,F(x)|$ = {force.error:.2g} eV/Å"
                 for energy, force in followed.values()]
    columns = _views(scenario, "forces", scenario.atoms.positions, forces, scale)
    for column, caption in zip(columns, captions, strict=True):
        column.markdown(caption)


def show_features(scenario: Scenario) -> None:
    """Every number inside one atom after one layer, predicted by the Wigner matrices and found."""
    try:
        stages = {name: follow_features(potential, scenario.atoms, scenario.motion)
                  for name, potential in scenario.subjects.items()}
    except ModelError as error:  # an architecture without such features: the rest of the page still speaks
        st.info(error.message)
        return
    layer, atom = _pick_place(len(stages[MODEL]) - 1, scenario.atoms.get_chemical_symbols())
    features = {irrep: {name: found[layer][irrep].of_atom(atom) for name, found in stages.items()}
                for irrep in stages[MODEL][layer]}
    columns = st.columns(3)
    for k, (irrep, followed) in enumerate(features.items()):
        with columns[k % 3]:
            _show_irrep(scenario, irrep, followed)
    st.caption("Parity says what an inversion does beyond turning: an odd feature changes its sign, an even one does "
               "not. The last layer keeps only l = 0, from which the energy is made.")
    if "1o" in features and st.toggle("Draw the l = 1 features of this atom as arrows", key=f"{PAGE}.vectors",
                                      persist_state="session", help=explained("equivariance.vectors")):
        vectors = {name: followed.transposed() for name, followed in features["1o"].items()}
        _views(scenario, "vectors", scenario.atoms.positions[atom], vectors, _scale(vectors[MODEL]))


def _scale(followed: Followed) -> float:
    """Å of the picture for one unit: rounding errors of what vanishes are not blown up to arrows."""
    return LONGEST_A / followed.least if followed.vanishes else arrow_scale(followed.before)


def _pick_place(num_layers: int, symbols: list[str]) -> tuple[int, int]:
    left, right = st.columns([1, 2])
    layer = left.segmented_control("After layer", range(1, num_layers + 1), default=max(1, num_layers - 1),
                                   required=True, key=f"{PAGE}.layer.{num_layers}",
                                   help=explained("equivariance.layer"))
    atom = right.selectbox("Of atom", range(len(symbols)), format_func=lambda i: f"{symbols[i]} {i}",
                           key=f"{PAGE}.atom.{len(symbols)}", help=explained("equivariance.atom"))
    return layer, atom


def _show_irrep(scenario: Scenario, irrep: str, followed: dict[str, Followed]) -> None:
    degree = int(irrep[:-1])
    _, size, channels = followed[MODEL].found.shape
    meaning = MEANING.get(degree, f"shapes of {size} numbers each")
    st.markdown(f"**l = {degree}, {'even' if irrep[-1] == 'e' else 'odd'}** · {channels} {meaning}")
    pairs = {f"{name}: {scenario.verdict(each)}": (each.expected, each.found) for name, each in followed.items()}
    figure = agreement(pairs, "predicted by the Wigner matrix", "found", (BLUE, VERMILION))
    st.plotly_chart(figure, key=f"{PAGE}.{irrep}")


def _views(scenario: Scenario, what: str, centres: np.ndarray, followed: dict[str, Followed],
           scale: float) -> list[DeltaGenerator]:
    """Three views that turn together. centres : where arrows start before the motion, (N, 3) or (3,), Å"""
    columns = st.columns(3)
    moved = scenario.motion.apply(scenario.atoms)
    scenes = {"Before": arrows_scene(scenario.atoms, centres, scale, followed[MODEL].before)}
    moved_centres = scenario.motion.move_points(centres, scenario.atoms)
    for name, each in followed.items():
        title = f"{name}, after · {scenario.verdict(each)}"
        scenes[title] = arrows_scene(moved, moved_centres, scale, each.found, each.expected)
    for k, (column, (title, scene)) in enumerate(zip(columns, scenes.items(), strict=True)):
        with column:
            st.markdown(f"**{title}**")
            show_scene(scene, f"{PAGE}.{what}.{k}", scenario.name, 320, PAGE)
    return columns
