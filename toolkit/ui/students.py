"""Students: a small model that learns from a trained one, from the button under its errors to the form that trains it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from toolkit.config import TrainConfig, load_config, parse_config
from toolkit.jobs.distillation_config import DistillRequest
from toolkit.jobs.frame_files import named_sets
from toolkit.jobs.run_dir import Run, read_config
from toolkit.ui.choices import model_choices
from toolkit.ui.explanations import equation, explained
from toolkit.ui.forms import FormField, draw_form
from toolkit.ui.page import plain, shown_errors
from toolkit.ui.runs import start_job
from toolkit.ui.server_files import REPOSITORY

SMALL, LARGE = (REPOSITORY / "configs" / f"{name}.yaml" for name in ("student", "student_large"))
FIELDS = (
    FormField("temperature_K", "Temperature, K"),
    FormField("trajectories", "Trajectories"),
    FormField("ps", "Length of each, ps"),
    FormField("timestep_fs", "Time step, fs"),
)


def teach_section(run: Run) -> None:
    """A form under a finished training: frames where its model's dynamics goes, labelled by it and by others."""
    own = str(run.path / "model")
    with st.expander("Teach a small and fast model", icon=":material/school:"), shown_errors():
        st.caption("A small network cannot learn much from few frames. From a large one that has learned them it gets as many "
                   "as it likes: where a simulation goes, labelled by the large one. No more quantum chemistry. "
                   + equation("transfer"))
        others = {label: path for label, path in model_choices().items() if path != own}
        more = st.multiselect("Further teachers", list(others), key=f"{run.run_id}.teachers", help=explained("student.teachers"))
        with st.container(horizontal=True):
            values = draw_form("student", DistillRequest, FIELDS, {})
        if st.button("Make its frames", icon=":material/play_arrow:", key=f"{run.run_id}.teach"):
            request = parse_config(DistillRequest, {**values, "teachers": [own, *(others[label] for label in more)]})
            start_job("distill", request.model_dump(mode="json"), page="pages/8_Runs.py")


def show_frames(run: Run, result: dict[str, Any]) -> None:
    """What a search for frames has found, and the way to a student."""
    spread = result["forces_disagreement_meV_per_A"]
    between = "" if spread is None else f", who differ by {spread:.1f} meV/Å (standard deviation of a force component)"
    st.markdown(plain(f"{result['n_sampled']:,} frames with the labels of {', '.join(result['teachers'])}{between}; and "
                      f"{result['copies']} times {result['n_train_frames']} training frames with their own."))
    with st.container(horizontal=True):
        _student_button(run, "Train a small student on them", "speed", explained("student.small"))
        if len(result["teachers"]) > 1:
            _student_button(run, "Teach the first teacher what they all say", "accuracy", explained("student.large"))


def _student_button(run: Run, label: str, aim: str, help_text: str) -> None:
    if st.button(label, key=f"{run.run_id}.student.{aim}", icon=":material/school:", help=help_text):
        st.switch_page("pages/2_Train.py", query_params={"clone": run.run_id, "aim": aim})


def student_config(run: Run, aim: str) -> TrainConfig:
    """A training on the frames of a run. aim : "speed" for a small model, "accuracy" for one that goes on with the weights
    of the first teacher. Raises ConfigError."""
    recipe = load_config(TrainConfig, LARGE if aim == "accuracy" else SMALL)
    changes: dict[str, Any] = {"data": named_sets(run.path)}
    if aim == "accuracy":
        changes["start_from"] = parse_config(DistillRequest, read_config(run.path)).teachers[0]
    return recipe.model_copy(update=changes)
