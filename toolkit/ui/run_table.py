"""What the Runs page shows: the table of all runs, curves over each other, and everything about one run."""

from __future__ import annotations

import time
from collections.abc import Sequence

import streamlit as st

from toolkit.errors import JobError
from toolkit.figures.training import epoch_records, training_curves
from toolkit.jobs import launcher
from toolkit.jobs.run_dir import Run, read_metrics
from toolkit.jobs.summary import key_result, subject
from toolkit.storage import read_json
from toolkit.ui.downloads import csv_text
from toolkit.ui.explanations import explained
from toolkit.ui.page import SVG, duration, error_box, plain, shown_errors
from toolkit.ui.run_reports import show_report
from toolkit.ui.runs import RUN_PAGES, RUNS_PAGE, TASK_NAMES, clone_button, link_to, watch

PAGE = "runs"
LOG_BYTES = 20_000
"""So much of the end of a log is shown."""


def pick_runs(runs: Sequence[Run]) -> list[Run]:
    """A table of runs in which a click chooses some; at first it is that of the address, `?run=`."""
    rows = [{"task": TASK_NAMES[run.status.task], "state": run.state, "started": time.strftime("%d %b %H:%M:%S", _started(run)),
             "took": _took(run), "about": subject(run), "result": key_result(run), "run": run.run_id} for run in runs]
    asked = [row for row, run in enumerate(runs) if run.run_id == st.query_params.get("run")]
    key = table_key([run.run_id for run in runs], st.query_params.get("run", ""))
    event = st.dataframe(rows, key=key, on_select="rerun", selection_mode="multi-row", hide_index=True,
                         selection_default={"selection": {"rows": asked}}, height=min(38 + 35 * len(rows), 400))
    st.caption("Tick the box at the left of a row for everything about that run; tick several training runs to see "
               "their curves over each other.")
    return [runs[row] for row in event.selection.rows if row < len(runs)]


def table_key(run_ids: Sequence[str], asked: str = "") -> str:
    """Session key of the choice in a table of these runs: it holds row numbers, which mean others in another list, and gives
    way to the run of another address."""
    return f"{PAGE}.table.{hash((*run_ids, asked))}"


def show_curves(runs: Sequence[Run]) -> None:
    """Learning curves of training runs over each other, with their numbers as CSV."""
    records = {run.run_id: epoch_records(read_metrics(run.path)) for run in runs}
    against = st.segmented_control("Against", ["epoch", "wall time"], default="epoch", required=True,
                                   key=f"{PAGE}.against", help=explained("runs.against"))
    st.plotly_chart(training_curves(records, against == "wall time"), key=f"{PAGE}.curves", config=SVG)
    if len(runs) > 1:
        st.caption("Solid: validation; dotted: training. One colour a run.")
    rows = [{"run": name, **row} for name, epochs in records.items() for row in epochs]
    st.download_button("Curves (CSV)", csv_text(rows), "training.csv", "text/csv", key=f"{PAGE}.csv",
                       icon=":material/download:")


def show_run(run: Run) -> None:
    """State, error, log, configuration and environment of one run, a link to its page, and its end."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(run.run_id)
        st.space("stretch")
        shown_here = RUN_PAGES[run.status.task] == RUNS_PAGE
        if not shown_here:
            link_to(run)
        if run.status.task == "train":
            clone_button(run)
        _delete_button(run)
    if shown_here:
        watch(run, show_report)
    elif run.status.error:
        error_box(JobError(run.status.error, run.status.hint))
    log, config, environment, result = st.tabs(["Log", "Configuration", "Environment and hashes", "Result"])
    text = log_end(run)
    log.code(text or "The log is empty.", language=None, height=320 if len(text) > 1000 else "content", wrap_lines=True)
    config.json(read_json(run.path / "config.json") or {}, expanded=2)
    environment.json(read_json(run.path / "environment.json") or {"none": "this run has not begun, or is an old one"})
    result.json(read_json(run.path / "result.json") or {"none": "no result yet"}, expanded=1)
    st.caption(f"Everything is in {plain(str(run.path))}")


def log_end(run: Run) -> str:
    """The last lines of what the worker printed."""
    try:
        with open(run.path / "log.txt", "rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - LOG_BYTES))
            return stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def _delete_button(run: Run) -> None:
    def delete() -> None:
        with shown_errors():
            launcher.delete(run.path)

    with st.popover("Delete", icon=":material/delete:", disabled=not run.ended,
                    help=None if run.ended else "Stop it first."):
        st.markdown("Deletes the folder with its model, trajectory and results. It cannot be undone.")
        st.button("Delete for good", key=f"{run.run_id}.delete", type="primary", on_click=delete)


def _started(run: Run) -> time.struct_time:
    return time.localtime(run.status.created)


def _took(run: Run) -> str:
    return duration(run.took_s) if run.took_s else ""
