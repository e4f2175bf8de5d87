"""Theory: the equations behind every control, from docs/theory.md, with figures to play with."""

from __future__ import annotations

import streamlit as st

from toolkit.ui.page import begin
from toolkit.ui.theory import draw_figure, theory_parts


def main() -> None:
    """Draw the page."""
    begin("pages/11_Theory.py", "The equation behind every control, where it comes from, and which function computes "
                                "it. The question marks on the other pages lead here.")
    parts = theory_parts()
    with st.container(border=True):
        for title, sections in parts.items():
            links = " · ".join(f"[{section.title}](#{section.anchor})" for section in sections)
            st.markdown(f"**{title}** {links}")
    for title, sections in parts.items():
        st.header(title, divider="gray", anchor=False)
        for section in sections:
            st.subheader(section.title, anchor=section.anchor)
            st.markdown(section.text)
            draw_figure(section.anchor)


main()
