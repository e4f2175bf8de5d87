"""The alloy part of the Study page: the form starts what it says, and is not offered as a training configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.config import TrainConfig, load_config, parse_config
from toolkit.jobs import launcher
from toolkit.jobs.run_dir import read_config
from toolkit.jobs.workflow_config import WorkflowConfig
from toolkit.ui.choices import presets, workflows
from toolkit.ui.workflow import ALLOY

PAGE = "pages/7_Study.py"


def test_the_form_starts_what_it_says(open_page, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Path] = []
    monkeypatch.setattr(launcher, "_spawn", lambda run_dir, resume: started.append(run_dir))
    at = open_page(PAGE)
    at.segmented_control(key="study.kind").set_value(ALLOY).run()
    at.selectbox(key="study.alloy.file").set_value("mlearn cu").run()
    at.number_input(key="study.mlearn cu.hot_K").set_value(2500.0).run()
    assert any("steps of molecular dynamics" in caption.value for caption in at.caption)
    at.button(key="study.alloy.start").click().run()
    assert not at.exception
    config = parse_config(WorkflowConfig, read_config(started[0]))
    assert config.start.composition == {"Cu": 1.0}
    assert config.melt_quench.hot_K == 2500.0
    assert config.train is not None
    at.run()
    assert at.segmented_control(key="study.kind").value == ALLOY
    assert at.query_params["run"] in (started[0].name, [started[0].name])
    assert any("Done so far" in caption.value for caption in at.caption)


def test_workflows_and_training_configurations_are_told_apart() -> None:
    assert {"alloy nbmotaw", "mlearn cu", "mlearn mo", "mlearn si"} == set(workflows())
    assert not set(workflows().values()) & set(presets().values())
    for path in workflows().values():
        load_config(WorkflowConfig, path)
    for name in ("coffee break", "tutorial"):
        load_config(TrainConfig, presets()[name])
