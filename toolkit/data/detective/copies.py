"""Frames that repeat, within a file and between training and test: copies, turned copies, neighbours in time."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from scipy.spatial.distance import cdist

from toolkit.data.detective.data_file import DataFile, label
from toolkit.data.detective.findings import MAX_LISTED, Finding, count, some
from toolkit.data.similarity import (close_frames, comparable_groups, frame_features, largest_difference, periodic_cells,
                                     unwrapped_positions)
from toolkit.data.statistics import energies_above, fit_energy_shifts

SAME_A = 1e-3
"""Frames of which no interatomic distance differs by more (Å) are one conformation, however turned."""

NEAR_DUPLICATE_A = 0.02
"""… and by less than this (RMS), they are neighbours in time or as good as copies."""

MAX_FEATURE_ATOMS = 60
CORRELATED = 0.3
"""Energy autocorrelation from which on a file is called a trajectory."""

NEIGHBOUR_IN_TIME = 0.15
"""Distance to the nearest training frame over the typical distance between two: reached within 5 … 10 MD steps in
rMD17, by none of the independent frames of the embedded sets."""

MAX_CORRELATED = 0.1
MAX_COMPARED = 1000


def duplicates(frames: Sequence[Atoms]) -> dict[str, Any]:
    """Frames with the same atoms, positions (to 1e-5 Å) and cell; `conflicting` counts groups whose energies differ."""
    repeated = [group for group in _identical(frames) if len(group) > 1]
    return {"n_repeated": sum(len(group) - 1 for group in repeated),
            "n_conflicting": sum(_conflict(frames, group) for group in repeated), "groups": repeated[:MAX_LISTED]}


def leakage(train: Sequence[Atoms], test: Sequence[Atoms]) -> dict[str, Any]:
    """Test frames that the training set knows already: exact copies, and conformations within 0.02 Å (RMS) of one.

    Near copies are sought among frames with the same atoms in the same order; lattice vectors count like atoms.
    """
    copies = _exact_copies(train, test)
    near = sorted(set(_near_copies(train, test, NEAR_DUPLICATE_A)) - set(copies))
    return {"n_test": len(test), "n_copies": len(copies), "n_near_copies": len(near),
            "copies": copies[:MAX_LISTED], "near_copies": near[:MAX_LISTED]}


def known_frames(train: Sequence[Atoms], test: Sequence[Atoms]) -> set[int]:
    """Test frames that are training frames: exact copies, and the same conformation turned or written with fewer digits."""
    return {*_exact_copies(train, test), *_near_copies(train, test, SAME_A, _same)}


def repeated_frames(file: DataFile) -> list[Finding]:
    """Frames that occur again in one file, exactly or turned, and copies whose energies disagree."""
    frames = file.frames
    repeated = [group for group in _identical(frames) if len(group) > 1]
    again = {t for group in repeated for t in group[1:]}
    turned = sorted(set(_near_copies_within(frames)) - {t for group in repeated for t in group})
    found = []
    if again:
        places = file.places(sorted(again))
        found.append(Finding("duplicates", "warning", f"{count(len(again), 'copy')} of earlier frames",
                             f"same atoms, cell and positions to 1e-5 Å: {some(places)}", {"n_duplicates": len(again)},
                             places, "Remove them before splitting: copies end up on both sides."))
    conflicting = [t for group in repeated if _conflict(frames, group) for t in group]
    if conflicting:
        spread = max(np.ptp(_energies(frames, group)) for group in repeated if _conflict(frames, group))
        found.append(Finding("conflicting_labels", "warning", "The same structure stands with different energies",
                             f"up to {spread:.4g} eV apart, {some(file.places(conflicting))}",
                             {"largest_difference_eV": float(spread)}, file.places(conflicting),
                             "Different settings, charge or spin? A model of positions alone cannot learn both."))
    if turned:
        found.append(Finding("near_duplicates", "warning",
                             f"{count(len(turned), 'copy')} of earlier frames, turned or moved",
                             f"all distances agree within {SAME_A} Å: {some(file.places(turned))}",
                             {"n_near_duplicates": len(turned)}, file.places(turned), "Keep one of each."))
    return found


def correlated_frames(file: DataFile) -> list[Finding]:
    """Whether neighbouring frames resemble each other: energy autocorrelation at a distance of one frame."""
    values = np.array(list(energies_above(file.frames, fit_energy_shifts(file.frames)[0]).values()))
    if len(values) < 20 or values.std() == 0.0:
        return []
    fluctuation = values - values.mean()
    correlation = float(np.mean(fluctuation[1:] * fluctuation[:-1]) / values.var())
    if correlation < CORRELATED:
        return []
    return [Finding("correlated_frames", "info", "Neighbouring frames resemble each other",
                    f"their energies correlate by {correlation:.2f}", {"energy_autocorrelation": correlation},
                    advice="Split by blocks with a gap (data.split.method: blocks), not at random: else the model "
                           "knows the test set.")]


def leaked_frames(train: DataFile, test: DataFile) -> list[Finding]:
    """Test frames that are training frames (also when turned), and test frames close to one in time."""
    copies = known_frames(train.frames, test.frames)
    total, found = len(test.frames), []
    if copies:
        places = test.places(sorted(copies))
        found.append(Finding("leaked_frames", "error",
                             f"{len(copies)} of {count(total, 'test frame')} also in the training set",
                             f"distances agree within {SAME_A} Å: {some(places)}",
                             {"n_leaked": len(copies), "n_test": total}, places,
                             "Remove them from one of the two sets: errors on them say nothing about new structures."))
    correlated = sorted(set(_neighbours_in_time(train.frames, test.frames)) - copies)
    if correlated:
        places = test.places(correlated)
        severity = "warning" if len(correlated) > MAX_CORRELATED * total else "info"
        found.append(Finding("correlated_split", severity,
                             f"{len(correlated)} of {count(total, 'test frame')} next to a training frame in time",
                             f"nearer than {NEIGHBOUR_IN_TIME} × the typical distance of frames: {some(places)}",
                             {"n_correlated": len(correlated), "n_test": total}, places,
                             "Split one trajectory by blocks with a gap (data.split.method: blocks), not at random."))
    return found


def _exact_copies(train: Sequence[Atoms], test: Sequence[Atoms]) -> list[int]:
    known = {_fingerprint(atoms) for atoms in train}
    return [t for t, atoms in enumerate(test) if _fingerprint(atoms) in known]


def _identical(frames: Sequence[Atoms]) -> list[list[int]]:
    groups: dict[bytes, list[int]] = defaultdict(list)
    for t, atoms in enumerate(frames):
        groups[_fingerprint(atoms)].append(t)
    return list(groups.values())


def _fingerprint(atoms: Atoms) -> bytes:
    digest = hashlib.sha256(atoms.numbers.tobytes())
    digest.update(np.rint(atoms.positions * 1e5).astype(np.int64).tobytes())
    if atoms.pbc.any():
        digest.update(np.rint(atoms.cell.array * 1e5).astype(np.int64).tobytes())
    return digest.digest()


def _energies(frames: Sequence[Atoms], group: Sequence[int]) -> list[float]:
    energies = [label(frames[t], "energy") for t in group]
    return [energy for energy in energies if energy is not None]


def _conflict(frames: Sequence[Atoms], group: Sequence[int]) -> bool:
    energies = _energies(frames, group)
    return bool(energies) and float(np.ptp(energies)) > 1e-4


def _features(frames: Sequence[Atoms], group: Sequence[int], *, cells: bool = True) -> np.ndarray:
    """Of comparable frames, (T, D); cells that differ by d (root of the mean square of the three vectors) lie d apart."""
    structures = [frames[t] for t in group]
    features = frame_features(structures, unwrapped_positions(structures), MAX_FEATURE_ATOMS)
    if not (cells and structures[0].pbc.any()):
        return features
    vectors = periodic_cells(structures).reshape(len(structures), 9)
    return np.hstack([features, vectors * np.sqrt((features.shape[1] + 9) / 3.0)])


def _same(a: Atoms, b: Atoms) -> bool:
    """Whether two comparable frames are one conformation, every atom of them."""
    return largest_difference(a, b) < SAME_A


def _near_copies(train: Sequence[Atoms], test: Sequence[Atoms], tolerance_A: float,
                 same: Callable[[Atoms, Atoms], bool] = lambda a, b: True) -> list[int]:
    """Test frames within `tolerance_A` (RMS of distances) of a training frame that is also the `same`."""
    near: list[int] = []
    for group, num_known in _shared_groups(train, test):
        features = _features([*train, *test], group)
        known, asked = [train[t] for t in group[:num_known]], [test[t - len(train)] for t in group[num_known:]]
        close = close_frames(features[:num_known], features[num_known:], tolerance_A,
                             lambda a, b, known=known, asked=asked: same(known[a], asked[b]))
        near.extend(group[num_known + k] - len(train) for k in close)
    return near


def _near_copies_within(frames: Sequence[Atoms]) -> list[int]:
    """The later one of each two frames of a file that are one conformation."""
    later: list[int] = []
    for group in comparable_groups(frames, range(len(frames)), any_cell=True):
        if len(group) > 1 and len(frames[group[0]]) > 1:
            features, members = _features(frames, group), [frames[t] for t in group]
            close = close_frames(features, features, SAME_A, earlier=True,
                                 same=lambda a, b, members=members: _same(members[a], members[b]))
            later.extend(group[b] for b in close)
    return later


def _neighbours_in_time(train: Sequence[Atoms], test: Sequence[Atoms]) -> list[int]:
    """Test frames far closer to a training frame than training frames usually are to each other."""
    correlated: list[int] = []
    for group, num_known in _shared_groups(train, test):
        if num_known < 20:
            continue
        features = _features([*train, *test], group)
        known, asked = features[:num_known], features[num_known:]
        sample = _features(train, group[:num_known:-(-num_known // 200)], cells=False)  # of unlike cells all would be "near"
        typical = float(np.median(cdist(sample, sample)[np.triu_indices(len(sample), 1)]))
        for start in range(0, len(asked), MAX_COMPARED):
            nearest = cdist(asked[start:start + MAX_COMPARED], known).min(axis=1)
            chosen = start + np.flatnonzero(nearest < NEIGHBOUR_IN_TIME * typical)
            correlated.extend(group[num_known + k] - len(train) for k in chosen)
    return correlated


def _shared_groups(train: Sequence[Atoms], test: Sequence[Atoms]) -> list[tuple[list[int], int]]:
    """Comparable frames of both sets, training frames first, and how many of them are training frames."""
    frames = [*train, *test]
    groups = [(group, sum(t < len(train) for t in group))
              for group in comparable_groups(frames, range(len(frames)), any_cell=True)]
    return [(group, count) for group, count in groups if 0 < count < len(group) and len(frames[group[0]]) > 1]
