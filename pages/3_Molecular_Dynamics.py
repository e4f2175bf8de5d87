"""Molecular dynamics: a model, a structure, a heat bath, a job."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import streamlit as st

from toolkit.config import MDConfig, parse_config
from toolkit.jobs.requests import MDRequest, unusual
from toolkit.jobs.run_dir import Run, read_config
from toolkit.storage import read_json
from toolkit.ui.choices import pick_frame, pick_inner_model, pick_model, pick_structure
from toolkit.ui.explanations import equation
from toolkit.ui.page import begin, show_numbers, shown_errors
from toolkit.ui.runs import pick_run, start_job, watch
from toolkit.ui.simulation import show_harvest, simulation_form

DRIFT = "energy_drift_meV_per_atom_per_ps"


def main() -> None:
    """Draw the page."""
    begin("pages/3_Molecular_Dynamics.py", "Atoms follow Newton's equations with the forces of a trained potential. "
                                           "The simulation goes on when this page is closed.")
    run = pick_run("md", "md", "New simulation")
    if run is None:
        _form()
    else:
        watch(run, _progress)


def _form() -> None:
    with shown_errors():
        left, middle, right = st.columns([2, 2, 1])
        with left:
            model = pick_model("md")
        if model is None:
            return
        with middle:
            structure = pick_structure("md")
        with right:
            frame = pick_frame("md", structure)
        values = simulation_form(model)
        config = parse_config(MDConfig, values)
        inner_model = pick_inner_model("md") if config.inner_steps > 1 else None
        st.caption(f"{config.steps:,} steps are {config.steps * config.timestep_fs / 1000:,.3g} ps; "
                   f"{config.steps // config.save_every + 1:,} frames are stored.")
        if structure is None:
            st.info("Choose a structure to start from.")
        elif config.inner_steps > 1 and inner_model is None:
            st.info("Choose a model for the inner steps, or one inner step.")
        elif st.button("Start the simulation", type="primary", icon=":material/play_arrow:", key="md.start"):
            request = parse_config(MDRequest, {"model": model, "structure": structure, "frame": frame,
                                               "inner_model": inner_model, "md": config.model_dump(mode="json")})
            start_job("md", request.model_dump(mode="json"))


def _progress(run: Run) -> None:
    result = read_json(run.path / "result.json") if run.ended else None
    if (run.path / "trajectory.h5").exists():
        st.page_link("pages/4_Trajectory.py", label="Watch the molecule move", icon=":material/animation:",
                     query_params={"run": run.run_id})
    request = parse_config(MDRequest, read_config(run.path))
    config = request.model_dump(mode="json")  # a script leaves defaults out
    if result:
        _results(result, request.md)
    with st.expander("What was asked for, and the same on the command line"):
        st.json(config, expanded=1)
        st.code(_command(config), language="bash", wrap_lines=True)


def _results(result: dict[str, Any], config: MDConfig) -> None:
    for system in result.get("systems", {}).values():
        _results(system, config)
    if result.get("harvest"):
        show_harvest(Path(result["harvest"]))
    if "systems" in result:
        return
    if config.harvest_above_eV_per_A is not None and not result.get("harvest"):
        st.caption(f"No frame was kept to be labelled: in none the forces were more uncertain than {config.harvest_above_eV_per_A:g} eV/Å.")
    show_numbers({
        **_temperature(result, config),
        "Energy drift, meV/atom/ps": _with_error(result, DRIFT, f"{DRIFT}_stderr", 2),
        "Replicas that stayed intact": _intact(result, config),
        "Speed": f"{result['replica_steps_per_s']:,.0f} steps/s",
    })
    bath = (f"No bath: velocities began at {config.first_temperatures_K[0]:g} K and have shared energy with the positions since, so a "
            "frame that was hot ends above that, a minimum at half of it. " if config.ensemble == "nve" else
            f"Heat bath: the first {100 * (result.get('equilibration_fraction') or 0.0):.0f} % do not count for the "
            "mean, and the drift is that of the energy with what the bath holds. ")
    st.caption(f"{_pace(result, config)} Errors allow for the correlation in time. {bath}{equation('error-bars')}")


def _intact(result: dict[str, Any], config: MDConfig) -> str:
    """With the 95 % interval, where there is more than one to count."""
    low, high = (result.get(f"stable_fraction_{end}") for end in ("low", "high"))
    interval = "" if config.replicas == 1 or low is None else f" ({100 * low:.0f} – {100 * high:.0f})"
    return f"{100 * result['stable_fraction']:.0f}{interval} %"


def _pace(result: dict[str, Any], config: MDConfig) -> str:
    """Simulated time a day; steps are counted over all replicas."""
    if config.replicas == 1:
        return f"{result['ns_per_day']:.3g} ns of simulated time a day."
    return (f"Steps of all {config.replicas} replicas together: {result['ns_per_day']:.3g} ns of simulated time a day each, "
            f"{config.replicas * result['ns_per_day']:.3g} ns in all.")


def _temperature(result: dict[str, Any], config: MDConfig) -> dict[str, str]:
    """The mean where there is one; what was asked for in ramps and ladders."""
    if config.has_one_temperature:
        return {"Mean temperature, K": _with_error(result, "temperature_mean_K", "temperature_sem_K", 1)}
    asked = config.start_temperatures_K
    if config.final_temperature_K is None:
        return {"Ladder of temperatures, K": f"{min(asked):g} – {max(asked):g}"}
    return {"Temperature ramp, K": f"{asked[0]:g} → {config.final_temperature_K:g}"}


def _with_error(result: dict[str, Any], name: str, error: str, digits: int) -> str:
    if result.get(name) is None:
        return "too short to tell"
    return f"{result[name]:.{digits}f} ± {result[error]:.{digits}f}"


def _command(config: dict[str, Any]) -> str:
    defaults = MDConfig().model_dump(mode="json")
    settings = {"inner_model": config.get("inner_model"), "frame": config["frame"], "frames": config.get("frames"),
                **config["md"], **unusual(config, MDRequest)}
    options = " ".join(f"--{name.replace('_', '-')} {shlex.quote(_word(value))}" for name, value in settings.items()
                       if value is not None or defaults.get(name) is not None)
    return f"python -m toolkit md {shlex.quote(config['model'])} {shlex.quote(config['structure'])} {options}"


def _word(value: Any) -> str:
    """A setting as the command line takes it."""
    if value is None:
        return "none"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


main()
