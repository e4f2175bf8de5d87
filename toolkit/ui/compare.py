"""What the Compare models page lets people choose, and what it shows of a comparison."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import streamlit as st

from toolkit.config import DataConfig, parse_config
from toolkit.jobs.compare import FILE
from toolkit.jobs.compare_config import CompareRequest
from toolkit.jobs.compare_models import model_labels
from toolkit.jobs.compare_report import flat_rows, report_sections
from toolkit.jobs.requests import Part
from toolkit.jobs.run_dir import Run, read_config
from toolkit.jobs.scripts import comparison_script
from toolkit.storage import read_json
from toolkit.ui.choices import model_choices, pick_source
from toolkit.ui.downloads import csv_text
from toolkit.ui.evaluation import tested_on
from toolkit.ui.explanations import explained
from toolkit.ui.study import show_section

PAGE = "compare"
MAX_MODELS = 8
TEST_PREFIX = "test:"
"""A source with it means the test frames of the model that follows."""


def pick_models() -> list[str]:
    """A list from which several models are taken. Returns what `toolkit.load` takes of each."""
    choices = model_choices()
    chosen = st.multiselect("Models", list(choices), list(choices)[:2], key=f"{PAGE}.models",
                            max_selections=MAX_MODELS, persist_state="session", help=explained(f"{PAGE}.models"))
    return [choices[label] for label in chosen]


def pick_frames(models: Sequence[str]) -> tuple[DataConfig, Part] | None:
    """Labelled frames of a source, or the frames that one of the models was tested on; None as long as none are chosen, or
    no model.

    Raises what `pick_source` does.
    """
    if not models:  # a list without their test frames would forget which ones were chosen
        return None
    tested = {model: found for model in models if (found := tested_on(model)) is not None}
    first = {f"{tested[model].name.capitalize()} of {label}": TEST_PREFIX + model
             for label, model in zip(model_labels(list(tested)), tested, strict=True)}
    source = pick_source(PAGE, "Labelled frames", first)
    if source is None:
        return None
    if source.startswith(TEST_PREFIX):
        data, part, _ = tested[source.removeprefix(TEST_PREFIX)]
        return data, part
    return parse_config(DataConfig, {"train": source}), "all"


def show_comparison(run: Run) -> None:
    """Everything that is known so far, what to take home, and how to do the same without the page."""
    request = parse_config(CompareRequest, read_config(run.path))
    summary = read_json(run.path / FILE)
    if summary is not None:
        _downloads(run, csv_text(flat_rows(summary)))
        for section in report_sections(request, summary):
            show_section(section, f"{PAGE}.{section.title}")
    with st.expander("The same as a script and on the command line", icon=":material/terminal:"):
        st.code(comparison_script(request), language="python")
        if request.part == "all":
            st.code(f"python -m toolkit compare {shlex.join(_words(request))}", language="bash", wrap_lines=True)


def _downloads(run: Run, table: str) -> None:
    with st.container(horizontal=True):
        st.download_button("Table (CSV)", table, f"{run.run_id}.csv", "text/csv", key=f"{PAGE}.csv",
                           icon=":material/download:")
        for name, label, mime in ((FILE, "All numbers", "application/json"), ("report.html", "Report", "text/html")):
            path = run.path / name
            if path.is_file():
                st.download_button(label, path.read_bytes(), f"{run.run_id}-{name}", mime, key=f"{PAGE}.{name}",
                                   icon=":material/download:")


def _words(request: CompareRequest) -> list[str]:
    """Words of the command that does the same."""
    options = {"data": request.data.train, **request.data.model_dump(exclude_defaults=True, exclude={"train", "split"}),
               **request.model_dump(exclude_defaults=True, exclude={"models", "data", "part"})}
    return [*request.models, *(word for name, value in options.items()
                               for word in (f"--{name.replace('_', '-')}", str(value)))]
