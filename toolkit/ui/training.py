"""What the Train page edits: a configuration as a form and as YAML at once, a copy of a run, and the cost."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import streamlit as st
import yaml

from toolkit.config import DataConfig, ModelConfig, SplitConfig, TrainConfig, load_config, parse_config, shortest
from toolkit.config_model import ARCHITECTURE_FIELDS
from toolkit.errors import ConfigError, ToolkitError, one_line
from toolkit.jobs import launcher
from toolkit.jobs.run_dir import Run, find_run, open_run, read_config
from toolkit.jobs.scripts import training_script
from toolkit.storage import read_json
from toolkit.ui.choices import check_sources, model_choices, model_label, pick_source, presets, source_label
from toolkit.ui.explanations import explained
from toolkit.ui.forms import FormField, draw_form, forget_form
from toolkit.ui.page import PAGES, duration, plain, show_numbers, shown_errors
from toolkit.ui.runs import CLONED, start_job, watch
from toolkit.ui.server_files import allowed_path
from toolkit.ui.students import student_config

PAGE = "train"
BASE, YAML, PROBLEM, PRESET = f"{PAGE}.base", f"{PAGE}.yaml", f"{PAGE}.yaml_problem", f"{PAGE}.preset"
BUDGET, DRAWN = f"{PAGE}.budget", f"{PAGE}.drawn"
PATHS = (f"{PAGE}.path", f"{PAGE}.test.path")
SPLIT = "Split from the data"
START = f"{PAGE}.start_from"
RANDOM = "Random weights"
MB, GB = 1e6, 1e9
NEXT = {"evaluate": ("pages/9_Evaluate.py", "Look at every prediction"),
        "md": ("pages/3_Molecular_Dynamics.py", "Simulate with this model"),
        "equivariance": ("pages/5_Equivariance.py", "Check its symmetry, make its passport")}
"""Page of a widget "<name>.model" -> its file, and what is done there."""


def pick_start(fields: Sequence[FormField]) -> dict[str, Any]:
    """What the form starts from: a preset, a copy of the run in `?clone=`, or YAML that the user wrote."""
    known = presets()
    clone, aim = st.query_params.get("clone", ""), st.query_params.get("aim", "speed")
    if (clone, aim) != st.session_state.get(CLONED, ("", "speed")):
        st.session_state[CLONED] = (clone, aim)
        if clone:
            with shown_errors():
                _start_from(_configuration_of(open_run(find_run(clone)), aim), fields)
                st.session_state[PRESET] = None

    def take_preset() -> None:
        if st.session_state[PRESET] is not None:
            _start_from(load_config(TrainConfig, known[st.session_state[PRESET]]), fields)

    index = 0 if BASE not in st.session_state else None
    if BASE not in st.session_state:
        _start_from(load_config(TrainConfig, next(iter(known.values()))), fields)
    st.selectbox("Preset", list(known), index=index, key=PRESET, persist_state="session", on_change=take_preset,
                 placeholder=f"a copy of {clone}" if clone else "your own", help=explained("train.preset"))
    if st.session_state[PRESET] in known:
        st.caption(_lesson(known[st.session_state[PRESET]]))
    return st.session_state[BASE]


def choose_data(values: dict[str, Any]) -> dict[str, Any]:
    """Widgets for the training and the test file; a copy of `values` with what was chosen."""
    data = dict(values["data"])
    left, right = st.columns(2)
    with left:
        source = pick_source(PAGE, first={source_label(data["train"]): data["train"]})
    with right:
        given = {source_label(data["test"]): data["test"]} if data["test"] and source == data["train"] else {}
        test = pick_source(f"{PAGE}.test", "Test data", first={**given, SPLIT: ""})
    if source is None:
        raise ConfigError("found no data to train on", "choose a file")
    if source != data["train"]:  # another file: what was said about the first does not hold
        split = data["split"] if data["split"]["method"] != "indices" else SplitConfig().model_dump(mode="json")
        data = {**DataConfig(train=source).model_dump(mode="json"), "split": split}
    data["test"] = test or None
    return {**values, "data": data}


def choose_start(values: dict[str, Any]) -> dict[str, Any]:
    """A list of the models that training can go on from; a copy of `values` with what was chosen, None: random weights."""
    models = _starts(values["start_from"])
    label = st.selectbox("Start from", list(models), key=START, persist_state="session", help=explained(START))
    if models[label] is not None:
        st.caption("Its network and weights are taken; the zero of energy is fitted anew to your frames.")
    return {**values, "start_from": models[label]}


def choose_model(values: dict[str, Any], fields: Sequence[FormField]) -> dict[str, Any]:
    """Widgets for the architecture and for those of `fields` that it has; a copy of `values` with what was chosen.

    Another architecture starts from its own defaults; the cutoff stays. A model to go on from brings its own network.
    """
    if values["start_from"] is not None:
        return {**values, "model": ModelConfig().model_dump(mode="json")}
    before = values["model"]["architecture"]
    chosen = draw_form(PAGE, TrainConfig, fields[:1], values)
    architecture = chosen["model"]["architecture"]
    if st.session_state.get(DRAWN, before) != architecture:
        forget_form(PAGE, [field for field in fields[1:] if field.path != "model.r_max"])
    st.session_state[DRAWN] = architecture
    foreign = {f"model.{name}" for name in frozenset().union(*ARCHITECTURE_FIELDS.values())
               - ARCHITECTURE_FIELDS[architecture]}
    if architecture != before:
        own = {"architecture": architecture, "r_max": values["model"]["r_max"]}
        chosen["model"] = parse_config(ModelConfig, own).model_dump(mode="json")
    return draw_form(PAGE, TrainConfig, [field for field in fields[1:] if field.path not in foreign], chosen)


def checked(values: dict[str, Any]) -> TrainConfig:
    """The configuration. Raises ConfigError, and DataError for files outside the allowed folders."""
    config = parse_config(TrainConfig, values)
    check_sources(config.data)
    if config.start_from is not None and config.start_from not in model_choices().values():
        allowed_path(config.start_from)
    return config


def show_texts(config: TrainConfig | None, fields: Sequence[FormField]) -> bool:
    """The configuration as YAML to edit, as a command and as a script. Returns False while the YAML is wrong.

    config : None while the form is wrong; the YAML then stays as it was
    """
    if config and PROBLEM not in st.session_state and not _says(st.session_state.get(YAML) or "", config):
        st.session_state[YAML] = as_yaml(config)
    text, command, script = st.tabs(["YAML", "Command", "Python"])
    with text:
        st.text_area("Configuration", key=YAML, height=440, persist_state="session", on_change=_take_yaml,
                     args=(fields,), help=explained("train.yaml"))
        if PROBLEM in st.session_state:
            st.error(plain(st.session_state[PROBLEM]), icon=":material/error:")
            st.button("Back to what the form says", key=f"{PAGE}.discard", icon=":material/undo:",
                      on_click=lambda: st.session_state.pop(PROBLEM, None))
        elif config:
            st.download_button("Save as a file", as_yaml(config), "my_training.yaml", "text/yaml",
                               key=f"{PAGE}.save", icon=":material/download:")
    if config:
        command.code("python -m toolkit train my_training.yaml", language="bash")
        command.caption("With the file saved from the first tab.")
        script.code(training_script(config), language="python")
    return PROBLEM not in st.session_state


def as_yaml(config: TrainConfig) -> str:
    """All that is not filled in anyway, in the order of the fields."""
    return yaml.safe_dump(shortest(config), sort_keys=False, allow_unicode=True)


def start_section(config: TrainConfig) -> None:
    """Buttons that start the run or measure what it will cost here, and the numbers of the last measurement."""
    asked = config.model_dump(mode="json")
    with st.container(horizontal=True), shown_errors():
        if st.button("Start training", type="primary", icon=":material/play_arrow:", key=f"{PAGE}.start"):
            start_job("train", asked)
        if st.button("Estimate the cost", key=f"{PAGE}.estimate", icon=":material/timer:",
                     help="Does a few real steps in a process of its own: parameters, memory, time on this machine."):
            st.session_state[BUDGET] = launcher.start("budget", asked).name
    if BUDGET not in st.session_state:
        return
    with shown_errors():
        run = open_run(find_run(st.session_state[BUDGET]))
        if read_config(run.path) != asked:
            st.caption("The form has changed since the cost was estimated.")
        elif run.ended and (result := read_json(run.path / "result.json")):
            show_budget(result)
        else:
            watch(run, _nothing_more)


def go_on_with_model(run: Run) -> None:
    """Buttons to the pages where a trained model is used next; it is already chosen there."""
    label = model_label(str(run.path / "model"))
    with st.container(horizontal=True):
        for name, (page, text) in NEXT.items():
            if st.button(text, key=f"{run.run_id}.{name}", icon=PAGES[page][1], disabled=label is None):
                st.session_state[f"{name}.model"] = label
                st.switch_page(page)


def show_budget(budget: dict[str, Any]) -> None:
    """Parameters, memory, time of an epoch and the expected end (see `toolkit.training.budget.Budget`)."""
    end = time.strftime("%d %b %H:%M", time.localtime(time.time() + budget["total_s"]))
    show_numbers({"Parameters": f"{budget['num_parameters']:,}",
                  "Memory of a step": f"{budget['peak_bytes'] / MB:,.0f} MB", "One epoch": duration(budget["epoch_s"]),
                  "The whole run": duration(budget["total_s"])})
    parts = " It exceeds the free memory: batches are computed in parts." if budget["in_parts"] else ""
    st.caption(f"{budget['n_train']:,} training, {budget['n_val']:,} validation and {budget['n_test']:,} test frames; "
               f"{budget['steps_per_epoch']:,} steps an epoch, {1e3 * budget['step_s']:.3g} ms each on "
               f"{plain(budget['device'])}, {budget['available_bytes'] / GB:.1f} GB free. "
               f"Started now, it would end at {end}." + parts)


def _nothing_more(run: Run) -> None:
    """The header says it all."""


def _lesson(path: Path) -> str:
    """What a ready-made configuration teaches and costs: the comment at its head, up to the command."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return plain(" ".join(line[2:] for line in takewhile(lambda line: re.match("# [^ ]", line), lines)))


