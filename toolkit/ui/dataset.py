"""Parts of the Dataset page: cards of findings, offending frames in 3D, distributions, reference energies."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st
from ase import Atoms

from toolkit.data.detective.data_file import DataFile, label
from toolkit.data.detective.findings import Finding, count, some
from toolkit.data.detective.references import ReferenceEnergies
from toolkit.data.inspection import Inspection
from toolkit.figures.dataset import MAX_POINTS, along_file, distributions, frames_with_forces
from toolkit.ui.explanations import equation, explained
from toolkit.ui.page import plain, quantity
from toolkit.ui.viewer import show_scene

LOOKS = {"error": ("red", ":material/error:"), "warning": ("orange", ":material/warning:"),
         "info": ("gray", ":material/info:")}
SHOWN = "dataset.shown"
"""Session key of what is in the 3D view: file, title, places of the frames in the file."""

IN_PLOT = "Chosen in the plot"
CHART = "dataset.along"


def show_findings(inspection: Inspection) -> None:
    """Cards of errors and warnings, worst first; what is only good to know folded away."""
    serious = [finding for finding in inspection.findings if finding.severity != "info"]
    if not serious:
        st.success("No contradiction found: units, signs, forces, copies and outliers look as they should.",
                   icon=":material/check_circle:")
    for finding in serious:
        _card(inspection, finding)
    others = [finding for finding in inspection.findings if finding.severity == "info"]
    with st.expander(f"Good to know ({len(others)})", expanded=not serious):
        for finding in others:
            _card(inspection, finding)


def _card(inspection: Inspection, finding: Finding) -> None:
    color, icon = LOOKS[finding.severity]
    with st.container(border=True):
        where = f" · {plain(short_names(inspection)[finding.file])}" if len(inspection.files) > 1 else ""
        st.markdown(f":{color}[{icon} **{plain(finding.title)}**]{where}")
        if finding.evidence:
            st.markdown(plain(finding.evidence))
        if finding.advice:
            st.caption(plain(finding.advice))
        if len(usable_frames(_file(inspection, finding.file), finding.frames)):
            st.button(f"Show {count(len(finding.frames), 'frame')} in 3D", icon=":material/visibility:",
                      key=f"dataset.show.{finding.file}.{finding.kind}.{finding.title}", on_click=_choose,
                      args=(finding.file, finding.title, finding.frames))


def _choose(file: str, title: str, places: Sequence[int]) -> None:
    st.session_state[SHOWN] = (file, title, tuple(places))


def _choose_points(names: Sequence[str]) -> None:
    points = st.session_state[CHART].selection.points
    if points:
        number = points[0]["curve_number"]
        _choose(names[number], IN_PLOT, [int(p["x"]) for p in points if p["curve_number"] == number])


def show_frames(inspection: Inspection) -> None:
    """The 3D view: all frames of the first file, or those of a finding or of points in the plot, with their forces."""
    data, title, places = _shown(inspection)
    chosen = usable_frames(data, places)
    if len(chosen):
        st.markdown(f"**{plain(title)}** · {some(places)} of {plain(short_names(inspection)[data.name])}")
        st.button("All frames again", key="dataset.all", icon=":material/undo:", on_click=_choose, args=("", "", ()))
    else:
        chosen = np.arange(len(data.frames))
    forces = st.toggle("Forces as arrows", value=True, key="dataset.forces", help=explained("dataset.forces"))
    view = f"{data.name}:{title}:{some(places)}"
    if any(not np.array_equal(data.frames[t].numbers, data.frames[chosen[0]].numbers) for t in chosen):
        place = st.selectbox("Frame", data.indices[chosen].tolist(), key=f"dataset.frame.{view}",
                             help=explained("dataset.frame"))
        chosen, view = usable_frames(data, [place]), f"{view}:{place}"
    _scene([data.frames[t] for t in chosen], data.indices[chosen], view, forces)


def _shown(inspection: Inspection) -> tuple[DataFile, str, Sequence[int]]:
    """File, title and places of what was chosen, while it is about these files and findings; else the first file."""
    name, title, places = st.session_state.get(SHOWN, ("", "", ()))
    known = {(finding.file, finding.title) for finding in inspection.findings}
    if (name, title) not in known | {(file.name, IN_PLOT) for file in inspection.files}:
        return inspection.files[0], "", ()
    return _file(inspection, name), title, places


def _scene(frames: Sequence[Atoms], places: np.ndarray, view: str, with_forces: bool) -> None:
    forces = [label(atoms, "forces") for atoms in frames] if with_forces else [None]
    known = all(f is not None for f in forces)
    scene, scale = frames_with_forces(frames, places, forces if known else None)
    show_scene(scene, key="dataset.viewer", view=view, height=420)
    if with_forces:
        text = f"1 Å of an arrow is a force of {scale:.2g} eV/Å." if known else "Some of these frames have no forces."
        st.caption(text)


def show_distributions(inspection: Inspection, tables: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Energies along each file and as a distribution, forces, and the table behind them as CSV.

    tables : file -> columns of `frame_table`
    """
    names = short_names(inspection)
    energies = {names[name]: (table["frame"], table["energy_above_fit_meV_per_atom"])
                for name, table in tables.items()}
    left, middle, right = st.columns(3)
    with left:
        st.subheader("Energy along the file")
        st.plotly_chart(along_file(energies, "energy − fit, meV/atom"), key=CHART, selection_mode=("points", "box"),
                        on_select=lambda: _choose_points(list(tables)))
        st.caption("A slope or a step is a trajectory, a drift, or two sources in one file. Click a point, or draw a "
                   "box, to see frames in 3D." + _thinned(energies))
    with middle:
        st.subheader("Energy")
        values = {name: pair[1] for name, pair in energies.items()}
        st.plotly_chart(distributions(values, "energy − fit, meV/atom"), key="dataset.energies")
        st.caption("The best sum of element energies is taken off. A thermal sample of N atoms spreads by about "
                   "kT √(3N/2) / N. Look at lone outliers.")
    with right:
        st.subheader("Forces")
        sizes = {names[name]: table["force_rms_eV_per_A"] for name, table in tables.items()}
        st.plotly_chart(distributions(sizes, "RMS force component of a frame, eV/Å"), key="dataset.force_sizes")
        st.caption("Judge a potential's force error against these numbers.")
    st.download_button("Table of all frames (CSV)", _csv(names, tables), "frames.csv", "text/csv", icon=":material/download:",
                       key="dataset.csv", help="One row a frame: composition, energy, forces.")


