"""Reports of the tasks that have no page of their own: shown on the Runs page."""

from __future__ import annotations

import streamlit as st

from toolkit.jobs.frame_files import TEST, TRAIN, VAL
from toolkit.jobs.learning_curve_report import RESULTS, TABLE, report_sections
from toolkit.jobs.run_dir import Run
from toolkit.storage import read_json
from toolkit.training.stability_card import STABILITY, stability_section
from toolkit.ui.students import show_frames
from toolkit.ui.study import download_files, show_section

FILES = {
    "learningcurve": {"report.html": ("Report", "text/html"), RESULTS: ("All numbers", "application/json"),
                      TABLE: ("Every run (CSV)", "text/csv")},
    "stability": {STABILITY: ("All numbers", "application/json")},
    "distill": {TRAIN: ("Frames for a student", "chemical/x-xyz"), VAL: ("Validation frames", "chemical/x-xyz"),
                TEST: ("Test frames", "chemical/x-xyz")},
}
FOUND = {"learningcurve": RESULTS, "stability": STABILITY, "distill": "result.json"}
"""Task -> the file with what it has found so far."""


def show_report(run: Run) -> None:
    """What a learning curve, a stability record or a search for frames has found so far; nothing for other runs."""
    task = run.status.task
    result = read_json(run.path / FOUND[task]) if task in FOUND else None
    if result is None:
        return
    download_files(run, FILES[task])
    if task == "learningcurve":
        for section in report_sections(result):
            show_section(section, f"{run.run_id}.{section.title}")
    elif task == "stability":
        _, _, text = stability_section(result).partition("\n")
        st.markdown(text)
    elif not result["stopped"]:
        show_frames(run, result)
