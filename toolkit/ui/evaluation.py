"""What the Evaluate page shows of predictions beside labels: parity, sorted errors, the worst frames in 3D."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from ase import Atoms
from ase.data import chemical_symbols

from toolkit.analysis.energy_zero import REST, describe_other_zero, has_other_zero
from toolkit.analysis.paired import composition_offset_eV
from toolkit.analysis.parity import Parity, element_errors, frame_errors, magnitude_errors, worst_frames
from toolkit.config import DataConfig, parse_config
from toolkit.data.formats import is_here
from toolkit.errors import ToolkitError
from toolkit.figures.parity import force_error_scene, magnitude_plot, parity_plot
from toolkit.figures.plots import bar_chart
from toolkit.figures.structures import frames_scene
from toolkit.jobs.evaluation import PREDICTIONS, load_parity, numbered_frames
from toolkit.jobs.own_data import own_data
from toolkit.jobs.requests import EvaluateRequest, Part
from toolkit.jobs.run_dir import Run, read_config
from toolkit.jobs.summary import judged_source, subject
from toolkit.models.folders import SAMPLE, find_model
from toolkit.storage import read_json
from toolkit.ui.choices import check_sources
from toolkit.ui.downloads import csv_text
from toolkit.ui.explanations import equation, explained
from toolkit.ui.loading import last_change
from toolkit.ui.page import SVG, plain, quantity, show_numbers
from toolkit.ui.uncertainty import show_uncertainty
from toolkit.ui.viewer import show_scene
from toolkit.units import MEV_PER_EV

PAGE = "evaluate"
WORST = 20
JUDGED = {"largest_force_error_meV_per_A": "largest force error", "forces_mae_meV_per_A": "force MAE",
          "energy_error_meV_per_atom": "energy error"}
"""Columns by which frames are called the worst."""
NUMBERS = {name: st.column_config.NumberColumn(format=f"%.{digits}f") for name, digits in (
    ("MAE, meV/Å", 1), ("RMSE, meV/Å", 1), ("RMSE, %", 1), ("largest, meV/Å", 1), ("force MAE, meV/Å", 1), ("energy, meV/atom", 2))}
"""Columns of numbers, which sort as such."""


class Tested(NamedTuple):
    """Frames that a model was tested on. name : "test frames", or "stored test frames" for the few of its sample"""

    data: DataConfig
    part: Part
    name: str


def tested_on(model: str) -> Tested | None:
    """The test frames of a model's own data when they are here, else those few that are shipped with it."""
    try:
        data = own_data(model)
        check_sources(data)
        if data.split.num_test != 0 and all(map(is_here, filter(None, (data.train, data.test)))):
            return Tested(data, "test", "test frames")
    except ToolkitError:
        pass
    sample = find_model(model) / SAMPLE
    return Tested(DataConfig(train=str(sample)), "all", "stored test frames") if sample.is_file() else None


def show_evaluation(run: Run) -> None:
    """Numbers, figures, table and worst frames of an evaluation that has ended."""
    errors = read_json(run.path / "result.json")
    if errors is None or not (run.path / PREDICTIONS).exists():
        return
    offset = has_other_zero(errors)
    energy = ("Energy MAE without offset", REST) if offset else ("Energy MAE", "energy_mae_meV_per_atom")
    show_numbers({"Force MAE": quantity(errors["forces_mae_meV_per_A"], 1, "meV/Å"),
                  "Force RMSE": quantity(errors["forces_rmse_meV_per_A"], 1, "meV/Å"),
                  energy[0]: quantity(errors[energy[1]], 2, "meV/atom"),
                  "Size of the forces (RMS)": quantity(errors["forces_label_rms_meV_per_A"], 0, "meV/Å")})
    if offset:
        st.warning(describe_other_zero(errors, "this potential"), icon=":material/warning:")
    config = parse_config(EvaluateRequest, read_config(run.path)).model_dump(mode="json")  # a script leaves defaults out
    source = judged_source(config["data"], config["part"])
    st.caption(f"{errors['n_frames']:,} frames of {plain(source)}. Model and data: "
               f"{plain(subject(run))}. {equation('errors')}")
    parity, table = _loaded(str(run.path), (run.path / PREDICTIONS).stat().st_mtime)
    table = table | {"frame": _numbers(run, parity)}
    if offset:
        table["energy_error_meV_per_atom"] = (parity.energy_error_meV_per_atom
                                              - MEV_PER_EV * composition_offset_eV(parity) / parity.num_atoms)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Energies")
        _parity_chart(run, "energies", _energies(parity, table), table["frame"])
        st.caption("Per atom, without the mean of the labels and the offset by composition." if offset else
                   "Per atom, without the mean of the labels. A cloud beside the line is a constant shift: no forces "
                   "come from it.")
    with right:
        st.subheader("Forces")
        _parity_chart(run, "forces", _forces(parity, table["frame"]), table["frame"])
        st.caption("Every component of every atom, one colour an element; of many points an even choice, and always "
                   "the worst. Below: prediction minus label.")
    _sorted_errors(parity)
    show_uncertainty(run)
    st.subheader("Worst frames")
    _worst(run, parity, table, offset)


