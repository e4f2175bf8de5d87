"""Who may see the pages: on a laptop everybody; on a shared server those who know its password or have an account.

Streamlit's secrets decide, `.streamlit/secrets.toml` (docs/server.md shows how):

    [access]
    password_hash = "scrypt:…"                      one password for a group; `hash_password` makes this line

    [auth]                                          accounts of an identity provider, as described for `st.login`
    [access]
    emails = ["ada@uni.example", "@group.example"]  which of these accounts come in; without this line all of them
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from toolkit.errors import ConfigError

SCRYPT = {"n": 1 << 14, "r": 8, "p": 1}
"""Cost of one guess: 16 MiB of memory and some hundredths of a second (RFC 7914)."""
PAUSE_S = 1.0
"""After a wrong guess nobody else is heard for so long, in whichever session, tab or browser they are."""
PASS_S = 7 * 86_400
"""How long a browser is let in again without the password."""
COOKIE = "toolkit_pass"
_GRANTED = "access.granted"
_TURN = threading.Lock()

_keep_pass = st.components.v2.component("toolkit_pass", js="""export default function ({ data }) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `${data.name}=${data.value}; path=/; max-age=${data.seconds}; samesite=strict${secure}`;
}""")


def require_access() -> None:
    """Let the rest of the page be drawn, or draw what is needed to come in and stop.

    Raises ConfigError when the secrets cannot be understood: then nobody comes in.
    """
    found = _secrets()
    if not found:
        return
    rules = _rules(found)
    if "auth" in found:
        _require_account(found["auth"], rules.get("emails", []))
    else:
        _require_password(str(rules.get("password_hash", "")))


def hash_password(password: str) -> str:
    """What the secrets hold in place of a password: "scrypt:salt:key", both in hexadecimal digits."""
    salt = secrets.token_bytes(16)
    return f"scrypt:{salt.hex()}:{_scrypt(password, salt).hex()}"


def is_password(guess: str, password_hash: str) -> bool:
    """Compare one guess at a time, and wait after a wrong one. Raises ConfigError for no hash of `hash_password`."""
    salt, key = _parts(password_hash)
    with _TURN:
        right = hmac.compare_digest(_scrypt(guess, salt), key)
        if not right:
            time.sleep(PAUSE_S)
    return right


def make_pass(password_hash: str, expires: int) -> str:
    """A word that only this server can make, for as long as its password is the same. expires : seconds since 1970"""
    signature = hmac.new(password_hash.encode(), str(expires).encode(), "sha256").hexdigest()
    return f"{expires}.{signature}"


def is_pass(word: str, password_hash: str) -> bool:
    """Whether `make_pass` made this word, and it has not expired."""
    expires = word.partition(".")[0]
    if not (expires.isascii() and expires.isdigit() and len(expires) < 12):
        return False
    return hmac.compare_digest(word.encode(), make_pass(password_hash, int(expires)).encode()) \
        and time.time() < int(expires)


def _require_password(password_hash: str) -> None:
    _parts(password_hash)
    if is_pass(st.context.cookies.get(COOKIE, ""), password_hash):
        return
    if st.session_state.get(_GRANTED) != password_hash:
        _ask(password_hash)
        st.stop()
    with st.sidebar:
        word = make_pass(password_hash, int(time.time()) + PASS_S)
        _keep_pass(key="access.pass", data={"name": COOKIE, "value": word, "seconds": PASS_S})


def _ask(password_hash: str) -> None:
    with st.columns([1, 2, 1])[1].form("access"):
        guess = st.text_input("Password of this server", type="password", key="access.guess")
        sent = st.form_submit_button("Come in", type="primary")
        if sent and is_password(guess, password_hash):
            st.session_state[_GRANTED] = password_hash
            st.rerun()
        if sent:
            st.error("This is not the password.")


def _require_account(auth: Mapping[str, Any], emails: list[str]) -> None:
    if not st.user.get("is_logged_in"):
        providers = [name for name, section in auth.items() if isinstance(section, Mapping) and "client_id" in section]
        for name in providers or [None]:
            st.button(f"Log in with {name}" if name else "Log in", key=f"access.login.{name}", on_click=st.login,
                      args=(name,), type="primary")
        st.stop()
    st.sidebar.button("Log out", key="access.logout", on_click=st.logout, icon=":material/logout:")
    email = str(st.user.get("email", "")).lower()
    listed = any(email == entry.lower() or entry.startswith("@") and email.endswith(entry.lower()) for entry in emails)
    if emails and not (listed and st.user.get("email_verified", True)):
        st.error("You are logged in, but this account is not on the list of this server. Ask who runs it.")
        st.stop()


def _rules(found: dict[str, Any]) -> Mapping[str, Any]:
    """The section [access]. A line that is misspelt or in the wrong place must not open the door: it raises ConfigError."""
    rules = found.get("access", {})
    sections = set(found) <= {"auth", "access"} and all(isinstance(section, Mapping) for section in found.values())
    if not sections or set(rules) - {"emails", "password_hash"} or not isinstance(rules.get("emails", []), list):
        raise ConfigError("the secrets of this server hold something besides [auth], and [access] with password_hash or a list "
                          "of emails, so nobody comes in",
                          "mend .streamlit/secrets.toml as docs/server.md says, and restart the server")
    return rules


def _secrets() -> dict[str, Any]:
    try:
        return st.secrets.to_dict()
    except StreamlitSecretNotFoundError as error:
        if error.error_id == "no-secrets-found":
            return {}
    except OSError:
        pass
    raise ConfigError("the secrets of this server cannot be read, so nobody comes in",
                      "mend .streamlit/secrets.toml, and restart the server")


def _parts(password_hash: str) -> tuple[bytes, bytes]:
    found = re.fullmatch(r"scrypt:([0-9a-f]{32}):([0-9a-f]{128})", password_hash)
    if found is None:
        raise ConfigError("the secrets of this server hold no usable password_hash in [access], so nobody comes in",
                          "make the line anew as docs/server.md says, and restart the server")
    return bytes.fromhex(found[1]), bytes.fromhex(found[2])


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, **SCRYPT)
