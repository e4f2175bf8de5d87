"""The report of a study: from the results of its stages to sections, and these to HTML and Markdown."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping
from importlib.metadata import version
from math import floor, isfinite, log10
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.figures.modes import mode_temperatures, spectra_against_modes, sticks
from toolkit.figures.plots import curves
from toolkit.figures.report import Section, Table, html_page, markdown_page, plus_minus
from toolkit.jobs.requests import unusual
from toolkit.jobs.study_config import StudyRequest
from toolkit.storage import write_text_atomic
from toolkit.units import MEV_PER_EV

Results = Mapping[str, dict[str, Any]]
LIBRARIES = ("torch", "e3nn", "ase", "numpy", "scipy")
ENERGY = (
    "Total energy at constant energy (velocity Verlet), with a straight line fitted by least squares through all "
    "frames; the standard error allows for correlated fluctuations. The slope between the first and the last frame "
    "alone, which some studies quote, mostly measures the fluctuation.")
DISTANCES = (
    "All {n_frames:,} frames of all replicas in the heat bath. Bonds of one kind whose lengths differ by less than about "
    "three times their thermal spread share one peak, with a shoulder; the table of bonds tells them apart.")
SPECTRUM = (
    "Power spectrum of mass-weighted velocities at constant energy in float64, {n_segments} segments of "
    "{segment_ps:.1f} ps, normalised to the number of degrees of freedom. Frames every {frame_interval_fs:g} fs "
    "show up to {nyquist_cm1:.0f} cm⁻¹. Peaks are assigned to the modes whose own velocity oscillates there, and "
    "corrected for the time step.")
MODES = (
    "Frames are turned into the Eckart frame, velocities projected on the eigenvectors of the Hessian. Centre and "
    "width: median and distance of the quartiles of the mode's spectrum within 50 cm⁻¹ or 8 % of the harmonic "
    "frequency, corrected for the time step; in band: part of its kinetic energy found there. A small part means "
    "that the mode has lost its identity, as those of the hydrogens of a methyl group that turns.")
TEMPERATURES = (
    "Temperatures are 2⟨E_kin⟩/k of each mode. At constant energy one run need not share its energy among all modes"
    " within its length; in the heat bath equipartition holds, but BAOAB velocities of a mode ω are colder by "
    "(ωΔt/2)².")


def write_reports(request: StudyRequest, results: Results, folder: Path) -> None:
    """Write `report.html` and `report.md`. Raises StorageError."""
    title = f"Molecular dynamics study: {request.model} on {request.structure}"
    sections = report_sections(request, results)
    write_text_atomic(folder / "report.html", html_page(title, sections))
    write_text_atomic(folder / "report.md", markdown_page(title, sections))


def report_sections(request: StudyRequest, results: Results) -> list[Section]:
    """All sections, in the order in which they are read."""
    return [_summary(request, results), _energy(results), _distances(results["structure"]), _modes(results["modes"]),
            _spectrum(results), _mode_table(request, results), _torsions(results["torsions"]),
            _method(request, results)]


def _summary(request: StudyRequest, results: Results) -> Section:
    modes, bath = results["modes"], results["nvt"]
    shifts = [row["shift_cm1"] for row in results["mode_comparison"]["modes"] if row["band_share"] > 0.5]
    temperature = plus_minus(bath["temperature_mean_K"], bath["temperature_sem_K"], 1)
    rows = [
        ["Energy drift, float64", _drift(results["nve_float64"]["energy"])],
        ["Energy drift, float32", _drift(results["nve_float32"]["energy"])],
        ["Mean temperature in the heat bath", f"{temperature} K, asked for {request.study.temperature_K:g} K"],
        ["Replicas that stayed intact", f"{100 * bath['stable_fraction']:.0f} %"],
        ["Vibrations", f"{len(modes['frequencies_cm1'])} modes, {modes['n_imaginary']} imaginary, "
                       f"{modes['frequencies_cm1'][0]:.1f} … {modes['frequencies_cm1'][-1]:.1f} cm⁻¹"],
        ["Zero-point energy", f"{modes['zero_point_energy_eV']:.4f} eV"],
        ["Median anharmonic shift", f"{np.median(shifts):.1f} cm⁻¹ over {len(shifts)} modes" if shifts else "—"],
    ]
    rows += [[f"{pair} bond peaks", ", ".join(f"{r:.3f}" for r in peaks) + " Å" if peaks else "none above the noise: run longer"]
             for pair, peaks in results["structure"]["bond_peaks_A"].items()]
    return Section("Summary", tables=[Table(["quantity", "value"], rows)])


def _energy(results: Results) -> Section:
    energies = {dtype: results[f"nve_{dtype}"]["energy"] for dtype in ("float64", "float32")}
    rows = [[dtype, f"{e['slope_meV_per_atom_per_ps']:.2e}", f"{e['stderr_meV_per_atom_per_ps']:.1e}",
             f"{e['end_points_meV_per_atom_per_ps']:.2e}", f"{e['fluctuation_meV_per_atom']:.3f}",
             _known(results[f"nve_{dtype}"]["temperature_mean_K"], ".1f")] for dtype, e in energies.items()]
    figures = [curves(np.array(e["time_ps"]), {dtype: np.array(e["energy_meV_per_atom"])}, "time, ps",
                      f"total energy − start, meV/atom ({dtype})") for dtype, e in energies.items()]
    header = ["precision", "slope, meV/atom/ps", "stderr", "two end points", "fluctuation, meV/atom", "temperature, K"]
    return Section("Energy conservation", [ENERGY], [Table(header, rows)], figures)


def _distances(structure: dict[str, Any]) -> Section:
    r = np.array(structure["r_A"])
    pairs = [name for name in structure["pairs"] if name != "total"]
    figure = curves(r, {name: np.array(structure["pairs"][name]["values"]) for name in pairs}, "distance, Å",
                    structure["quantity"])
    peaks = [[pair, f"{peak:.3f}"] for pair, found in structure["bond_peaks_A"].items() for peak in found]
    bonds = [[name, plus_minus(bond["mean"], bond["stderr"], 4), f"{bond['std']:.4f}"]
             for name, bond in structure["bonds_A"].items()]
    return Section("Distances", [DISTANCES.format(**structure)],
                   [Table(["pair", "peak below 2 Å"], peaks), Table(["bond", "mean length, Å", "spread, Å"], bonds)],
                   [figure])


def _modes(modes: dict[str, Any]) -> Section:
    frequencies = np.array(modes["frequencies_cm1"])
    before, after = (_largest(modes[name]) for name in ("zero_modes_unprojected_cm1", "zero_modes_cm1"))
    text = (f"Minimum with largest force {modes['fmax_eV_per_A']:.1e} eV/Å after {modes['relaxation_steps']} steps. "
            f"Translations and rotations: at most {before:.2f} cm⁻¹ in the Hessian, {after:.1e} cm⁻¹ after they were "
            "projected out.")
    gas = modes.get("thermochemistry")
    tables = [] if gas is None else [Table(["ideal gas, rigid rotor, harmonic", f"{gas['temperature_K']:g} K, 1 bar"], [
        ["zero-point energy, eV", f"{gas['zero_point_energy_eV']:.4f}"],
        ["vibrational free energy, eV", f"{gas['helmholtz_vibrational_eV']:.4f}"],
        ["enthalpy − E, eV", f"{gas['enthalpy_eV']:.4f}"], ["entropy, meV/K", f"{1e3 * gas['entropy_eV_per_K']:.3f}"],
        ["Gibbs energy − E, eV", f"{gas['gibbs_energy_eV']:.4f}"]])]
    figure = sticks(frequencies, np.array(modes["reduced_masses_amu"]), "reduced mass, amu")
    return Section("Normal modes", [text], tables, [figure])


def _spectrum(results: Results) -> Section:
    spectrum, peaks = results["spectrum"], results["mode_comparison"]["peaks"]
    figure = spectra_against_modes(
        np.array(spectrum["frequency_cm1"]), {name: np.array(c["values"]) for name, c in spectrum["curves"].items()},
        np.array(results["modes"]["frequencies_cm1"]), spectrum["quantity"])
    harmonic = results["modes"]["frequencies_cm1"]
    rows = [[f"{peak['frequency_cm1']:.1f}", f"{peak['height']:.2f}",
             ", ".join(f"{mode} ({100 * share:.0f} %)" for mode, share in peak["modes"]) or "many",
             ", ".join(f"{harmonic[mode - 1]:.1f}" for mode, _ in peak["modes"])] for peak in peaks]
    return Section("Vibrational density of states against the Hessian", [SPECTRUM.format(**spectrum)],
                   [Table(["peak, cm⁻¹", "height", "modes (share)", "Hessian, cm⁻¹"], rows)], [figure])


def _mode_table(request: StudyRequest, results: Results) -> Section:
    found = results["mode_comparison"]["modes"]
    rows = [[str(row["mode"]), f"{row['harmonic_cm1']:.1f}", plus_minus(row["centre_cm1"], row["centre_stderr_cm1"], 1),
             _known(row["shift_cm1"], "+.1f"), _known(row["width_cm1"], ".1f"), f"{row['band_share']:.2f}",
             plus_minus(row["kinetic_K"], row["kinetic_stderr_K"], 0),
             plus_minus(row["bath_K"], row["bath_stderr_K"], 0)]
            for row in found]
    columns = {name: np.array([row[name] for row in found]) for name in ("harmonic_cm1", "bath_K", "bath_stderr_K")}
    figure = mode_temperatures(columns["harmonic_cm1"], columns["bath_K"], columns["bath_stderr_K"],
                               request.study.temperature_K)
    header = ["mode", "Hessian, cm⁻¹", "MD centre", "shift", "width", "in band", "T (constant energy), K",
              "T (heat bath), K"]
    return Section("Each normal mode in the simulation", [MODES, TEMPERATURES], [Table(header, rows)], [figure])


def _torsions(torsions: dict[str, Any]) -> Section:
    if not torsions["torsions"]:
        return Section("Torsions", [torsions["note"]])
    angles = np.array(torsions["angle_deg"])
    profiles = {name: np.array(found["free_energy_eV"], dtype=float) * MEV_PER_EV
                for name, found in torsions["torsions"].items()}
    rows = [[name, f"{found['most_probable_deg']:.0f}", "methyl" if found["is_methyl"] else "",
             f"{np.nanmax(profiles[name]):.0f}", f"{np.isfinite(profiles[name]).mean() * 100:.0f} %"]
            for name, found in torsions["torsions"].items()]
    header = ["torsion", "most probable, °", "", "highest point visited, meV", "angles visited"]
    text = (f"F(φ) = −kT ln p(φ) at {torsions['temperature_K']:.1f} K from {torsions['n_frames']:,} frames in the heat "
            "bath.")
    return Section("Torsions", [text], [Table(header, rows)],
                   [curves(angles, profiles, "torsion, °", "free energy, meV")])


def _method(request: StudyRequest, results: Results) -> Section:
    settings = request.study.model_dump(mode="json")
    runs = [[name, f"{results[name]['steps']:,}", f"{results[name]['replica_steps_per_s']:.0f}"]
            for name in ("equilibration", "nve_float64", "nve_float32", "nvt")]
    versions = ", ".join(f"{library} {version(library)}" for library in LIBRARIES)
    text = (f"Made by `{study_command(request)}` on "
            f"{platform.machine()}, Python {platform.python_version()}, {versions}. All numbers are in results.json; "
            "study.py does the same in Python.")
    asked = Table(["setting", "value"], [[name, f"{value:g}"] for name, value in settings.items()])
    return Section("How it was made", [text], [asked, Table(["run", "steps", "replica steps/s"], runs)])


def study_command(request: StudyRequest) -> str:
    """What to type for the same study: all that differs from the defaults, which are the preset "paper"."""
    settings = {"frame": request.frame, **request.study.model_dump(mode="json", exclude_defaults=True),
                **unusual(request.model_dump(mode="json"), StudyRequest)}
    options = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return f"python -m toolkit study {shlex.join([request.model, request.structure, *options])}"


def _known(value: float | None, form: str) -> str:
    """A number in this format; a dash for what is not known, such as the centre of an imaginary mode."""
    return "—" if value is None or not isfinite(value) else f"{value:{form}}"


def _drift(energy: dict[str, float]) -> str:
    slope, stderr = (energy[f"{name}_meV_per_atom_per_ps"] for name in ("slope", "stderr"))
    digits = 3 if not stderr > 0.0 else max(0, 1 - floor(log10(stderr)))
    return (f"{plus_minus(slope, stderr, digits)} meV/atom/ps over "
            f"{energy['length_ps']:.3g} ps")


def _largest(values: list[float]) -> float:
    return max(abs(value) for value in values)
