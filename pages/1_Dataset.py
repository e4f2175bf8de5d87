"""Dataset: what was read from a file, in which units, and how it looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import streamlit as st

from toolkit.config import DataConfig, EnergyUnit, LengthUnit, parse_config
from toolkit.data.formats import FrameSet, read_frames
from toolkit.data.inspection import inspect_frames
from toolkit.figures.plots import ORANGE, bar_chart, histogram
from toolkit.figures.structures import frames_scene
from toolkit.ui.choices import pick_source
from toolkit.ui.page import begin, show_numbers, shown_errors
from toolkit.ui.viewer import show_scene


@st.cache_resource(max_entries=4, show_spinner="Reading the frames …")
def load(source: str, modified: float, options: tuple[tuple[str, str], ...]) -> tuple[FrameSet, dict[str, Any]]:
    """Frames and their inspection, once for all sessions; a changed file is read again."""
    frame_set = read_frames(source, parse_config(DataConfig, {"train": source, **dict(options)}))
    return frame_set, inspect_frames(frame_set)


def main() -> None:
    """Draw the page."""
    begin("pages/1_Dataset.py", "A potential is only as good as its data. See what was read, in which units and why we "
                                "think so, before training on it.")
    with shown_errors():
        source = pick_source("dataset")
        options = _options()
        if source is None:
            st.info("Choose a file: extended XYZ, npz as in MD17, rMD17 or sGDML, or anything that ASE reads.")
            return
        modified = Path(source).stat().st_mtime if Path(source).is_file() else 0.0
        frame_set, found = load(source, modified, options)
        _draw(source, frame_set, found)


def _options() -> tuple[tuple[str, str], ...]:
    with st.expander("The file means something else: set units or names of fields"):
        columns = st.columns(5)
        chosen = {
            "energy_unit": columns[0].selectbox("Energy unit", get_args(EnergyUnit), key="dataset.energy_unit"),
            "length_unit": columns[1].selectbox("Length unit", get_args(LengthUnit), key="dataset.length_unit"),
        }
        for column, label in zip(columns[2:], ("Energy", "Forces", "Stress"), strict=True):
            name = f"{label.lower()}_key"
            chosen[name] = column.text_input(f"{label} field", key=f"dataset.{name}", placeholder="found automatically")
    return tuple((name, value) for name, value in chosen.items() if value and value != "auto")


def _draw(source: str, frame_set: FrameSet, found: dict[str, Any]) -> None:
    report, frames = frame_set.report, frame_set.frames
    forces = [frame.calc.results["forces"] for frame in frames if frame.calc and "forces" in frame.calc.results]
    energies = np.array([frame.calc.results["energy"] / len(frame) for frame in frames
                         if frame.calc and "energy" in frame.calc.results])
    show_numbers({
        "Frames": f"{report.num_frames:,}",
        "Atoms per frame": " – ".join(dict.fromkeys(str(n) for n in (min(map(len, frames)), max(map(len, frames))))),
        "Energy unit in the file": report.energy_unit, "Length unit in the file": report.length_unit,
    })
    st.markdown(f"**Units** · {report.evidence}")
    for warning in report.warnings:
        st.warning(warning, icon=":material/warning:")
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("In 3D")
        _show_frames(source, frame_set)
    with right:
        st.subheader("What was read")
        st.dataframe(_table(found), hide_index=True, height=460)
    _histograms(energies, forces, frame_set)


def _show_frames(source: str, frame_set: FrameSet) -> None:
    frames = frame_set.frames
    if all(np.array_equal(frame.numbers, frames[0].numbers) for frame in frames):
        show_scene(frames_scene(frames), key="dataset.viewer", view=source, height=420)
        return
    index = int(st.number_input("Frame", 0, len(frames) - 1, 0, key="dataset.frame"))
    show_scene(frames_scene([frames[index]]), key="dataset.viewer", view=f"{source}:{index}", height=380)


def _table(found: dict[str, Any], prefix: str = "") -> list[dict[str, str]]:
    rows = []
    for name, value in found.items():
        if isinstance(value, dict) and value:
            rows += _table(value, f"{prefix}{name}.")
        elif value not in (None, [], {}, ""):
            shown = f"{value:.6g}" if isinstance(value, float) else str(value)
            rows.append({"property": f"{prefix}{name}", "value": shown})
    return rows


def _histograms(energies: np.ndarray, forces: list[np.ndarray], frame_set: FrameSet) -> None:
    left, middle, right = st.columns(3)
    names = [symbol for frame in frame_set.frames[:1000] for symbol in frame.get_chemical_symbols()]
    symbols, counts = np.unique(names, return_counts=True)
    with left:
        st.subheader("Energy")
        st.plotly_chart(histogram((energies - energies.mean()) * 1000 if energies.size else energies,
                                  "energy − mean, meV/atom"), key="dataset.energies")
        st.caption("A thermal sample of N atoms spreads by about kT √(3N/2) / N. Look at lone outliers.")
    with middle:
        st.subheader("Forces")
        magnitudes = np.concatenate([np.linalg.norm(f, axis=1) for f in forces]) if forces else np.zeros(0)
        st.plotly_chart(histogram(magnitudes, "force on an atom, eV/Å", ORANGE), key="dataset.forces")
        if magnitudes.size:
            st.caption(f"Root mean square of a component: {np.sqrt(np.mean(magnitudes**2) / 3):.3f} eV/Å. "
                       "Judge a potential's force error against this number.")
    with right:
        st.subheader("Composition")
        st.plotly_chart(bar_chart(dict(zip(symbols.tolist(), (100 * counts / counts.sum()).tolist(), strict=True)),
                                  "element", "share of atoms, %"), key="dataset.composition")


main()
