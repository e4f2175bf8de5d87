"""What every page shares: its frame, the error box, and a line about this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module

import streamlit as st

from toolkit.errors import ToolkitError
from toolkit.jobs.run_dir import runs_root
from toolkit.ui.access import require_access
from toolkit.ui.frame_store import remove_old

APP_NAME = "Toolkit"
PAGES = {
    "app.py": ("Home", ":material/home:"),
    "pages/1_Dataset.py": ("Dataset", ":material/database:"),
    "pages/2_Train.py": ("Train", ":material/model_training:"),
    "pages/3_Molecular_Dynamics.py": ("Molecular Dynamics", ":material/thermostat:"),
    "pages/4_Trajectory.py": ("Trajectory", ":material/animation:"),
    "pages/5_Equivariance.py": ("Equivariance", ":material/3d_rotation:"),
    "pages/6_Spectra.py": ("Spectra", ":material/graphic_eq:"),
    "pages/7_Study.py": ("Study", ":material/science:"),
    "pages/8_Runs.py": ("Runs", ":material/list_alt:"),
    "pages/9_Evaluate.py": ("Evaluate", ":material/target:"),
    "pages/10_Compare_Models.py": ("Compare models", ":material/compare_arrows:"),
    "pages/11_Theory.py": ("Theory", ":material/menu_book:"),
}
"""Page -> its name and icon. The files are discovered by Streamlit; the links in the sidebar are ours."""

SVG = {"toImageButtonOptions": {"format": "svg"}}
"""Settings of a figure whose camera button saves vector graphics."""

SLOW_MODULES = ("toolkit.data.inspection", "toolkit.jobs.analyses", "toolkit.checks.features")


def begin(page: str, lead: str, title: str = "") -> None:
    """Set up a page: browser title, sidebar, heading, and a sentence that says what the page is for.

    Nothing of the page is drawn for somebody who may not see it, see `access`.
    page : a key of PAGES;  title : when it differs from the name in the sidebar
    """
    name, icon = PAGES[page]
    title = title or name
    st.set_page_config(page_title=f"{title} · {APP_NAME}", page_icon="⚛️", layout="wide")
    try:
        require_access()
    except ToolkitError as error:
        error_box(error)
        st.stop()
    with st.sidebar:
        for page, (label, page_icon) in PAGES.items():
            st.page_link(page, label=label, icon=page_icon)
        st.divider()
        st.caption(f"**Computes on** {device_line()}")
        st.caption(f"**Runs are kept in** `{runs_root()}`")
    st.title(f"{icon} {title}")
    st.markdown(lead)
    _prepare_server()


def show_numbers(values: Mapping[str, str]) -> None:
    """A row of boxed numbers, or several rows on a narrow screen. values : label -> number with its unit."""
    with st.container(horizontal=True):
        for label, value in values.items():
            st.metric(label, value, border=True)


def quantity(value: float | None, digits: int, unit: str) -> str:
    """A number with its unit, or a dash for what was not measured (no labels)."""
    return "—" if value is None else f"{value:.{digits}f} {unit}"


def duration(seconds: float) -> str:
    """A time for people: 0.8 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 10.0:
        return f"{max(seconds, 0.0):.2g} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def error_box(error: ToolkitError) -> None:
    """A red box: what was found and expected, and what to do. Never a traceback."""
    hint = f"\n\n{plain(error.hint)}" if error.hint else ""
    st.error(f"**{plain(error.message)}**{hint}", icon=":material/error:")


@contextmanager
def shown_errors() -> Iterator[None]:
    """Turn a ToolkitError into a red box; what follows the block still runs."""
    try:
        yield
    except ToolkitError as error:
        error_box(error)


def plain(text: str) -> str:
    """Text whose characters are not read as Markdown."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#+-!|$~:" else c for c in text)


@st.cache_resource(show_spinner=False)
def _prepare_server() -> threading.Thread:
    """Once, while the first page is being read: load the slow libraries of other pages, remove old frames."""
    def work() -> None:
        for name in SLOW_MODULES:
            import_module(name)
        remove_old()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@st.cache_data(show_spinner=False)
def device_line() -> str:
    """The GPUs that the driver reports, else the CPU. The web process itself never touches CUDA."""
    names = _gpu_names()
    if names:
        return f"{len(names)} × {names[0]}" if len(names) > 1 else names[0]
    return f"CPU, {len(os.sched_getaffinity(0))} cores (no NVIDIA GPU found)"


def _gpu_names() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        done = subprocess.run([program, "--query-gpu=name,memory.total", "--format=csv,noheader"], capture_output=True,
                              text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]
