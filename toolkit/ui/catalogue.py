"""Public data sets that the app can fetch itself, each with its licence and verified by its checksum."""

from __future__ import annotations

import streamlit as st

from toolkit.data.catalog import CATALOG, PREFIX, fetch, is_downloaded
from toolkit.ui.explanations import explained


def pick_catalogued(page: str) -> str | None:
    """A list of the catalogue, and a button to download what is not here. Returns a source, or None until it is here.

    Entries that could not be verified are not offered. Raises DataError, such as for a server without a network.
    """
    here = {name: is_downloaded(name) for name, entry in CATALOG.items()}
    names = [name for name, entry in CATALOG.items() if here[name] or entry.files[0].checksum]
    name = st.selectbox("Entry", sorted(names, key=lambda name: not here[name]), key=f"{page}.entry",
                        format_func=lambda name: f"{name} · downloaded" if here[name] else name,
                        persist_state="session", help=explained("source"))
    entry = CATALOG[name]
    st.caption(f"{entry.description}. Licence: {entry.licence}. Cite: {entry.citation}")
    if here[name]:
        return PREFIX + name
    if st.button("Download", key=f"{page}.download", icon=":material/download:",
                 help="Once for everybody on this server; the checksum is verified."):
        with st.spinner(f"Downloading {name} and verifying its checksum …"):
            fetch(name)
        st.rerun()
    return None
