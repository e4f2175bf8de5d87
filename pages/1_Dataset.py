"""Dataset: what was read from files, in which units, and what the detective found in them."""

from __future__ import annotations

import shlex
from typing import get_args

import numpy as np
import streamlit as st

from toolkit.config import DataConfig, EnergyUnit, ForcesUnit, LengthUnit, parse_config
from toolkit.data.detective.references import reference_energies
from toolkit.data.inspection import Inspection, frame_table, inspect_sources
from toolkit.figures.plots import bar_chart
from toolkit.ui.choices import pick_source
from toolkit.ui.dataset import show_distributions, show_findings, show_frames, show_references
from toolkit.ui.explanations import explained
from toolkit.ui.loading import last_change
from toolkit.ui.page import begin, show_numbers, shown_errors

Options = tuple[tuple[str, str], ...]


@st.cache_resource(max_entries=4, show_spinner="Reading and questioning the frames …")
def load(sources: tuple[str, ...], modified: tuple[float, ...],
         options: Options) -> tuple[Inspection, dict[str, dict[str, np.ndarray]]]:
    """Inspection and tables of frames, once for all sessions; a changed file is read again."""
    inspection = inspect_sources(sources, parse_config(DataConfig, {"train": sources[0], **dict(options)}))
    return inspection, {file.name: frame_table(file, inspection.files[0]) for file in inspection.files}


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
        options = _options()
        if source is None:
            st.info("Choose a file: extended XYZ, npz as in MD17, rMD17 or sGDML, or anything that ASE reads.")
            return
        sources = tuple(dict.fromkeys(path for path in (source, test) if path))
        modified = tuple(last_change(path) for path in sources)
        inspection, tables = load(sources, modified, options)
        _draw(inspection, tables, options)


def _options() -> Options:
    with st.expander("The file means something else: set units or names of fields"):
        columns, chosen = st.columns(6), {}
        for column, label, units in zip(columns, ("Energy", "Length", "Forces"), (EnergyUnit, LengthUnit, ForcesUnit)):
            name = f"{label.lower()}_unit"
            chosen[name] = column.selectbox(f"{label} unit", get_args(units), key=f"dataset.{name}",
                                            help=explained(f"dataset.{name}"))
        for column, label in zip(columns[3:], ("Energy", "Forces", "Stress"), strict=True):
            name = f"{label.lower()}_key"
            chosen[name] = column.text_input(f"{label} field", key=f"dataset.{name}", placeholder="automatic",
                                            help=explained(f"dataset.{name}"))
    return tuple((name, value) for name, value in chosen.items() if value and value != "auto")


def _draw(inspection: Inspection, tables: dict[str, dict[str, np.ndarray]], options: Options) -> None:
    first = inspection.files[0]
    report, sizes = first.frame_set.report, [len(atoms) for atoms in first.frames]
    show_numbers({
        "Frames": " + ".join(f"{len(file.frames):,}" for file in inspection.files),
        "Atoms per frame": " – ".join(dict.fromkeys(str(n) for n in (min(sizes), max(sizes)))),
        "Energy unit in the file": report.energy_unit, "Length unit in the file": report.length_unit,
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
    show_distributions(inspection, tables)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Reference energies of the elements")
        show_references(reference_energies(first.frames, report.isolated_atom_energies))
    with right:
        st.subheader("Composition")
        numbers, counts = np.unique([s for a in first.frames for s in a.get_chemical_symbols()], return_counts=True)
        st.plotly_chart(bar_chart(dict(zip(numbers.tolist(), (100 * counts / counts.sum()).tolist(), strict=True)),
                                  "element", "share of atoms, %"), key="dataset.composition")
    with st.expander("The same as a command", icon=":material/terminal:"):
        words = [*(file.name for file in inspection.files),
                 *(word for name, value in options for word in (f"--{name.replace('_', '-')}", value))]
        st.code(f"python -m toolkit data inspect {shlex.join(words)} --json findings.json", language="bash")


main()