def _energies(parity: Parity, table: dict[str, np.ndarray]) -> go.Figure:
    """Predictions over labels, with the errors of the table: where that leaves an offset out, so does the figure."""
    label, error = MEV_PER_EV * parity.label_energy_eV / parity.num_atoms, table["energy_error_meV_per_atom"]
    middle = np.nanmean(label) if np.isfinite(label).any() else 0.0
    axes = ("label, meV/atom", "prediction, meV/atom", "error, meV/atom")
    return parity_plot(label - middle, label - middle + error, error, table["frame"], axes)


def _forces(parity: Parity, numbers: np.ndarray) -> go.Figure:
    elements = np.array(chemical_symbols)[parity.atomic_numbers]
    axes = ("label, eV/Å", "prediction, eV/Å", "error, meV/Å")
    return parity_plot(parity.label_forces_eV_per_A.ravel(), parity.forces_eV_per_A.ravel(),
                       parity.forces_error_meV_per_A.ravel(), np.repeat(numbers[parity.frame_of_atom], 3), axes,
                       np.repeat(elements, 3))


def _sorted_errors(parity: Parity) -> None:
    elements = element_errors(parity)
    if not elements:
        st.info("These frames have no forces.")
        return
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("By element")
        bars = {str(row["element"]): float(row["forces_mae_meV_per_A"]) for row in elements}
        st.plotly_chart(bar_chart(bars, "element", "force MAE, meV/Å"), key=f"{PAGE}.elements", config=SVG)
        st.dataframe([{"element": row["element"], "atoms": row["n_atoms"],
                       "MAE, meV/Å": row["forces_mae_meV_per_A"], "RMSE, meV/Å": row["forces_rmse_meV_per_A"],
                       "RMSE, %": row["relative_rmse_percent"]} for row in elements],
                     hide_index=True, column_config=NUMBERS)
        st.caption("%: of the root mean square of the labels of that element.")
    with right:
        st.subheader("By size of the force")
        found = magnitude_errors(parity)
        st.plotly_chart(magnitude_plot(found.force_eV_per_A, found.mae_meV_per_A, found.stderr_meV_per_A),
                        key=f"{PAGE}.magnitudes", config=SVG)
        st.caption("Atoms sorted by the length of their label, in bins of equally many. A rise to the right: large "
                   "forces, far from the minimum, are learned less well.")


