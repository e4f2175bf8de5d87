"""Choosing a run, watching, stopping and resuming it. Its folder holds the truth; the address holds its name."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import streamlit as st

from toolkit.errors import JobError, ToolkitError
from toolkit.jobs import launcher
from toolkit.jobs.run_dir import Run, list_runs, open_run
from toolkit.ui.explanations import explained
from toolkit.ui.page import PAGES, duration, error_box, plain, shown_errors

NEW = "new"
CLONED = "train.cloned"
"""Which run the Train form is a copy of, so that it is copied once only."""
COLORS = {"queued": "gray", "running": "blue", "stopping": "orange", "finished": "green", "stopped": "orange",
          "failed": "red", "lost": "red"}
RUNS_PAGE = "pages/8_Runs.py"
RUN_PAGES = {"train": "pages/2_Train.py", "md": "pages/4_Trajectory.py", "passport": "pages/5_Equivariance.py",
             "modes": "pages/6_Spectra.py", "study": "pages/7_Study.py", "workflow": "pages/7_Study.py",
             "evaluate": "pages/9_Evaluate.py", "compare": "pages/10_Compare_Models.py",
             "learningcurve": RUNS_PAGE, "stability": RUNS_PAGE, "distill": RUNS_PAGE}
"""Task -> the page that shows its runs."""
TASK_NAMES = {"train": "Training", "md": "Simulation", "passport": "Passport", "modes": "Normal modes", "study": "Study",
              "workflow": "Alloy", "evaluate": "Evaluation", "compare": "Comparison", "learningcurve": "Learning curves",
              "stability": "Stability", "distill": "Frames for a student"}
"""Task -> what people call it."""
MEANING = {"lost": "The process was killed or the machine restarted. Nothing saved is lost: you can resume it."}
ANEW = ("passport", "evaluate", "modes", "budget")
"""Tasks that a resumed run starts from the beginning; the others go on from their last checkpoint."""


def pick_run(page: str, task: str, new_label: str | None = None) -> Run | None:
    """A list of runs kept in step with `?run=` in the address, so that a reload or another tab finds the same run.

    new_label : text of a first entry that means "none of them", returned as None; without it the newest run is chosen
    """
    runs = {run.run_id: run for run in list_runs(task)}
    options = ([NEW] if new_label else []) + list(runs)
    if not options:
        return None
    key = f"{page}.run"
    wanted = st.query_params.get("run", options[0])
    if wanted not in options:
        error_box(JobError(f"found no {task} run named {wanted[:80]!r}", "choose one of the runs in the list"))
        wanted = options[0]
    st.session_state[key] = wanted
    if wanted != NEW:
        st.query_params["run"] = wanted  # else a newer run would take its place in this list

    def remember() -> None:
        if st.session_state[key] == NEW:
            st.query_params.pop("run", None)
        else:
            st.query_params["run"] = st.session_state[key]

    chosen = st.selectbox("Run", options, key=key, on_change=remember, help=explained("run"),
                          format_func=lambda name: new_label if name == NEW else run_label(runs[name]))
    return runs.get(chosen)


def run_label(run: Run) -> str:
    """One line for lists. It never changes: a browser sends the label back, and an old one would not be recognised."""
    return f"{run.run_id} · {time.strftime('%d %b %H:%M', time.localtime(run.status.created))}"


def watch(run: Run, body: Callable[[Run], None], every: str = "2s") -> None:
    """Show a run's state, buttons and `body`, again and again while it is alive, once when it has ended."""

    @st.fragment(run_every=None if run.ended else every)
    def panel() -> None:
        try:
            now = open_run(run.path)
        except JobError:  # somebody deleted it; the page knows what to say then
            st.rerun()
        launcher.enforce_stop(now)
        with st.container():  # two slots whose place does not depend on what is in them, so that the 3D view is not
            _header(now)      # built anew when the header loses its progress bar
        with st.container():
            with shown_errors():
                body(now)
        if now.state != run.state:
            st.rerun()  # the whole page: polling ends with the run, and other parts of the page may depend on it

    panel()


def show_queue() -> None:
    """Everything at work or waiting on this machine; a GPU takes one job at a time."""

    @st.fragment(run_every="3s")
    def panel() -> None:
        for run in (run for run in reversed(list_runs()) if not run.ended):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.badge(run.state, color=COLORS[run.state])
                link_to(run)
                st.caption(plain(run.status.message))

    panel()


def clone_button(run: Run) -> None:
    """Open the form of the Train page with the configuration of this run."""
    if st.button("Clone", key=f"{run.run_id}.clone", icon=":material/content_copy:",
                 help="A new run that starts from this configuration; you can change it first."):
        st.session_state.pop(CLONED, None)
        st.switch_page(RUN_PAGES["train"], query_params={"clone": run.run_id})


def show_notes(records: list[dict[str, Any]]) -> None:
    """What a run had to say, each note once: a resumed run says some again."""
    for message in dict.fromkeys(str(record.get("message")) for record in records if record.get("kind") == "note"):
        st.caption(f":material/info: {plain(message)}")


def link_to(run: Run) -> None:
    """A link to the page that shows a run."""
    page = RUN_PAGES.get(run.status.task)
    if page is None:
        st.markdown(f"`{run.run_id}`")
    else:
        st.page_link(page, label=run_label(run), icon=PAGES[page][1], query_params={"run": run.run_id})


def start_job(task: str, config: dict[str, Any], page: str | None = None) -> None:
    """Start a job and go to its run, on the same page unless told; an error is shown in a red box."""
    try:
        run_dir = launcher.start(task, config)
    except ToolkitError as error:
        error_box(error)
        return
    if page is not None:
        st.switch_page(page, query_params={"run": run_dir.name})
    st.query_params.from_dict({"run": run_dir.name})
    st.rerun()


def _header(run: Run) -> None:
    status = run.status
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(run.state, color=COLORS[run.state])
        st.markdown(f"`{run.run_id}`")
        if status.started:
            st.caption(f"{'took' if run.ended else 'for'} {duration(run.took_s)}")
        st.space("stretch")
        _buttons(run)
    if run.state != "finished":
        fraction = min(status.step / status.total, 1.0) if status.total else 0.0
        st.progress(fraction, text=f"{status.step:,} of {status.total:,} · {plain(status.message)}" if status.total else
                    plain(status.message) or "starting: loading the libraries takes a few seconds")
    if status.error:
        error_box(JobError(status.error, status.hint))
    elif status.hint or run.state in MEANING:
        st.warning(MEANING.get(run.state, status.hint), icon=":material/warning:")


def _buttons(run: Run) -> None:
    key = f"{run.status.task}.{run.run_id}"
    anew = run.status.task in ANEW
    action = None
    if run.state in ("queued", "running"):
        if st.button("Stop", key=f"{key}.stop", icon=":material/stop:",
                     help="Ends soon. Resume starts again from the beginning." if anew else
                     "Saves, then ends. Resume continues exactly there."):
            action = launcher.request_stop
    elif run.state in ("stopped", "failed", "lost"):
        if st.button("Resume", key=f"{key}.resume", icon=":material/play_arrow:",
                     help="Starts again from the beginning, in the same folder." if anew else
                     "Goes on in the same folder from the last checkpoint."):
            action = launcher.resume
    if action:
        with shown_errors():
            action(run.path)
            st.rerun()