def _thinned(series: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """What a figure leaves out."""
    most = max(len(places) for places, _ in series.values())
    return f" Of {most:,} frames the lowest and the highest of each stretch are drawn." if most > MAX_POINTS else ""


def show_references(references: ReferenceEnergies | None) -> None:
    """The E0 wizard: fitted energies of the elements, which the data determine, and which to supply."""
    if references is None:
        st.caption("No energies, no reference energies.")
        return
    entries = references.elements
    st.dataframe([{"element": entry.element, "fitted E0, eV": quantity(entry.fitted_eV if entry.determined else None, 4, ""),
                   "fixed by the data": "yes" if entry.determined else "no", "atoms": entry.n_atoms,
                   "isolated atom, eV": quantity(entry.isolated_atom_eV, 4, "")} for entry in entries], hide_index=True)
    st.caption(f"Independent compositions: {references.rank} for {count(len(entries), 'element')}. The fit leaves "
               f"{references.residual_meV_per_atom:.1f} meV/atom (RMS). E0 is the energy of a lone atom. "
               + ("" if all(entry.determined for entry in entries) else "What the data do not fix is a dash: one molecule tells the "
                  "sum over its atoms alone. ") + equation("reference-energies"))


def usable_frames(file: DataFile, places: Sequence[int]) -> np.ndarray:
    """Which of the usable frames stand at these places in the file."""
    return np.flatnonzero(np.isin(file.indices, places))


def short_names(inspection: Inspection) -> dict[str, str]:
    """Each file's name, with as many of its folders as tell it from the others."""
    sources = [file.name for file in inspection.files]
    for parts in range(1, 1 + max(source.count("/") + 1 for source in sources)):
        names = {source: "/".join(source.split("/")[-parts:]) for source in sources}
        if len(set(names.values())) == len(sources):
            break
    return names


def _file(inspection: Inspection, name: str) -> DataFile:
    return next(file for file in inspection.files if file.name == name)


def _csv(names: Mapping[str, str], tables: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["file", *next(iter(tables.values()))])
    for name, table in tables.items():
        columns = [column.tolist() for column in table.values()]
        writer.writerows([names[name], *row] for row in zip(*columns, strict=True))
    return stream.getvalue()
