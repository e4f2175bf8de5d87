"""A server with a password or accounts shows nothing of any page before somebody came in."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.runtime.context import ContextProxy
from streamlit.testing.v1 import AppTest

from tests.pages.test_pages import texts
from toolkit.errors import ConfigError
from toolkit.ui import access
from toolkit.ui.page import PAGES

PASSWORD = "four words and a comma, please"
HASH = access.hash_password(PASSWORD)
ACCOUNTS = {"client_id": "toolkit", "redirect_uri": "http://localhost:8501/oauth2callback"}


@pytest.fixture(autouse=True)
def _no_pause_and_no_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "PAUSE_S", 0.0)
    monkeypatch.setattr(ContextProxy, "cookies", {})


def open_with(root: Path, found: dict[str, Any], page: str = "app.py", user: dict[str, Any] | None = None) -> AppTest:
    at = AppTest.from_file(str(root / "app.py"), default_timeout=60)
    at.secrets.update(found)
    at.user = user or at.user
    return (at if page == "app.py" else at.switch_page(page)).run()


def is_closed(at: AppTest) -> bool:
    """Nothing of the page, neither title nor links nor text."""
    return not (at.exception or at.title or at.sidebar.get("page_link") or at.metric or at.caption or at.dataframe)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_asks_for_the_password(page: str, root: Path) -> None:
    at = open_with(root, {"access": {"password_hash": HASH}}, page)
    assert is_closed(at) and texts(at) == ""
    assert [field.label for field in at.text_input] == ["Password of this server"] and len(at.button) == 1


def test_a_wrong_password_is_refused_and_the_right_one_opens_all_pages(root: Path) -> None:
    at = open_with(root, {"access": {"password_hash": HASH}})
    for guess in ("", PASSWORD[:-1], HASH):
        at.text_input(key="access.guess").input(guess)
        at.button[0].click().run()
        assert is_closed(at) and "not the password" in at.error[0].value
    at.text_input(key="access.guess").input(PASSWORD)
    at.button[0].click().run()
    assert not at.exception and not at.error and len(at.title) == 1
    at.switch_page("pages/8_Runs.py").run()
    assert len(at.title) == 1 and not at.text_input


def test_a_browser_with_a_valid_pass_comes_in(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for word, opens in ((access.make_pass(HASH, int(time.time()) + 60), True),
                        (access.make_pass(HASH, int(time.time()) - 60), False),
                        (access.make_pass(access.hash_password(PASSWORD), int(time.time()) + 60), False)):
        monkeypatch.setattr(ContextProxy, "cookies", {access.COOKIE: word})
        assert bool(open_with(root, {"access": {"password_hash": HASH}}).title) is opens


@pytest.mark.parametrize("word", ["", ".", "99999999999", "99999999999.", f"99999999999.{'0' * 64}", "٣.x", "-1.é"])
def test_made_up_passes_are_refused(word: str) -> None:
    assert access.is_pass(access.make_pass(HASH, 99999999999), HASH) and not access.is_pass(word, HASH)


@pytest.mark.parametrize("found", [{"password": PASSWORD}, {"access": {"password": PASSWORD}}, {"access": PASSWORD},
                                   {"access": {}}, {"access": {"password_hash": HASH[:-1]}},
                                   {"password_hash": HASH}, {"Access": {"password_hash": HASH}}, {"acces": {"password_hash": HASH}},
                                   {"auth": ACCOUNTS, "access": {"email": ["ada@uni.example"]}},
                                   {"auth": ACCOUNTS, "access": {"emails": "ada@uni.example"}},
                                   {"auth": ACCOUNTS, "access": ["ada@uni.example"]},
                                   {"auth": ACCOUNTS, "emails": ["ada@uni.example"]}])
def test_secrets_that_make_no_sense_let_nobody_in(found: dict[str, Any], root: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContextProxy, "cookies", {access.COOKIE: access.make_pass("", 99999999999)})
    at = open_with(root, found)
    assert is_closed(at) and "password\\_hash" in at.error[0].value and PASSWORD not in at.error[0].value


def test_secrets_that_cannot_be_read_let_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secrets.toml"
    monkeypatch.setattr(st, "secrets", st.runtime.secrets.Secrets())
    st.config.set_option("secrets.files", [str(file)])
    access.require_access()
    file.write_text("[access\n")
    try:
        with pytest.raises(ConfigError, match="cannot be read"):
            access.require_access()
    finally:
        st.config.set_option("secrets.files", [])


def test_each_wrong_guess_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "PAUSE_S", 0.3)
    start = time.perf_counter()
    assert not access.is_password("no", HASH) and time.perf_counter() - start > 0.3
    assert access.is_password(PASSWORD, HASH) and PASSWORD not in HASH and HASH != access.hash_password(PASSWORD)


def test_accounts_log_in_and_only_those_on_the_list_come_in(root: Path) -> None:
    found = {"auth": ACCOUNTS, "access": {"emails": ["ada@uni.example", "@group.example"]}}
    at = open_with(root, found, user={"is_logged_in": False})
    assert is_closed(at) and [button.label for button in at.button] == ["Log in"]
    for email, verified, comes_in in (("Ada@uni.example", True, True), ("x@group.example", True, True),
                                      ("x@group.example", False, False), ("eve@uni.example", True, False)):
        at = open_with(root, found, "pages/8_Runs.py",
                       {"is_logged_in": True, "email": email, "email_verified": verified})
        assert is_closed(at) is not comes_in and bool(at.title) is comes_in


def test_each_provider_of_accounts_has_its_button(root: Path) -> None:
    found = {"auth": {"redirect_uri": "http://localhost:8501/oauth2callback", "uni": ACCOUNTS, "lab": ACCOUNTS}}
    at = open_with(root, found, user={"is_logged_in": False})
    assert [button.label for button in at.button] == ["Log in with uni", "Log in with lab"]