def _worst(run: Run, parity: Parity, table: dict[str, np.ndarray], without_offset: bool) -> None:
    """A table of the worst frames beside the chosen one, with an arrow for the error of each force."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        known = [name for name in JUDGED if np.isfinite(table[name]).any()]
        if not known:
            st.info("No frame has labels to judge by.")
            return
        column = st.segmented_control("Judged by", known, default=known[0], required=True, key=f"{PAGE}.judged",
                                      format_func=JUDGED.get, help=explained("evaluate.judged")) or known[0]
        frames = worst_frames(table, column, WORST).tolist()
        key = f"{PAGE}.table.{run.run_id}.{column}"
        st.dataframe([_row(table, frame) for frame in frames], key=key, selection_mode="single-row", hide_index=True,
                     height=320, column_config=NUMBERS, on_select=lambda: _choose(
                         run, [frames[k] for k in st.session_state[key].selection.rows]))
        st.caption("Errors of each frame: of the worst atom, of all atoms, of the energy (prediction minus label"
                   + (", without the offset by composition" if without_offset else "") + "). "
                   "Tick the box at the left of a row, or click a point in a figure, to see that frame.")
        columns = [values.tolist() for values in table.values()]
        rows = (dict(zip(table, row, strict=True)) for row in zip(*columns, strict=True))
        st.download_button("All frames (CSV)", csv_text(rows), f"{run.run_id}.csv", "text/csv", key=f"{PAGE}.csv",
                           icon=":material/download:")
    with right:
        if frames:
            _show_frame(run, parity, table, st.session_state.get(_chosen(run), frames[0]))


def _parity_chart(run: Run, name: str, figure: go.Figure, numbers: np.ndarray) -> None:
    """A parity plot in which a click on a point chooses its frame. numbers : (S,), by which the figure calls frames"""
    key = f"{PAGE}.{name}"
    st.plotly_chart(figure, key=key, config=SVG, selection_mode="points", on_select=lambda: _choose(
        run, [int(np.flatnonzero(numbers == np.ravel(point["customdata"])[0])[0])
              for point in st.session_state[key].selection.points]))


def _choose(run: Run, frames: Sequence[int]) -> None:
    if frames:
        st.session_state[_chosen(run)] = frames[0]


def _chosen(run: Run) -> str:
    return f"{PAGE}.frame.{run.run_id}"


def _row(table: dict[str, np.ndarray], frame: int) -> dict[str, float | int]:
    """Its errors as far as it has labels."""
    row: dict[str, float | int] = {"frame": int(table["frame"][frame])}
    if table["worst_atom"][frame] >= 0:
        row |= {"largest, meV/Å": float(table["largest_force_error_meV_per_A"][frame]), "on atom": int(table["worst_atom"][frame]),
                "force MAE, meV/Å": float(table["forces_mae_meV_per_A"][frame])}
    energy = table["energy_error_meV_per_atom"][frame]
    return row | ({"energy, meV/atom": float(energy)} if np.isfinite(energy) else {})


def _show_frame(run: Run, parity: Parity, table: dict[str, np.ndarray], frame: int) -> None:
    request, (frames, _) = _evaluated(run)
    atoms = frames[frame] if frame < len(frames) else Atoms()
    if not _is_frame(atoms, parity, frame):
        st.info("The frames of this evaluation are not in the file any more, so they are not drawn.")
        return
    place = f"Frame {table['frame'][frame]} (its place in the file, counted from 0) of "
    place += plain(judged_source(request.data.model_dump(mode="json"), request.part))
    if table["worst_atom"][frame] < 0:
        show_scene(frames_scene([atoms]), f"{PAGE}.viewer", f"{run.run_id}:{frame}", 360)
        st.caption(f"{place}, which has no forces.")
        return
    scene, scale = force_error_scene(atoms, np.nan_to_num(parity.forces_error_of_frame(frame)))
    show_scene(scene, f"{PAGE}.viewer", f"{run.run_id}:{frame}", 360)
    st.caption(f"{place}: arrows are the error of the force, prediction minus label; 1 Å is {1e3 * scale:.3g} meV/Å. The largest "
               f"is on atom {table['worst_atom'][frame]}.")


def _evaluated(run: Run) -> tuple[EvaluateRequest, tuple[Sequence[Atoms], np.ndarray]]:
    """What was asked, and the frames with their places in the file. Raises DataError."""
    request = parse_config(EvaluateRequest, read_config(run.path))
    sources = [source for source in (request.data.train, request.data.val, request.data.test) if source]
    return request, _frames(str(run.path), tuple(last_change(source) for source in sources))


def _numbers(run: Run, parity: Parity) -> np.ndarray:
    """Places of the frames in their file, as other pages count; their order where the file is not what it was."""
    order = np.arange(len(parity.num_atoms))
    try:
        places = _evaluated(run)[1][1]
    except ToolkitError:
        return order
    return places[:len(order)] if len(places) >= len(order) else order  # fewer were judged where it was stopped


def _is_frame(atoms: Atoms, parity: Parity, frame: int) -> bool:
    """Whether it has the elements and labels that were compared: the file may have been written anew."""
    own = parity.frame_of_atom == frame
    if not np.array_equal(atoms.numbers, parity.atomic_numbers[own]):
        return False
    labels = atoms.calc.results if atoms.calc is not None else {}
    return all(np.allclose(labels.get(name, np.nan), compared, rtol=1e-6, atol=1e-6, equal_nan=True) for name, compared in (
        ("energy", parity.label_energy_eV[frame]), ("forces", parity.label_forces_eV_per_A[own])))


@st.cache_resource(max_entries=4, show_spinner="Reading the predictions …")
def _loaded(folder: str, modified: float) -> tuple[Parity, dict[str, np.ndarray]]:
    parity = load_parity(Path(folder) / PREDICTIONS)
    return parity, frame_errors(parity)


@st.cache_resource(max_entries=4, show_spinner="Reading the frames …")
def _frames(folder: str, modified: tuple[float, ...]) -> tuple[Sequence[Atoms], np.ndarray]:
    request = parse_config(EvaluateRequest, read_config(Path(folder)))
    return numbered_frames(request.data, request.part)
