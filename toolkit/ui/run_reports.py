"""Reports of the tasks that have no page of their own: shown on the Runs page."""

from __future__ import annotations

import streamlit as st

from toolkit.jobs.learning_curve_report import RESULTS, TABLE, report_sections
from toolkit.jobs.run_dir import Run, read_json
from toolkit.training.stability_card import STABILITY, stability_section
from toolkit.ui.study import download_files, show_section

LABELS = {"learningcurve": "Learning curves", "stability": "Stability", "workflow": "Alloy"}
"""Task -> its name on the page."""
FILES = {
    "learningcurve": {"report.html": ("Report", "text/html"), RESULTS: ("All numbers", "application/json"),
                      TABLE: ("Every run (CSV)", "text/csv")},
    "stability": {STABILITY: ("All numbers", "application/json")},
}


def show_report(run: Run) -> None:
    """What a learning curve or a stability record has found so far; nothing for other runs."""
    files = FILES.get(run.status.task, {})
    result = read_json(run.path / (RESULTS if run.status.task == "learningcurve" else STABILITY))
    if not files or result is None:
        return
    download_files(run, files)
    if run.status.task == "learningcurve":
        for section in report_sections(result):
            show_section(section, f"{run.run_id}.{section.title}")
    else:
        _, _, text = stability_section(result).partition("\n")
        st.markdown(text)
