"""The report of a study on a page: the same sections as in its HTML file, and everything to take home."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from toolkit.config import parse_config
from toolkit.figures.report import Section
from toolkit.jobs.run_dir import Run, read_config
from toolkit.jobs.study_config import StudyRequest
from toolkit.jobs.study_report import report_sections
from toolkit.storage import read_json
from toolkit.ui.page import plain

FILES = {
    "report.html": ("Report", "text/html"),
    "results.json": ("All numbers", "application/json"),
    "report.md": ("Summary in Markdown", "text/markdown"),
    "study.py": ("The same as a Python script", "text/x-python"),
}
"""What a study leaves behind -> its name on the page and its kind."""


def show_study(run: Run) -> None:
    """Downloads and sections of a finished study; of one under way, the stages that are done."""
    request = parse_config(StudyRequest, read_config(run.path))
    show_stages(run, FILES, lambda results: report_sections(request, results))


def show_stages(run: Run, files: Mapping[str, tuple[str, str]],
                sections: Callable[[Mapping[str, Any]], list[Section]]) -> None:
    """The same for any work in stages. files : of `download_files`;  sections : those of its results"""
    results = read_json(run.path / "results.json")
    if results is None:
        done = sorted((run.path / "stages").glob("*.json"), key=lambda path: path.stat().st_mtime)
        st.caption("Done so far: " + (", ".join(path.stem.replace("_", " ") for path in done) or "nothing yet") + ".")
        return
    download_files(run, files)
    for section in sections(results):
        show_section(section, f"study.{section.title}")


def download_files(run: Run, files: Mapping[str, tuple[str, str]]) -> None:
    """Buttons for those files that a run has left. files : name -> label and kind"""
    with st.container(horizontal=True):
        for name, (label, mime) in files.items():
            path = run.path / name
            if not path.is_file():
                continue
            st.download_button(label, _content(str(path), path.stat().st_mtime), f"{run.run_id}-{name}", mime,
                               key=f"{run.run_id}.{name}", icon=":material/download:")


def show_section(section: Section, key: str) -> None:
    """One section of a report on a page. key : of its figures, unique on the page"""
    st.subheader(section.title)
    for text in section.paragraphs:
        st.markdown(plain(text))
    for table in section.tables:
        with st.container(height=300 if len(table.rows) > 12 else "content", border=False):
            st.table([dict(zip(table.header, map(plain, row), strict=True)) for row in table.rows])
    for number, figure in enumerate(section.figures):
        st.plotly_chart(figure, key=f"{key}.{number}")


@st.cache_data(max_entries=8, show_spinner=False)
def _content(path: str, modified: float) -> bytes:
    return Path(path).read_bytes()
