"""Dataset: what was read from files, in which units, and what the detective found in them."""

from __future__ import annotations

import shlex
from typing import NamedTuple, get_args

import numpy as np
import streamlit as st
from ase.data import chemical_symbols

from toolkit.config import DataConfig, EnergyUnit, ForcesUnit, LengthUnit, parse_config
from toolkit.data.detective.references import ReferenceEnergies, reference_energies
from toolkit.data.inspection import Inspection, frame_table, inspect_sources
from toolkit.figures.plots import bar_chart
from toolkit.ui.choices import pick_source
from toolkit.ui.dataset import show_distributions, show_findings, show_frames, show_references
from toolkit.ui.explanations import explained
from toolkit.ui.loading import last_change
from toolkit.ui.page import begin, show_numbers, shown_errors

Options = tuple[tuple[str, str], ...]
UNITS = {"energy_unit": EnergyUnit, "length_unit": LengthUnit, "forces_unit": ForcesUnit}
KEYS = ("energy_key", "forces_key", "stress_key")
READ = "dataset.read"  # session key of the first file that the options were about; Streamlit would print a bare text here


class Loaded(NamedTuple):
    """What is worked out once for all sessions. tables : file -> columns of `frame_table`;  shares : % of atoms by element"""

    inspection: Inspection
    tables: dict[str, dict[str, np.ndarray]]
    references: ReferenceEnergies | None
    shares: dict[str, float]


@st.cache_resource(max_entries=4, show_spinner="Reading and questioning the frames …")
def load(sources: tuple[str, ...], modified: tuple[float, ...], options: Options) -> Loaded:
    """Read and question the files; a changed file is read again."""
    inspection = inspect_sources(sources, parse_config(DataConfig, {"train": sources[0], **dict(options)}))
    first = inspection.files[0]
    tables = {file.name: frame_table(file, first) for file in inspection.files}
    numbers, counts = np.unique(np.concatenate([atoms.numbers for atoms in first.frames]), return_counts=True)
    shares = {chemical_symbols[z]: 100.0 * count / counts.sum() for z, count in zip(numbers, counts, strict=True)}
    return Loaded(inspection, tables, reference_energies(first.frames, first.frame_set.report.isolated_atom_energies), shares)


def main() -> None:
    """Draw the page."""
    begin("pages/1_Dataset.py", "A potential is only as good as its data. Units, signs, copies and outliers are "
                                "checked against physics, with the evidence, before you train on them.")
    with shown_errors():
        left, right = st.columns(2)
        with left:
            source = pick_source("dataset")
        with right:
            test = pick_source("dataset.test", "Compare with (test set)", first={"No second file": ""})
        options = _options(source)
        if source is None:
            st.info("Choose a file: extended XYZ, npz as in MD17, rMD17 or sGDML, or anything that ASE reads.")
            return
        sources = tuple(dict.fromkeys(path for path in (source, test) if path))
        modified = tuple(last_change(path) for path in sources)
        _draw(load(sources, modified, options), options)


def _options(source: str | None) -> Options:
    if st.session_state.get(READ) != source:  # another file: what was said about the first does not hold
        for name in (*UNITS, *KEYS):
            st.session_state.pop(f"dataset.{name}", None)
    st.session_state[READ] = source
    with st.expander("The files mean something else: set units or names of fields, for both"):
        columns, chosen = st.columns(len(UNITS) + len(KEYS)), {}
        for column, (name, units) in zip(columns, UNITS.items()):
            chosen[name] = column.selectbox(name.capitalize().replace("_", " "), get_args(units), key=f"dataset.{name}",
                                            help=explained(f"dataset.{name}"))
        for column, name in zip(columns[len(UNITS):], KEYS, strict=True):
            label = name.capitalize().replace("_key", " field")
            chosen[name] = column.text_input(label, key=f"dataset.{name}", placeholder="automatic",
                                             help=explained(f"dataset.{name}"))
    return tuple((name, value) for name, value in chosen.items() if value and value != "auto")


def _draw(loaded: Loaded, options: Options) -> None:
    inspection, first = loaded.inspection, loaded.inspection.files[0]
    report, sizes = first.frame_set.report, [len(atoms) for atoms in first.frames]
    show_numbers({
        "Frames": " + ".join(f"{len(file.frames):,}" for file in inspection.files),
        "Atoms per frame": " – ".join(dict.fromkeys(str(n) for n in (min(sizes), max(sizes)))),
        "Energy unit": report.energy_unit, "Length unit": report.length_unit,
        "Errors · warnings": " · ".join(str(sum(f.severity == severity for f in inspection.findings))
                                        for severity in ("error", "warning")),
    })
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Findings")
        show_findings(inspection)
    with right:
        st.subheader("In 3D")
        show_frames(inspection)
    show_distributions(inspection, loaded.tables)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Reference energies of the elements")
        show_references(loaded.references)
    with right:
        st.subheader("Composition")
        st.plotly_chart(bar_chart(loaded.shares, "element", "share of atoms, %"), key="dataset.composition")
    with st.expander("The same as a command", icon=":material/terminal:"):
        words = [*(file.name for file in inspection.files),
                 *(word for name, value in options for word in (f"--{name.replace('_', '-')}", value))]
        st.code(f"python -m toolkit data inspect {shlex.join(words)} --json findings.json", language="bash")


main()
