"""The report of an alloy workflow: from the results of its stages to sections, and these to HTML and Markdown."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.config import TrainConfig
from toolkit.figures.alloy import volume_against_temperature
from toolkit.figures.bands import banded_curves
from toolkit.figures.plots import bar_chart, curves
from toolkit.figures.report import Section, Table, html_page, markdown_page, plus_minus
from toolkit.jobs.workflow_config import WorkflowConfig
from toolkit.storage import write_text_atomic
from toolkit.units import EV_PER_A3_GPA

Results = Mapping[str, dict[str, Any]]
LIBRARIES = ("torch", "ase", "freud-analysis", "numpy", "scipy")
RUNS = ("heating", "melt", "quench", "glass")
ERRORS = {"energy_mae_meV_per_atom": "energy, meV/atom", "forces_mae_meV_per_A": "forces, meV/Å",
          "forces_rmse_meV_per_A": "forces (RMSE), meV/Å"}
PATH = ("Constant pressure of {pressure:g} GPa (stochastic cell rescaling, isotropic), time step {timestep:g} fs. "
        "Heated at {heating:.1e} K/s and quenched at {cooling:.1e} K/s. Each run starts where the last one ended, with "
        "fresh velocities. Metallic glasses are cooled at 1e5 to 1e7 K/s at most: this one keeps more of its liquid.")
BOILED = ("Beware: {name} takes {ratio:.2f} times the volume of the start. No liquid metal does: it boils at this "
          "temperature, or the potential does not hold it together (free-atom energies in the training data help).")
MOST_EXPANSION = 1.4
SHELL = ("The first fifth of each run is left out. The first shell ends at the first minimum of g(r). Short-range "
         "order: Warren–Cowley α = 1 − n_ab / (c_b n_a), negative when the two elements seek each other.")
VORONOI = ("Cells by voro++ through freud; faces below 0.5 % of the surface of their cell are not counted. "
           "⟨n3 n4 n5 n6⟩ counts faces with so many edges: ⟨0 6 0 8⟩ is bcc, ⟨0 12 0 0⟩ fcc, ⟨0 0 12 0⟩ icosahedral.")
TRANSITION = ("Two lines that meet, fitted to V(T) of the quench. The error bar is the scatter of fits to such "
              "lines with noise (correlation of neighbours {memory:.2f}); noise about one straight line would look as kinked "
              "with p = {p_value:.3f}. T_g depends on the rate: this one belongs to {rate:.1e} K/s.")
ELASTIC = ("{num_atoms} atoms, relaxed with their cell at zero temperature; central differences of the stress at "
           "strains of ±{strain:g}, ions relaxed in each strained cell. ± is the standard error of the mean over the "
           "three directions that a cube makes alike: what disorder leaves, or numerical noise.")


def headline(results: Results, folder: Path) -> dict[str, Any]:
    """What the command line shows of a workflow."""
    numbers: dict[str, Any] = {"folder": str(folder), "stages_done": list(results)}
    if (folder / "report.html").exists():
        numbers |= {"report": str(folder / "report.html"), "results": str(folder / "results.json")}
    for name, errors in results.get("errors", {}).items():
        numbers |= {f"{name}.{key}": errors[key] for key in ERRORS}
    transition = results.get("transition", {})
    kink = ("temperature_K", "stderr_K")
    numbers |= {f"glass_transition_{key}": transition[key] for key in kink if key in transition}
    relaxed = results.get("elastic", {}).get("relaxed", {})
    return numbers | {key: relaxed[key] for key in ("c11_GPa", "c12_GPa", "c44_GPa") if key in relaxed}


def write_reports(config: WorkflowConfig, results: Results, folder: Path) -> None:
    """Write `report.html` and `report.md`. Raises StorageError."""
    title = f"Melt and quench of {results['start']['formula']}"
    sections = report_sections(config, results)
    write_text_atomic(folder / "report.html", html_page(title, sections))
    write_text_atomic(folder / "report.md", markdown_page(title, sections))


def report_sections(config: WorkflowConfig, results: Results) -> list[Section]:
    """All sections, in the order in which they are read."""
    sections = [_errors(results["errors"])] if "errors" in results else []
    sections += [_path(config, results), _distances(results["structure"]), _shell(results["structure"]),
                 _angles(results["structure"]), _voronoi(results["structure"]), _transition(config, results)]
    if "elastic" in results:
        sections.append(_elastic(config, results["elastic"]))
    return [*sections, _method(config, results)]


def _errors(errors: dict[str, Any]) -> Section:
    rows = [[name.replace("_", " "), f"{found['n_frames']}", *(plus_minus(found[key], None, 1) for key in ERRORS),
             _stress(found)] for name, found in errors.items()]
    return Section("Test errors", ["Mean absolute errors on frames that the training never saw."],
                   [Table(["frames", "number", *ERRORS.values(), "stress, GPa"], rows)])


def _stress(found: dict[str, Any]) -> str:
    value = found["stress_mae_meV_per_A3"]
    return "—" if value is None else f"{1e-3 * value * EV_PER_A3_GPA:.2f}"


def _path(config: WorkflowConfig, results: Results) -> Section:
    asked = config.melt_quench
    text = PATH.format(pressure=asked.pressure_GPa, timestep=asked.timestep_fs, heating=asked.heating_K_per_s,
                       cooling=asked.cooling_K_per_s)
    rows = [[name, f"{results[name]['steps']:,}", f"{results[name]['steps'] * asked.timestep_fs * 1e-3:.2f}",
             *(f"{results[name]['curve'][key][-1]:.{digits}f}" for key, digits in
               (("temperature_K", 0), ("volume_A3_per_atom", 3), ("potential_energy_eV_per_atom", 3))),
             f"{results[name]['steps_per_s']:.2f}"] for name in RUNS]
    header = ["run", "steps", "ps", "T at the end, K", "V at the end, Å³/atom", "E at the end, eV/atom", "steps/s"]
    start = results["start"]
    first = f"{start['num_atoms']} atoms, {start['formula']}, {start['volume_A3_per_atom']:.2f} Å³/atom at the start."
    ratios = {name: max(results[name]["curve"]["volume_A3_per_atom"]) / start["volume_A3_per_atom"] for name in RUNS}
    beware = [BOILED.format(name=name, ratio=ratio) for name, ratio in ratios.items() if ratio > MOST_EXPANSION]
    offsets = np.cumsum([0.0, *(results[name]["curve"]["time_ps"][-1] for name in RUNS[:-1])])
    time = np.concatenate([offset + np.array(results[name]["curve"]["time_ps"])
                           for offset, name in zip(offsets, RUNS, strict=True)])
    figures = [curves(time, {"": np.concatenate([results[name]["curve"][key] for name in RUNS])}, "time, ps", label)
               for key, label in (("temperature_K", "temperature, K"), ("volume_A3_per_atom", "volume, Å³/atom"))]
    return Section("Heating, melt, quench, glass", [first, text, *beware], [Table(header, rows)], figures)


def _distances(structure: Results) -> Section:
    figures = [banded_curves(np.array(found["rdf"]["r_A"]),
                             {pair: (np.array(curve["values"]), np.array(curve["stderr"], dtype=float))
                              for pair, curve in found["rdf"]["pairs"].items()}, "distance, Å", f"g(r), {name}")
               for name, found in structure.items()]
    frames = ", ".join(f"{found['n_frames']} of the {name}" for name, found in structure.items())
    return Section("Pair distribution", [f"Frames: {frames}. Bands: one standard error from blocks of frames."],
                   figures=figures)


def _shell(structure: Results) -> Section:
    found = {name: part["coordination"] for name, part in structure.items()}
    pairs = list(found["glass"]["partial"])
    rows = [["end of the first shell, Å", *(f"{part['shell_A']:.2f}" for part in found.values())],
            ["neighbours", *(f"{part['total']:.2f}" for part in found.values())]]
    rows += [[f"{pair}: neighbours (α)", *(f"{part['partial'][pair]:.2f} ({_order(part['short_range_order'][pair])})"
                                           for part in found.values())] for pair in pairs]
    return Section("Coordination and short-range order", [SHELL], [Table(["", *found], rows)])


def _order(value: float | None) -> str:
    """A short-range order; an element without neighbours has none (NaN, null in JSON)."""
    return "—" if value is None or not np.isfinite(value) else f"{value:+.3f}"


def _angles(structure: Results) -> Section:
    angle = np.array(structure["glass"]["bond_angles"]["angle_deg"])
    ys = {name: (np.array(part["bond_angles"]["density"]), np.array(part["bond_angles"]["stderr"], dtype=float))
          for name, part in structure.items()}
    text = "Angles between neighbours in the first shell; points without order would give (π/360) sin θ."
    return Section("Bond angles", [text], figures=[banded_curves(angle, ys, "angle, °", "probability density, 1/°")])


def _voronoi(structure: Results) -> Section:
    cells = {name: part["voronoi"] for name, part in structure.items()}
    rows = [["faces of a cell", *(plus_minus(c["faces"], c["faces_stderr"], 2) for c in cells.values())],
            ["q6, weighted by faces", *(plus_minus(c["q6"], c["q6_stderr"], 4) for c in cells.values())],
            ["icosahedra, %", *(plus_minus(100.0 * c["icosahedral"], 100.0 * (c["icosahedral_stderr"] or 0.0), 2)
                                for c in cells.values())]]
    figures = [bar_chart(c["indices"], f"Voronoi index, {name}", "share of the atoms") for name, c in cells.items()]
    return Section("Voronoi cells", [VORONOI], [Table(["", *cells], rows)], figures)


def _transition(config: WorkflowConfig, results: Results) -> Section:
    found = results["transition"]
    runs = {name: (np.array(results[name]["curve"]["temperature_K"]),
                   np.array(results[name]["curve"]["volume_A3_per_atom"])) for name in ("heating", "quench")}
    if "note" in found:
        return Section("Glass transition", [found["note"]], figures=[volume_against_temperature(runs)])
    rows = [["T_g, K", plus_minus(found["temperature_K"], found["stderr_K"], 0)],
            ["expansion of the glass, 1e-6/K", f"{_expansion(found, 'slope_below'):.1f}"],
            ["expansion of the liquid, 1e-6/K", f"{_expansion(found, 'slope_above'):.1f}"]]
    fit = (runs["quench"][0], np.array(found["fitted_A3_per_atom"]))
    return Section("Glass transition", [TRANSITION.format(**found, rate=config.melt_quench.cooling_K_per_s)],
                   [Table(["volume on cooling", "value"], rows)],
                   [volume_against_temperature(runs, fit, found["temperature_K"])])


def _expansion(found: dict[str, Any], slope: str) -> float:
    """Of volume, 1e-6/K."""
    return 1e6 * found[slope] / found["volume_A3"]


def _elastic(config: WorkflowConfig, found: dict[str, Any]) -> Section:
    if "note" in found:
        return Section("Elastic constants", [found["note"]])
    rows = [[f"{name.upper()}, GPa", *(plus_minus(found[kind][f"{name}_GPa"], found[kind][f"{name}_stderr_GPa"], 1)
                                       for kind in ("relaxed", "clamped"))] for name in ("c11", "c12", "c44")]
    rows += [["bulk modulus, GPa", f"{found['bulk_modulus_GPa']:.1f}", "—"],
             ["Zener ratio 2 C44 / (C11 − C12)", f"{found['zener_ratio']:.2f}", "—"],
             ["stable (Born)", "yes" if found["stable"] else "no", "—"],
             ["volume, Å³/atom", f"{found['volume_A3_per_atom']:.3f}", "—"]]
    return Section("Elastic constants of the crystal", [ELASTIC.format(**found, strain=config.elastic.strain)],
                   [Table(["", "relaxed ions", "clamped ions"], rows)])


def _trained(config: TrainConfig) -> str:
    network = config.model.architecture if config.start_from is None else f"going on from {config.start_from},"
    return f"trained here, {network} on {config.data.train}"


def _method(config: WorkflowConfig, results: Results) -> Section:
    versions = ", ".join(f"{library} {version(library)}" for library in LIBRARIES)
    model = config.model or _trained(config.train)
    text = (f"Model: {model}. Made by `python -m toolkit workflow workflow.yaml` on {platform.machine()}, Python "
            f"{platform.python_version()}, {versions}. All numbers are in results.json.")
    trained = results.get("train")
    rows = [] if trained is None else [[name, f"{trained[name]:.4g}"] for name in ("epochs", "best_epoch", "wall_s")]
    return Section("How it was made", [text], [Table(["training", "value"], rows)] if rows else [])
