"""Frames out of the ordinary: energies, forces, atoms too close, molecules that fell apart."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist, squareform

from toolkit.data.detective.data_file import DataFile, label
from toolkit.data.detective.findings import Finding, count, some
from toolkit.data.neighbors import neighbor_list
from toolkit.data.statistics import energies_above, fit_energy_shifts, force_rms

ENERGY_OUTLIER = 8.0
"""Robust standard deviations (1.48 × median absolute deviation) from the median."""

LARGE_FORCE = 10.0
"""Times the RMS force component of the file."""

NET_FORCE_EV_PER_A = 0.5
SHORT_BOND = 0.6
"""Fraction of the sum of covalent radii below which two atoms are suspiciously close."""

FRAGMENT_GAP = 2.2
"""Times the sum of covalent radii: parts further from each other than this are fragments (hydrogen bonds reach 1.9)."""

MAX_FRAGMENT_ATOMS = 500


def energy_outliers(file: DataFile) -> list[Finding]:
    """Energies per atom, above the best sum of element energies, far from the median."""
    frames = file.frames
    above = energies_above(frames, fit_energy_shifts(frames)[0])
    values = np.array(list(above.values()))
    width = 1.4826 * float(np.median(np.abs(values - np.median(values)))) if len(values) > 10 else 0.0
    if width == 0.0:
        return []
    deviations = (values - np.median(values)) / width
    odd = np.flatnonzero(np.abs(deviations) > ENERGY_OUTLIER)
    if not len(odd):
        return []
    worst = odd[np.argmax(np.abs(deviations[odd]))]
    keys = list(above)
    places = file.places([keys[k] for k in odd])
    return [Finding("energy_outlier", "warning", f"{count(len(odd), 'energy')} far from the others",
                    f"{some(file.places([keys[worst]]))} lies {deviations[worst]:+.0f} standard deviations "
                    f"({1e3 * (values[worst] - np.median(values)):+.4g} meV/atom) from the median"
                    + (f"; all: {some(places)}" if len(places) > 1 else ""),
                    {"largest_deviation_meV_per_atom": float(1e3 * (values[worst] - np.median(values)))}, places,
                    "Look at them in 3D: another phase is fine, a calculation that did not converge is not.")]


def energy_offset(train: DataFile, test: DataFile) -> list[Finding]:
    """Energies of shared compositions that lie elsewhere in a test file: another method, another zero."""
    shifts = fit_energy_shifts(train.frames)[0]
    formulas = [{atoms.get_chemical_formula() for atoms in file.frames} for file in (train, test)]
    shared = formulas[0] & formulas[1]
    known, asked = (np.array(list(energies_above(
        [atoms for atoms in file.frames if atoms.get_chemical_formula() in shared], shifts).values()))
        for file in (train, test))
    if min(len(known), len(asked)) < 5:
        return []
    offset = 1e3 * float(np.median(asked) - np.median(known))
    width = 1.4826e3 * float(np.median(np.abs(known - np.median(known))))
    if abs(offset) < ENERGY_OUTLIER * width:
        return []
    return [Finding("energy_offset", "warning", f"Energies lie {offset:+.4g} meV/atom from the training file's",
                    f"medians over {count(len(asked), 'frame')} of the same compositions; the training energies spread "
                    f"by {width:.3g} meV/atom", {"offset_meV_per_atom": offset},
                    advice="Another level of theory, other settings, or another zero of energy? Use one for all.")]


def force_outliers(file: DataFile) -> list[Finding]:
    """Extreme forces, molecules whose forces all vanish, and forces that do not add up to zero."""
    rms = force_rms(file.frames)
    large, zero, net = {}, [], {}
    for t, atoms in enumerate(file.frames):
        forces = label(atoms, "forces")
        if forces is None or len(atoms) < 2 or not rms > 0.0:
            continue
        largest, total = float(np.linalg.norm(forces, axis=1).max()), float(np.linalg.norm(forces.sum(axis=0)))
        if largest > LARGE_FORCE * rms:
            large[t] = largest
        if total > NET_FORCE_EV_PER_A:
            net[t] = total
        if not forces.any() and not atoms.pbc.any():
            zero.append(t)
    found = []
    if large:
        found.append(Finding("force_outlier", "warning", f"{count(len(large), 'frame')} with extreme forces",
                             f"up to {max(large.values()):.1f} eV/Å, {max(large.values()) / rms:.0f} times the RMS; "
                             f"{some(file.places(list(large)))}", {"largest_force_eV_per_A": max(large.values())},
                             file.places(list(large)), "Atoms too close, or a calculation that failed: look in 3D."))
    if zero:
        found.append(Finding("zero_forces", "warning", f"{count(len(zero), 'frame')} with all forces exactly zero",
                             some(file.places(zero)), {"n_zero_forces": len(zero)}, file.places(zero),
                             "Unless these are relaxed structures, zeros stand for missing forces: remove them."))
    if net:
        found.append(Finding("net_force", "warning", f"{count(len(net), 'frame')} whose forces do not add up to zero",
                             f"up to {max(net.values()):.2f} eV/Å, expected 0; {some(file.places(list(net)))}",
                             {"largest_net_force_eV_per_A": max(net.values())}, file.places(list(net)),
                             "Constrained or missing atoms, an external field, or a coarse integration grid."))
    return found


def short_distances(file: DataFile) -> list[Finding]:
    """Atoms closer than chemistry allows."""
    close = {t: pair for t, atoms in enumerate(file.frames) if (pair := _closest_pair(atoms)) is not None}
    if not close:
        return []
    frame, (text, length) = min(close.items(), key=lambda item: item[1][1])
    return [Finding("short_distance", "warning", f"{count(len(close), 'frame')} with atoms nearly on top of each other",
                    f"{text} in {some(file.places([frame]))}"
                    + (f"; all: {some(file.places(list(close)))}" if len(close) > 1 else ""),
                    {"shortest_distance_A": length}, file.places(list(close)),
                    "Remove them, or keep them on purpose to teach repulsion (with converged labels).")]


def fragments(file: DataFile) -> list[Finding]:
    """Molecules in more pieces than other frames of the same composition."""
    counts: dict[str, dict[int, int]] = defaultdict(dict)
    for t, atoms in enumerate(file.frames):
        if not atoms.pbc.any() and 1 < len(atoms) <= MAX_FRAGMENT_ATOMS:
            counts[atoms.get_chemical_formula()][t] = _num_fragments(atoms)
    apart = sorted(t for frames in counts.values() if len(frames) > 4
                   for t, number in frames.items() if number > Counter(frames.values()).most_common(1)[0][0])
    if not apart:
        return []
    return [Finding("fragments", "warning", f"{count(len(apart), 'molecule')} flown apart",
                    f"in more pieces than most frames of their composition: {some(file.places(apart))}",
                    {"n_flown_apart": len(apart)}, file.places(apart),
                    "Wrapped coordinates of a cell that was lost, or a simulation that blew up.")]


def _closest_pair(atoms: Atoms) -> tuple[str, float] | None:
    (i, j), shifts = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 2.0)
    if not len(i):
        return None
    lengths = np.linalg.norm(atoms.positions[j] - atoms.positions[i] + shifts @ atoms.cell.array, axis=1)
    ratio = lengths / (covalent_radii[atoms.numbers[i]] + covalent_radii[atoms.numbers[j]])
    e = int(np.argmin(ratio))
    if ratio[e] >= SHORT_BOND:
        return None
    pair = f"{atoms.symbols[i[e]]}{i[e]} and {atoms.symbols[j[e]]}{j[e]}"
    return f"{pair} are {lengths[e]:.2f} Å apart", float(lengths[e])


def _num_fragments(atoms: Atoms) -> int:
    radii = covalent_radii[atoms.numbers]
    near = squareform(pdist(atoms.positions)) < FRAGMENT_GAP * (radii[:, None] + radii[None, :])
    return int(connected_components(near, directed=False)[0])