def _starts(configured: str | None) -> dict[str, str | None]:
    """Label -> model that training can go on from, the configured one among them; None: random weights."""
    models = {RANDOM: None, **model_choices()}
    return models if configured in models.values() else {**models, source_label(configured): configured}


def _start_from(config: TrainConfig, fields: Sequence[FormField]) -> None:
    st.session_state[BASE] = config.model_dump(mode="json")
    forget_form(PAGE, fields)
    for key in (PROBLEM, *PATHS):
        st.session_state.pop(key, None)
    st.session_state[f"{PAGE}.source"] = source_label(config.data.train)
    st.session_state[f"{PAGE}.test.source"] = source_label(config.data.test) if config.data.test else SPLIT
    st.session_state[START] = next(label for label, model in _starts(config.start_from).items()
                                   if model == config.start_from)


def _take_yaml(fields: Sequence[FormField]) -> None:
    """Let the form follow the text; what is wrong with it is remembered and shown below."""
    try:
        config = _parsed(st.session_state[YAML])
    except ToolkitError as error:
        st.session_state[PROBLEM] = f"{error}"
    else:
        _start_from(config, fields)
        st.session_state[PRESET] = None


def _configuration_of(run: Run, aim: str) -> TrainConfig:
    """That of a training; of frames for a student, one that trains it on them (`students.student_config`). Raises
    ConfigError."""
    return student_config(run, aim) if run.status.task == "distill" else parse_config(TrainConfig, read_config(run.path))


def _parsed(text: str) -> TrainConfig:
    """The configuration that a text holds. Raises ConfigError, DataError."""
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"this is not YAML: {one_line(error)}", "check indentation and colons") from None
    return checked(values)


def _says(text: str, config: TrainConfig) -> bool:
    """True when a text means this configuration; then it stays as the user wrote it, comments included."""
    try:
        return _parsed(text) == config
    except ToolkitError:
        return False
