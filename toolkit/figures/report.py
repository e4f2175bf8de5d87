"""Reports from sections of text, numbers and figures: one self-contained HTML page, and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2733; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #d5dbe1; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0; }
th, td { padding: 0.2rem 0.8rem; border-bottom: 1px solid #e3e8ed; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { background: #f3f6f8; }
.wide { overflow-x: auto; } code, pre { background: #f3f6f8; padding: 0.1rem 0.3rem; }
"""


@dataclass(frozen=True)
class Table:
    """Rows of texts under a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs of plain text, tables and figures; Markdown leaves the figures out."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[go.Figure] = ()


def plus_minus(value: float | None, error: float | None, digits: int) -> str:
    """A number with its error bar, where one is known; a dash for what is not known."""
    if value is None or not isfinite(value):
        return "—"
    known = error is not None and isfinite(error)
    return f"{value:.{digits}f} ± {error:.{digits}f}" if known else f"{value:.{digits}f}"


def html_page(title: str, sections: Sequence[Section]) -> str:
    """The report as one HTML file that needs no network: plotly.js (5 MB) is inside, once. All text is escaped."""
    body = "\n".join(_html_section(section) for section in sections)
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
            f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>\n'
            f"<script>{get_plotlyjs()}</script></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n")


def markdown_page(title: str, sections: Sequence[Section]) -> str:
    """The report as Markdown, for a repository or a note."""
    parts = [f"# {title}"]
    for section in sections:
        parts += [f"## {section.title}", *section.paragraphs, *(_markdown_table(table) for table in section.tables)]
    return "\n\n".join(parts) + "\n"


def _html_section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    parts += [f"<p>{escape(text)}</p>" for text in section.paragraphs]
    parts += [_html_table(table) for table in section.tables]
    parts += [figure.to_html(include_plotlyjs=False, full_html=False, config={"displaylogo": False})
              for figure in section.figures]
    return "\n".join(parts)


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    rows = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    return f'<div class="wide"><table><tr>{head}</tr>\n{rows}</table></div>'


def _markdown_table(table: Table) -> str:
    lines = [table.header, ["---", *("---:" for _ in table.header[1:])], *table.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
