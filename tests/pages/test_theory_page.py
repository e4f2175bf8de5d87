"""Every control says what it does to the physics, every link to an equation lands, and the document tells the truth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.pages.test_pages import fake_run
from toolkit.config import MDConfig
from toolkit.ui.explanations import EXPLANATIONS, explained
from toolkit.ui.page import PAGES as NAMED_PAGES
from toolkit.ui.theory import DOCUMENT, FIGURES, theory_parts

PAGE = "pages/11_Theory.py"
INPUTS = ("selectbox", "multiselect", "radio", "button_group", "checkbox", "slider", "select_slider", "number_input",
          "text_input", "text_area", "date_input", "time_input", "file_uploader", "color_picker")
LINK = re.compile(r"\(Theory#([a-z-]+)\)")


def inputs(at: AppTest) -> Iterator[tuple[str, str]]:
    """Label and help of each widget on the page that takes a value, whatever it is called in Streamlit."""
    for kind in INPUTS:
        for element in at.get(kind):
            yield f"{kind} {element.proto.label!r}", element.proto.help


def unexplained(at: AppTest) -> list[str]:
    """Widgets without a sentence, or without a link to an equation that exists."""
    known = {section.anchor for sections in theory_parts().values() for section in sections}
    return [name for name, text in inputs(at) if len(text) < 30 or not set(LINK.findall(text)) or
            not set(LINK.findall(text)) <= known]


@pytest.mark.parametrize("page", NAMED_PAGES)
def test_every_input_of_every_page_is_explained(page: str, open_page) -> None:
    at = open_page(page)
    assert not at.exception and unexplained(at) == []
    if page not in ("app.py", "pages/4_Trajectory.py", "pages/8_Runs.py"):  # nothing to choose before the first run
        assert len(list(inputs(at))) >= 2


@pytest.mark.parametrize("ensemble", MDConfig.model_fields["ensemble"].annotation.__args__)
def test_every_heat_bath_is_explained(ensemble: str, open_page) -> None:
    at = open_page("pages/3_Molecular_Dynamics.py")
    at.selectbox(key="md.ensemble").select(ensemble).run()
    assert not at.exception and unexplained(at) == []


def test_what_appears_with_files_and_runs_is_explained(open_page, md_run: Path) -> None:
    at = open_page("pages/4_Trajectory.py", run=md_run.name)
    assert len(list(inputs(at))) >= 4 and unexplained(at) == []
    fake_run("train", "finished", {})
    assert unexplained(open_page("pages/8_Runs.py")) == []
    at = open_page("pages/1_Dataset.py")
    for choice in ("Uploaded file", "File on the server"):
        at.selectbox(key="dataset.source").select(choice).run()
        assert unexplained(at) == []


def test_the_walk_finds_widgets_without_help_and_dead_links() -> None:
    def page() -> None:
        import streamlit as st

        st.slider("silent", 0, 1)
        st.pills("curt", ["a"], help="Choose.")
        st.text_input("lost", help="What this does to the physics is told [here](Theory#no-such-section).")
        st.number_input("good", help="What this does to the physics is told [here](Theory#cutoff).")

    found = unexplained(AppTest.from_function(page).run())
    assert len(found) == 3 and not any("good" in name for name in found)


def test_every_anchor_exists_and_none_is_taken_twice() -> None:
    anchors = [section.anchor for sections in theory_parts().values() for section in sections]
    assert len(anchors) == len(set(anchors)) > 25
    assert {anchor for _, anchor in EXPLANATIONS.values()} <= set(anchors) and set(FIGURES) <= set(anchors)
    with pytest.raises(KeyError):
        explained("train.no_such_field")


def test_the_document_names_sources_and_code_that_exist(root: Path) -> None:
    for sections in theory_parts().values():
        for section in sections:
            assert "*Source:*" in section.text and "*Code:*" in section.text, section.title
            assert section.text.count("$$") % 2 == 0 and section.text.count("$") % 2 == 0, section.title
    text = " ".join(DOCUMENT.read_text(encoding="utf-8").split())
    named = re.findall(r"`(\w+)` in `(toolkit/[\w/]+\.py)`", text)
    assert len(named) >= 34 and len(re.findall(r"`toolkit/", text)) == len(named)
    for name, path in named:
        defined = rf"^(def|class) {name}\b|^{name}\b.* = "
        assert re.search(defined, (root / path).read_text(), re.MULTILINE), (name, path)


def test_sections_and_figures_are_on_the_page(open_page) -> None:
    at = open_page(PAGE)
    headings = {heading.proto.anchor for heading in at.subheader}
    assert {"cutoff", "equivariance", "nose-hoover", "error-bars"} <= headings
    assert len(at.get("plotly_chart")) == len(FIGURES)
    at.slider(key="theory.num_bessels").set_value(7).run()
    at.button_group(key="theory.degree").set_value(3).run()
    components = at.button_group(key="theory.order.3").proto.options
    assert not at.exception and [int(option.content) for option in components] == list(range(-3, 4))
