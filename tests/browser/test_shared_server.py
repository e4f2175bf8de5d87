"""Several people on one server: a password, what one of them sees of the others, and what all share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import Browser, running_app
from toolkit.ui.access import COOKIE, hash_password

pytestmark = pytest.mark.browser
PATIENCE_MS = 90_000
"""A server and a browser that start beside other work."""
PASSWORD = "four words and a comma, please"


@pytest.fixture
def closed_server(root: Path, tmp_path: Path) -> Iterator[str]:
    """Address of an app that asks for a password."""
    secrets = tmp_path / "secrets.toml"
    secrets.write_text(f'[access]\npassword_hash = "{hash_password(PASSWORD)}"\n')
    with running_app(root, tmp_path, "--secrets.files", str(secrets)) as address:
        yield address


def test_a_password_is_asked_once_a_browser(closed_server: str, browser: Browser) -> None:
    people = browser.context.browser
    context = people.new_context()
    context.set_default_timeout(PATIENCE_MS)
    tab = context.new_page()
    tab.goto(f"{closed_server}/Runs")
    field = tab.get_by_label("Password of this server")
    for guess, answer in (("wrong", tab.get_by_text("This is not the password.")),
                          (PASSWORD, tab.get_by_role("heading", level=1))):
        assert tab.get_by_role("heading", level=1).count() == 0
        field.fill(guess)
        field.press("Enter")
        answer.wait_for()
    tab.wait_for_function(f"() => document.cookie.includes('{COOKIE}=')")
    second = context.new_page()
    for page in (tab, second):
        page.goto(f"{closed_server}/Train")
        page.get_by_role("heading", level=1).wait_for()
    other = people.new_context().new_page()
    other.set_default_timeout(PATIENCE_MS)
    other.goto(f"{closed_server}/Train")
    other.get_by_label("Password of this server").wait_for()
    assert other.get_by_role("heading", level=1).count() == 0


def test_two_people_share_runs_but_not_what_they_typed(browser: Browser, long_runs: list[str]) -> None:
    browser.context.set_default_timeout(PATIENCE_MS)
    mine, yours = browser.open("Molecular_Dynamics"), browser.context.browser.new_context().new_page()
    yours.set_default_timeout(PATIENCE_MS)
    yours.goto(f"{browser.address}/Molecular_Dynamics")
    mine.get_by_role("spinbutton", name="Steps", exact=True).fill("40")
    mine.keyboard.press("Enter")
    mine.get_by_text("40 steps are").wait_for()
    yours.get_by_role("spinbutton", name="Steps", exact=True).wait_for()
    yours.reload()
    assert yours.get_by_role("spinbutton", name="Steps", exact=True).input_value() != "40"
    mine.get_by_test_id("stMain").get_by_role("button", name="Start").first.click()
    mine.wait_for_url("**/Molecular_Dynamics?run=*")
    run = mine.url.partition("run=")[2]
    yours.goto(browser.address)
    yours.get_by_test_id("stMain").get_by_role("link", name=run).wait_for()
