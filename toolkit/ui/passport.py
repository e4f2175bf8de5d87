"""The passport of a model on a page: what it says, how to make one, and checks on a structure of the user's."""

from __future__ import annotations

import json
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from toolkit.checks.result import CRITERIA
from toolkit.jobs.requests import PassportRequest
from toolkit.jobs.run_dir import Run, list_runs
from toolkit.jobs.summary import subject
from toolkit.models.folders import WEIGHTS, find_model
from toolkit.storage import file_sha256, read_json
from toolkit.ui.choices import model_label, model_of
from toolkit.ui.explanations import equation
from toolkit.ui.page import plain
from toolkit.ui.runs import pick_run, start_job, watch


NO_BREAK_HYPHEN = "\u2011"
"""Keeps 1e-10 on one line of a narrow table."""


def follow_run(page: str) -> None:
    """Choose the model of the passport run in the address, once: who comes from a list of runs wants to see that one."""
    run_id = st.query_params.get("run")
    if run_id is None or st.session_state.get(f"{page}.followed") == run_id:
        return
    st.session_state[f"{page}.followed"] = run_id
    asked = next((model_of(run) for run in list_runs("passport") if run.run_id == run_id), None)
    label = model_label(asked)
    if label is not None:
        st.session_state[f"{page}.model"] = label


def passport_section(page: str, model: str, structure: str, frame: int) -> None:
    """The passport in the model's folder, a button for a battery on this structure, and what earlier ones found."""
    folder = find_model(model)
    stored = read_json(folder / "passport.json")
    if stored is None or not isinstance(stored.get("checks"), dict):
        st.info("This model has no passport yet. Make one with the button below, or on the command line:")
        st.code(f"python -m toolkit passport {shlex.quote(model)}", language="bash")
    else:
        weights = folder / WEIGHTS
        if stored.get("weights_sha256") != _sha256(str(weights), weights.stat().st_mtime):
            st.warning("This passport was made for other weights. Make a new one.", icon=":material/warning:")
        show_passport(stored, f"{page}.stored", f"{folder.name}-passport.json")
    here = PassportRequest(model=model, structure=structure, frame=frame, nve_ps=0.0)
    full = PassportRequest(model=model, keep=True)
    with st.container(horizontal=True):
        if st.button("Check on this structure", key=f"{page}.check", type="primary", icon=":material/fact_check:",
                     help="Everything but the long simulation, on the structure above. Half a minute for a molecule."):
            start_job("passport", here.model_dump(mode="json"))
        if st.button("Make the full passport", key=f"{page}.full", icon=":material/workspace_premium:",
                     help=f"Includes {full.nve_ps:g} ps of simulation (minutes on a CPU). Kept in the model's folder."):
            start_job("passport", full.model_dump(mode="json"))
    if list_runs("passport"):
        run = pick_run(page, "passport", "No check")
        if run:
            watch(run, partial(_result, model))


def show_passport(passport: dict[str, Any], key: str, file_name: str) -> None:
    """Verdict, table and download of a passport (see `toolkit.checks.passport.Passport.to_dict`)."""
    entries = {name: entry for name, entry in passport["checks"].items() if isinstance(entry, dict)}
    failed = [plain(name) for name, entry in entries.items() if entry.get("passed") is not True]
    if failed:
        st.error(f"**{len(failed)} of {len(entries)} checks failed**: {', '.join(failed)}.", icon=":material/error:")
    elif passport.get("complete"):
        st.success(f"**All {len(entries)} checks passed** on {plain(str(passport.get('device')))}.",
                   icon=":material/verified:")
    else:
        st.warning(f"Stopped before the end; the {len(entries)} checks made so far passed.", icon=":material/warning:")
    st.table(_rows(entries))
    st.caption("Largest violation found ≤ largest allowed. Relative: of the RMS of the quantity. "
               + equation("passport"))
    structures = passport.get("structures")
    if isinstance(structures, dict):
        st.caption("Checked on " + "; ".join(plain(f"{name}: {text}") for name, text in structures.items()) + ".")
    st.download_button("Download as JSON", json.dumps(passport, indent=2, ensure_ascii=False), file_name,
                       "application/json", key=f"{key}.download", icon=":material/download:")


def _rows(entries: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    """One row a check, with a column for each precision and backend. Laws and units are ours, not the file's."""
    rows: dict[str, dict[str, str]] = {}
    columns = dict.fromkeys(_column(entry) for entry in entries.values())
    for key, entry in entries.items():
        name = key.split(".")[0]
        criterion = CRITERIA.get(name)
        row = rows.setdefault(name, {"check": plain(name.replace("_", " ")), **dict.fromkeys(columns, ""),
                                     "unit": criterion.unit if criterion else "",
                                     "what it asks": criterion.sentence if criterion else ""})
        row[_column(entry)] = _cell(entry)
    return list(rows.values())


def _column(entry: dict[str, Any]) -> str:
    backend = entry.get("backend")
    return plain(f"{entry.get('dtype')}" if backend == "reference" else f"{entry.get('dtype')} {backend}")


def _cell(entry: dict[str, Any]) -> str:
    value, threshold, passed = entry.get("value"), entry.get("threshold"), entry.get("passed") is True
    numbers = isinstance(value, (int, float)) and isinstance(threshold, (int, float))
    text = f"{value:.1e} {'≤' if value <= threshold else '>'} {threshold:.0e}" if numbers else "no number"
    text = text.replace("-", NO_BREAK_HYPHEN)
    return f"{'✔' if passed else '✘'} {text} {plain(str(entry.get('problem') or ''))}".strip()


def _result(model: str, run: Run) -> None:
    checked = model_of(run)
    if checked != model:
        st.warning(f"This check is of another model than the one chosen above: {plain(str(checked))}.")
    st.caption(f"Model and structure: {plain(subject(run))}")
    result = read_json(run.path / "result.json") if run.ended else None
    if result:
        show_passport(result, f"passport.{run.run_id}", f"{run.run_id}.json")


@st.cache_data(max_entries=32, show_spinner=False)
def _sha256(path: str, modified: float) -> str:
    return file_sha256(Path(path))
